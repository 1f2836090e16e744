-- Licence requests -----------------------------------------------------------------------

CREATE FUNCTION assign_license(customer text, upn text, sku text, reference text DEFAULT NULL)
RETURNS license_request LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_assign_license';
COMMENT ON FUNCTION assign_license(text, text, text, text) IS
'Asks for a licence for a user: a free seat is used if there is one, else one is bought. Returns the request; the worker begins when the transaction commits, see wait_for_request.
customer: GUID, domain or company name. upn: userPrincipalName or the user''s GUID; one that is not known yet is accepted. sku: GUID or part number; a GUID may be one that nobody has yet. reference: your own, kept with the request.
Under way already: that request is returned and nothing is added. Where the user is known to hold the licence the request reserves no seat.
Errors: 55000 no free seat and purchases off, or nothing that could be bought (the detail says why), or no active account has the customer, or the library is not preloaded; 53400 max_seats would be exceeded; 22023 a SKU that is not assigned to users, an ambiguous name, or no user''s name; P0002 unknown customer or part number; 22004; 25006 on a standby.
Waits for nobody, except under max_seats for other callers of the pool.
Microsoft: partner-center/developer/assign-licenses-to-a-user';

CREATE FUNCTION assign_licenses(customer text, upns text[], sku text, reference text DEFAULT NULL)
RETURNS SETOF license_request LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_assign_licenses';
COMMENT ON FUNCTION assign_licenses(text, text[], text, text) IS
'assign_license() for many users at once: all requests or an error. Returns them in the order of upns; a user named twice (also by two names) has one. An empty array: no rows.
Errors: as of assign_license; 22004 also for a NULL in upns.
Microsoft: partner-center/developer/assign-licenses-to-a-user';

CREATE FUNCTION release_license(customer text, upn text, sku text, reference text DEFAULT NULL)
RETURNS license_request LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_release_license';
COMMENT ON FUNCTION release_license(text, text, text, text) IS
'Asks to take a licence from a user; the seat returns to the stock. Returns the request, or the one that is under way already. Parameters as of assign_license.
An assignment of the same licence to the same user that has not begun is cancelled. Whether the user holds the licence is for the worker to see: if not, the request is done and nothing is sent.
Errors: 55000 no active account has the customer, or the library is not preloaded; 22023 an ambiguous name or no user''s name; P0002 unknown customer or part number; 22004; 25006 on a standby.
Microsoft: partner-center/developer/assign-licenses-to-a-user';

CREATE FUNCTION cancel_request(request_id bigint)
RETURNS license_request LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_cancel_request';
COMMENT ON FUNCTION cancel_request(bigint) IS
'Cancels a request for which nothing irrevocable was sent yet. Returns its row: cancelled, or as it stands where it is over or something was sent.
Errors: P0002 no such request; 55P03 another session is changing it just now; 22004; 25006 on a standby.';

CREATE FUNCTION wait_for_request(request_id bigint, timeout interval DEFAULT '60 s') RETURNS license_request
LANGUAGE C VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_wait_for_request';
COMMENT ON FUNCTION wait_for_request(bigint, interval) IS
'Waits until a request is done, failed or cancelled, and returns its row; when the time is over, the row as it stands.
timeout: real time, not negative. Call it in a statement of its own after the one that made the request has committed.
Errors: 55000 for a request written by the current transaction, in a transaction above READ COMMITTED, or where the library is not preloaded; P0002 unknown request; 22023, 22004.';
