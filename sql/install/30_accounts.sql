-- Accounts ------------------------------------------------------------------------

-- Not SECURITY DEFINER: it asks for the rights of the role that calls it before it goes on as the owner
CREATE FUNCTION connect_account(name text, tenant_id uuid, client_id text, credential_file text,
                                api_url text DEFAULT 'https://api.partnercenter.microsoft.com',
                                login_url text DEFAULT 'https://login.microsoftonline.com',
                                requests_per_minute int DEFAULT 500, max_concurrency int DEFAULT 16)
RETURNS int LANGUAGE C VOLATILE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_connect_account';
COMMENT ON FUNCTION connect_account(text, uuid, text, text, text, text, int, int) IS
'connects a partner tenant to Partner Center, or changes the account of that name; returns its id.
credential_file: a JSON file on the server, outside the data directory, {"client_secret": ..., "refresh_token": ...};
without refresh_token access is app-only until somebody signs in (sign_in_url()), and Microsoft tells nothing about assigned
licences. URLs are without /v1
and without the tenant. requests_per_minute: Microsoft documents 500. Errors: 22004, 22023 (an address or value that
cannot be used), 42501 (the role that calls it and the one that logged in need superuser or pg_read_server_files), 58P01 and others (the file).
Microsoft: partner-center/developer/enable-secure-app-model';

CREATE FUNCTION disconnect_account(name text) RETURNS int
LANGUAGE C VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_disconnect_account';
COMMENT ON FUNCTION disconnect_account(text) IS
'stops an account and erases its token; its subscriptions leave the pools. Returns its id; twice is harmless, and connect_account()
with the same name takes it up again. Errors: 22004, P0002 (no such account), 25006 (standby)';

CREATE FUNCTION sign_in_url(name text) RETURNS text
LANGUAGE C VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_sign_in_url';
COMMENT ON FUNCTION sign_in_url(text) IS
'the address at which a person of the partner signs in for the account, with multifactor authentication, and consents. The browser
ends at an address of http://localhost that it cannot show; sign_in() takes it. http://localhost must be a redirect URI of the
app registration. Errors: 22004, P0002 (no such account), 55000 (disconnected), 25006 (standby), 58P01 and others (the credential file).
Microsoft: entra/identity-platform/v2-oauth2-auth-code-flow';

CREATE FUNCTION sign_in(name text, answer text) RETURNS int
LANGUAGE C VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_sign_in';
COMMENT ON FUNCTION sign_in(text, text) IS
'takes the address (or the code alone) at which the browser ended after sign_in_url(); the worker trades it for a refresh token, which
is kept encrypted. Returns the account''s id; check_setup() and the history tell what became of it. What is passed is good once, for
minutes, and for nobody who lacks the client secret. Errors: 22004, 22023 (another sign-in''s, refused, over), P0002, 55000, 25006';
