-- What the readers of lists belong to.
CREATE EXTENSION spinpanel;
INSERT INTO spinpanel.account (name, tenant_id, client_id, credential_file, api_url, login_url, requests_per_minute, max_concurrency,
	system_identifier, database_oid, connected_at)
VALUES ('fuzz', '33333333-3333-3333-3333-333333333333', 'client', '/nowhere', 'http://127.0.0.1:1', 'http://127.0.0.1:1', 500, 8,
	(SELECT system_identifier FROM pg_control_system()), 1, now());
INSERT INTO spinpanel.customer (customer_id, name, first_seen_at) VALUES ('11111111-1111-1111-1111-111111111111', 'Contoso', now());
INSERT INTO spinpanel.relationship (customer_id) VALUES ('11111111-1111-1111-1111-111111111111');
INSERT INTO spinpanel.customer_account (customer_id, account_id, subscriptions_fetched_at)
SELECT '11111111-1111-1111-1111-111111111111', account_id, '2020-01-01' FROM spinpanel.account;
INSERT INTO spinpanel.customer_user (customer_id, user_id, upn, listed_at, changed_at)
VALUES ('11111111-1111-1111-1111-111111111111', '22222222-2222-2222-2222-222222222222', 'user@contoso.example', now(), now());
CREATE FUNCTION fuzz(target text, arguments text[]) RETURNS int LANGUAGE c STRICT AS '$libdir/spinpanel', 'spinpanel_fuzz';
