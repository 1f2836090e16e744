-- Licence requests -----------------------------------------------------------------------

CREATE FUNCTION assign_license(customer text, upn text, sku text, reference text DEFAULT NULL)
RETURNS license_request LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_assign_license';
COMMENT ON FUNCTION assign_license(text, text, text, text) IS
'Asks for a licence for a user: a free seat is used if there is one, else one is bought. Returns the request; the worker begins when the transaction commits, see wait_for_request.
customer: GUID, domain or company name. upn: userPrincipalName or the user''s GUID; one that is not known yet is accepted. sku: GUID or part number; a GUID may be one that nobody has yet. reference: your own, kept with the request.
Under way already: that request is returned and nothing is added, unless another reference is given: then a request with that reference is added, which ends with the other one, and goes on by itself if the other one is cancelled. Where the user is known to hold the licence the request reserves no seat.
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
An assignment of the same licence to the same user for which nothing irrevocable was sent is cancelled. Whether the user holds the licence is for the worker to see: if not, the request is done and nothing is sent.
Errors: 55000 no active account has the customer, or the library is not preloaded; 22023 an ambiguous name or no user''s name; P0002 unknown customer or part number; 22004; 25006 on a standby.
Microsoft: partner-center/developer/assign-licenses-to-a-user';

CREATE FUNCTION cancel_request(request_id bigint)
RETURNS license_request LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_cancel_request';
COMMENT ON FUNCTION cancel_request(bigint) IS
'Cancels a request for which nothing irrevocable was sent yet; a cart is not, its checkout is. Returns its row: cancelled, or as it stands where it is over or something was sent. One whose account is disconnected is closed in any case: as failed, if something was sent.
Errors: P0002 no such request; 55P03 another session is changing it just now; 22004; 25006 on a standby.';

CREATE FUNCTION retry_request(request_id bigint)
RETURNS license_request LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_retry_request';
COMMENT ON FUNCTION retry_request(bigint) IS
'Queues a failed request again under its id: it is carried out from the start. Returns its row.
Errors: 55000 the request is not failed, or the library is not preloaded; P0002 no such request (after the retention, too); 55P03 another session is changing it just now; 22004; 25006 on a standby.';

CREATE FUNCTION quote_license(customer text, sku text, seats int DEFAULT 1,
    OUT source text, OUT seats int, OUT subscription_id uuid, OUT offer text, OUT unit_price numeric, OUT currency text,
    OUT price_per text, OUT committed_until timestamptz, OUT returnable_until timestamptz, OUT needs_approval boolean,
    OUT reason text)
RETURNS SETOF record LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_quote_license';
COMMENT ON FUNCTION quote_license(text, text, int) IS
'What assign_license() would do now for so many users, according to the mirror: nothing is written or sent.
source: free (of the stock), raise, reactivate (one that spinpanel suspended; it comes back with all of its seats), order (by the rule''s default_offer), none (it would be refused, or fail; the reason says why). seats: of that row; all rows together make the seats asked for. unit_price, currency, price_per (month, year, term): NULL, no price is known. committed_until: end of the term that is paid for. returnable_until: end of the refund window that the purchase opens. needs_approval: it would wait for approve().
Errors: 22023 seats below 1, or an ambiguous name; P0002 unknown customer or part number; 22004.';

CREATE FUNCTION wait_for_request(request_id bigint, timeout interval DEFAULT '60 s') RETURNS license_request
LANGUAGE C VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_wait_for_request';
COMMENT ON FUNCTION wait_for_request(bigint, interval) IS
'Waits until a request is done, failed or cancelled, and returns its row; when the time is over, the row as it stands. One that has moved to the history after spinpanel.retention is returned as it was.
timeout: real time, not negative. Call it in a statement of its own after the one that made the request has committed.
Errors: 55000 for a request written or locked by the current transaction, in a transaction above READ COMMITTED, or where the library is not preloaded; P0002 unknown request; 22023, 22004.';

-- Who waits for an approval is looked at again where the answer may be another by now: the oldest of each pool, with whom
-- the others come.  Rows that somebody has at this moment are met an hour later.
CREATE FUNCTION _look_at_waiting() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    customers uuid[];
BEGIN
    IF TG_TABLE_NAME = 'relationship' THEN
        SELECT array_agg(DISTINCT n.customer_id) INTO customers FROM changed n
        WHERE EXISTS (SELECT FROM spinpanel.license_request w WHERE w.customer_id = n.customer_id AND w.waits_for = 'approval');
        IF customers IS NULL THEN
            RETURN NULL;
        END IF;
    END IF;
    UPDATE spinpanel.license_request SET not_before = '-infinity' WHERE request_id IN (
        SELECT q.request_id FROM spinpanel.license_request q WHERE q.request_id IN (
            SELECT min(w.request_id) FROM spinpanel.license_request w
            WHERE w.waits_for = 'approval' AND (customers IS NULL OR w.customer_id = ANY (customers))
            GROUP BY w.customer_id, w.sku_id)
        FOR UPDATE SKIP LOCKED);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION _look_at_waiting() IS 'internal: a setting has changed that may let waiting requests go on';
CREATE TRIGGER waiting AFTER UPDATE ON relationship REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION _look_at_waiting();
CREATE TRIGGER waiting AFTER INSERT OR UPDATE OR DELETE ON license_rule
    FOR EACH STATEMENT EXECUTE FUNCTION _look_at_waiting();

CREATE FUNCTION _purchase_decided() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE spinpanel.license_request SET not_before = '-infinity' WHERE request_id IN (
        SELECT q.request_id FROM spinpanel.license_request q WHERE q.customer_id = NEW.customer_id
        AND q.waits_for = 'approval' AND q.adjustment_id = NEW.adjustment_id FOR UPDATE SKIP LOCKED);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION _purchase_decided() IS 'internal: a person has decided about a purchase for requests';
CREATE TRIGGER purchase_decided AFTER UPDATE OF status ON adjustment FOR EACH ROW
    WHEN (OLD.status = 'awaiting_approval' AND NEW.status IN ('queued', 'rejected') AND NEW.action = 'raise' AND NEW.run_id IS NULL)
    EXECUTE FUNCTION _purchase_decided();
