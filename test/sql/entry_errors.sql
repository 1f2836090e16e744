-- Bad input: a clear error with SQLSTATE and hint, and nothing changed.
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS spinpanel;
\set VERBOSITY terse
BEGIN;

CREATE FUNCTION pg_temp.attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE state text; message text; detail text; hint text;
BEGIN
    EXECUTE command;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(E'\n', state || ' ' || message, nullif(detail, ''), 'hint: ' || nullif(hint, ''));
END $$;

INSERT INTO spinpanel.customer (customer_id, name, domain, first_seen_at) VALUES
    ('00000000-0000-4000-8000-000000000001', 'Contoso', 'contoso.example', '2030-01-01'),
    ('00000000-0000-4000-8000-000000000002', 'Fabrikam', 'one.example', '2030-01-01'),
    ('00000000-0000-4000-8000-000000000003', 'FABRIKAM', 'two.example', '2030-01-01');
INSERT INTO spinpanel.relationship (customer_id) SELECT customer_id FROM spinpanel.customer;
INSERT INTO spinpanel.sku (sku_id, part_number) VALUES
    ('00000000-0000-4000-9000-000000000001', 'SPB'), ('00000000-0000-4000-9000-000000000002', 'TWICE'),
    ('00000000-0000-4000-9000-000000000003', 'twice');

\t on
\pset format unaligned
-- names
SELECT pg_temp.attempt($$SELECT spinpanel.excess_seats('nobody')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.excess_seats('Fabrikam')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.excess_seats(NULL)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.set_relationship(NULL)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.set_license_rule('Contoso', NULL)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.set_license_rule('Contoso', 'NO_SUCH_SKU', excluded => true)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.set_license_rule('Contoso', 'twice', excluded => true)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.drop_license_rule('Contoso', 'SPB')$$);
-- values
SELECT pg_temp.attempt($$SELECT spinpanel.set_relationship('Contoso', spare_seats => -1)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.set_relationship('Contoso', removal_limit_percent => 101)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.set_relationship('Contoso', cooldown => '-1 hour')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.set_relationship('Contoso', renewal_lead => '1 hour')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.set_relationship('Contoso', usage_location => 'Germany')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.set_relationship('Contoso', reset => '{nonsense}')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.set_license_rule('Contoso', 'SPB', min_seats => -2)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.set_license_rule('Contoso', 'SPB', min_seats => 5, max_seats => 4)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.set_license_rule('Contoso', 'SPB', default_offer => 'cheap')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.set_license_rule('Contoso', 'SPB', term_duration => 'a year')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.set_license_rule('Contoso', 'SPB', billing_cycle => 'weekly')$$);
-- both switches
SELECT pg_temp.attempt($$SELECT spinpanel.set_relationship('Contoso', auto_license_adjustment => true, auto_increment => true)$$);
SELECT auto_license_adjustment FROM spinpanel.set_relationship('Contoso', auto_license_adjustment => true);
SELECT pg_temp.attempt($$SELECT spinpanel.set_relationship('Contoso', auto_increment => true)$$);
-- cron lines
SELECT pg_temp.attempt($$SELECT spinpanel.schedule('every night')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.schedule('0 25 * * *')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.schedule(NULL)$$);
-- deciding
SELECT pg_temp.attempt($$SELECT spinpanel.approve(NULL)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.approve(0)$$);
-- runs
SELECT pg_temp.attempt($$SELECT spinpanel.adjust('Contoso', NULL)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.wait_for_run(0)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.wait_for_run(NULL)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.wait_for_run(spinpanel.sync('Contoso'))$$) ~ '^55000' AS "of this transaction";
-- accounts
SELECT pg_temp.attempt($$SELECT spinpanel.connect_account('a', '00000000-0000-4000-8000-000000000009', 'c', '/nonexistent/file.json')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.connect_account('a', '00000000-0000-4000-8000-000000000009', 'c', '/nonexistent/file.json', api_url => 'http://api.partnercenter.microsoft.com')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.connect_account('a', '00000000-0000-4000-8000-000000000009', 'c', '/nonexistent/file.json', api_url => 'https://partner-center.example')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.connect_account('a', '00000000-0000-4000-8000-000000000009', 'c', '/nonexistent/file.json', api_url => 'https://api.partnercenter.microsoft.com/v1')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.connect_account(NULL, '00000000-0000-4000-8000-000000000009', 'c', '/nonexistent/file.json')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.connect_account('a', NULL, 'c', '/nonexistent/file.json')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.connect_account('a', '00000000-0000-4000-8000-000000000009', 'c', '/nonexistent/file.json', requests_per_minute => 0)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.disconnect_account('nobody')$$);
-- roles
SELECT pg_temp.attempt($$SELECT spinpanel.grant_role('king', 'postgres')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.grant_role('reader', 'no such role')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.limit_reader('no such role', '{Contoso}')$$);
-- the history stays
SELECT pg_temp.attempt($$DELETE FROM spinpanel.history$$);
SELECT pg_temp.attempt($$UPDATE spinpanel.history SET reason = 'no'$$);
SELECT pg_temp.attempt($$TRUNCATE spinpanel.history$$);
-- nothing of it was changed
SELECT count(*) FROM spinpanel.license_rule;
SELECT count(*) FROM spinpanel.account;
SELECT count(*) FROM spinpanel.relationship WHERE auto_increment OR spare_seats <> 0;
ROLLBACK;
