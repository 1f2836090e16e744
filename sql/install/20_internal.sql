-- Entry points ------------------------------------------------------------------

-- Internal functions begin with an underscore; nobody else should call them.

CREATE FUNCTION _now() RETURNS timestamptz
LANGUAGE C VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'spinpanel_sql_now';
COMMENT ON FUNCTION _now() IS 'internal: the server''s clock plus spinpanel.clock_offset';

CREATE FUNCTION _customer(customer text, star boolean) RETURNS uuid
LANGUAGE C VOLATILE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_sql_customer';
COMMENT ON FUNCTION _customer(text, boolean) IS 'internal: id of a customer by GUID, domain or company name; NULL for ''*''';

CREATE FUNCTION _sku(customer_id uuid, sku text, star boolean, unseen boolean) RETURNS uuid
LANGUAGE C VOLATILE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_sql_sku';
COMMENT ON FUNCTION _sku(uuid, text, boolean, boolean) IS 'internal: id of a SKU by GUID or part number; NULL for ''*''';

CREATE FUNCTION _require_value(given boolean, parameter text) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'spinpanel_sql_require_value';
COMMENT ON FUNCTION _require_value(boolean, text) IS 'internal: error 22004 where a parameter has no value';

CREATE FUNCTION _require_primary() RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'spinpanel_sql_require_primary';
COMMENT ON FUNCTION _require_primary() IS 'internal: error 25006 on a standby';

CREATE FUNCTION _require_worker() RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'spinpanel_sql_require_worker';
COMMENT ON FUNCTION _require_worker() IS 'internal: error 55000 where the library is not preloaded';

CREATE FUNCTION _worker_facts(OUT preloaded boolean, OUT database text, OUT enabled boolean, OUT pid int,
                              OUT started_at timestamptz, OUT last_turn_at timestamptz, OUT starts bigint,
                              OUT idles boolean, OUT last_success_at timestamptz, OUT failures bigint,
                              OUT last_error_at timestamptz, OUT last_error text, OUT requests_last_minute bigint)
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'spinpanel_sql_worker_facts';
COMMENT ON FUNCTION _worker_facts() IS 'internal: what shared memory tells of the worker';

CREATE FUNCTION _credential_facts(path text, OUT problem text, OUT access text, OUT modified_at timestamptz,
                                  OUT readable_by_all boolean)
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'spinpanel_sql_credential_facts';
COMMENT ON FUNCTION _credential_facts(text) IS 'internal: kind and age of a credential file, never its content';

CREATE FUNCTION _cron_problem(line text) RETURNS text
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'spinpanel_sql_cron_problem';
COMMENT ON FUNCTION _cron_problem(text) IS 'internal: what is wrong with a cron line; NULL = nothing';

CREATE FUNCTION _cron_previous(line text, moment timestamptz) RETURNS timestamptz
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'spinpanel_sql_cron_previous';
COMMENT ON FUNCTION _cron_previous(text, timestamptz) IS 'internal: when a cron line was due last';

-- NULL passes: it means "leave as it is"
CREATE FUNCTION _require_range(value bigint, low bigint, high bigint, parameter text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF value < low OR value > high THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = CASE WHEN value < 0 AND low = 0 THEN format('parameter "%s" must not be negative', parameter)
                           ELSE format('parameter "%s" must be between %s and %s', parameter, low, high) END;
    END IF;
END
$$;
COMMENT ON FUNCTION _require_range(bigint, bigint, bigint, text) IS 'internal: error 22023 where a number is out of range; NULL passes';

-- The settings in reset with their default, as it stands in the table's definition
CREATE FUNCTION _defaults(table_oid regclass, allowed text[], given jsonb, reset text[]) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET intervalstyle = postgres
AS $$
DECLARE
    column_name text;
    value       jsonb;
    defaults    jsonb := '{}';
BEGIN
    FOREACH column_name IN ARRAY coalesce(reset, '{}') LOOP
        PERFORM spinpanel._require_value(column_name IS NOT NULL, 'reset');
        IF NOT column_name = ANY (allowed) THEN
            RAISE EXCEPTION USING ERRCODE = '22023',
                MESSAGE = format('"%s" is not a setting that can be reset', column_name),
                HINT = 'These can be: ' || array_to_string(allowed, ', ') || '.';
        END IF;
        IF given ? column_name THEN
            RAISE EXCEPTION USING ERRCODE = '22023',
                MESSAGE = format('"%s" is given a value and reset at once', column_name);
        END IF;
        EXECUTE format('SELECT to_jsonb(%s)',
                       coalesce((SELECT pg_get_expr(d.adbin, d.adrelid)
                                 FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                                 WHERE a.attrelid = table_oid AND a.attname = column_name), 'NULL::text'))
            INTO value;
        defaults := defaults || jsonb_build_object(column_name, value);
    END LOOP;
    RETURN defaults;
END
$$;
COMMENT ON FUNCTION _defaults(regclass, text[], jsonb, text[]) IS 'internal: settings to reset, with the default that the table gives them';

CREATE FUNCTION _wake() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'spinpanel_wake_trigger';
COMMENT ON FUNCTION _wake() IS 'internal: wakes the worker when the transaction commits';

CREATE TRIGGER wake AFTER INSERT OR UPDATE ON run FOR EACH STATEMENT EXECUTE FUNCTION _wake();
CREATE TRIGGER wake AFTER UPDATE ON adjustment FOR EACH STATEMENT EXECUTE FUNCTION _wake();
-- Requests are inserted by functions in C, which wake the worker themselves
CREATE TRIGGER wake AFTER UPDATE ON license_request FOR EACH STATEMENT EXECUTE FUNCTION _wake();
CREATE TRIGGER wake AFTER INSERT OR UPDATE ON account FOR EACH STATEMENT EXECUTE FUNCTION _wake();
CREATE TRIGGER wake AFTER UPDATE ON relationship FOR EACH STATEMENT EXECUTE FUNCTION _wake();

-- Sessions that ask for licences remember names, settings and rules; what they
-- remember is void as soon as one of these tables was written (sql/request_check.c).
CREATE VIEW _remembered AS SELECT false AS remembered WHERE false;
COMMENT ON VIEW _remembered IS 'internal: empty; a message about it makes sessions forget what they know of settings';
COMMENT ON COLUMN _remembered.remembered IS 'nothing';
CREATE FUNCTION _forget() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'spinpanel_forget_trigger';
COMMENT ON FUNCTION _forget() IS 'internal: sessions forget what they know of settings when the transaction commits';

-- By row, and only for rows that differ: a statement that changes nothing sends no message, for each message makes
-- every session of the cluster look its caches through.
CREATE TRIGGER forget AFTER INSERT OR DELETE ON customer FOR EACH ROW EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_changed AFTER UPDATE ON customer FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION _forget();
CREATE TRIGGER forget AFTER INSERT OR DELETE ON relationship FOR EACH ROW EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_changed AFTER UPDATE ON relationship FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION _forget();
CREATE TRIGGER forget AFTER INSERT OR DELETE ON license_rule FOR EACH ROW EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_changed AFTER UPDATE ON license_rule FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION _forget();
CREATE TRIGGER forget AFTER INSERT OR DELETE ON sku FOR EACH ROW EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_changed AFTER UPDATE ON sku FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION _forget();
CREATE TRIGGER forget AFTER INSERT OR DELETE ON never_assigned_sku FOR EACH ROW EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_changed AFTER UPDATE ON never_assigned_sku FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION _forget();
CREATE TRIGGER forget AFTER INSERT OR DELETE ON never_assigned_sku_shipped FOR EACH ROW EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_changed AFTER UPDATE ON never_assigned_sku_shipped FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION _forget();
-- The worker writes other columns of these two often
CREATE TRIGGER forget AFTER INSERT OR DELETE ON account FOR EACH ROW EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_changed AFTER UPDATE ON account FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION _forget();
CREATE TRIGGER forget AFTER INSERT OR DELETE ON customer_account FOR EACH ROW EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_changed AFTER UPDATE ON customer_account FOR EACH ROW WHEN (OLD.gone_at IS DISTINCT FROM NEW.gone_at) EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_all AFTER TRUNCATE ON customer FOR EACH STATEMENT EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_all AFTER TRUNCATE ON relationship FOR EACH STATEMENT EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_all AFTER TRUNCATE ON license_rule FOR EACH STATEMENT EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_all AFTER TRUNCATE ON sku FOR EACH STATEMENT EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_all AFTER TRUNCATE ON never_assigned_sku FOR EACH STATEMENT EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_all AFTER TRUNCATE ON never_assigned_sku_shipped FOR EACH STATEMENT EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_all AFTER TRUNCATE ON account FOR EACH STATEMENT EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_all AFTER TRUNCATE ON customer_account FOR EACH STATEMENT EXECUTE FUNCTION _forget();
-- Also where session_replication_role says "replica"
ALTER TABLE customer ENABLE ALWAYS TRIGGER forget;
ALTER TABLE customer ENABLE ALWAYS TRIGGER forget_changed;
ALTER TABLE customer ENABLE ALWAYS TRIGGER forget_all;
ALTER TABLE relationship ENABLE ALWAYS TRIGGER forget;
ALTER TABLE relationship ENABLE ALWAYS TRIGGER forget_changed;
ALTER TABLE relationship ENABLE ALWAYS TRIGGER forget_all;
ALTER TABLE license_rule ENABLE ALWAYS TRIGGER forget;
ALTER TABLE license_rule ENABLE ALWAYS TRIGGER forget_changed;
ALTER TABLE license_rule ENABLE ALWAYS TRIGGER forget_all;
ALTER TABLE sku ENABLE ALWAYS TRIGGER forget;
ALTER TABLE sku ENABLE ALWAYS TRIGGER forget_changed;
ALTER TABLE sku ENABLE ALWAYS TRIGGER forget_all;
ALTER TABLE never_assigned_sku ENABLE ALWAYS TRIGGER forget;
ALTER TABLE never_assigned_sku ENABLE ALWAYS TRIGGER forget_changed;
ALTER TABLE never_assigned_sku ENABLE ALWAYS TRIGGER forget_all;
ALTER TABLE never_assigned_sku_shipped ENABLE ALWAYS TRIGGER forget;
ALTER TABLE never_assigned_sku_shipped ENABLE ALWAYS TRIGGER forget_changed;
ALTER TABLE never_assigned_sku_shipped ENABLE ALWAYS TRIGGER forget_all;
ALTER TABLE account ENABLE ALWAYS TRIGGER forget;
ALTER TABLE account ENABLE ALWAYS TRIGGER forget_changed;
ALTER TABLE account ENABLE ALWAYS TRIGGER forget_all;
ALTER TABLE customer_account ENABLE ALWAYS TRIGGER forget;
ALTER TABLE customer_account ENABLE ALWAYS TRIGGER forget_changed;
ALTER TABLE customer_account ENABLE ALWAYS TRIGGER forget_all;

-- What a plan is made of: whoever changes it says so in excess_void, in the same transaction.  By row, and only where
-- something differs; requests and operations that are open are looked at when the figures are read, so here only their end.
CREATE FUNCTION _void_excess() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'spinpanel_void_excess_trigger';
COMMENT ON FUNCTION _void_excess() IS 'internal: what is kept in pool_excess of the customer, or of all whom the row concerns, does not hold any more';

CREATE TRIGGER void_excess AFTER INSERT OR DELETE ON customer FOR EACH ROW EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_changed AFTER UPDATE ON customer FOR EACH ROW
    WHEN (OLD.name IS DISTINCT FROM NEW.name OR OLD.gone_at IS DISTINCT FROM NEW.gone_at) EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_all AFTER TRUNCATE ON customer FOR EACH STATEMENT EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess AFTER INSERT OR DELETE ON relationship FOR EACH ROW EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_changed AFTER UPDATE ON relationship FOR EACH ROW
    WHEN ((OLD.auto_license_adjustment, OLD.partner_center_sync, OLD.spare_seats, OLD.cooldown, OLD.renewal_lead, OLD.paused_at IS NULL)
          IS DISTINCT FROM (NEW.auto_license_adjustment, NEW.partner_center_sync, NEW.spare_seats, NEW.cooldown, NEW.renewal_lead, NEW.paused_at IS NULL)) EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_all AFTER TRUNCATE ON relationship FOR EACH STATEMENT EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess AFTER INSERT OR DELETE ON license_rule FOR EACH ROW EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_changed AFTER UPDATE ON license_rule FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_all AFTER TRUNCATE ON license_rule FOR EACH STATEMENT EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess AFTER INSERT OR DELETE ON never_assigned_sku FOR EACH ROW EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_changed AFTER UPDATE ON never_assigned_sku FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_all AFTER TRUNCATE ON never_assigned_sku FOR EACH STATEMENT EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess AFTER INSERT OR DELETE ON never_assigned_sku_shipped FOR EACH ROW EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_changed AFTER UPDATE ON never_assigned_sku_shipped FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_all AFTER TRUNCATE ON never_assigned_sku_shipped FOR EACH STATEMENT EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess AFTER INSERT OR DELETE ON account FOR EACH ROW EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_changed AFTER UPDATE ON account FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_all AFTER TRUNCATE ON account FOR EACH STATEMENT EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess AFTER INSERT OR DELETE ON customer_account FOR EACH ROW EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_changed AFTER UPDATE ON customer_account FOR EACH ROW
    WHEN (OLD.gone_at IS DISTINCT FROM NEW.gone_at OR OLD.license_access IS DISTINCT FROM NEW.license_access) EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_all AFTER TRUNCATE ON customer_account FOR EACH STATEMENT EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess AFTER INSERT OR DELETE ON sku FOR EACH ROW EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_changed AFTER UPDATE ON sku FOR EACH ROW
    WHEN (OLD.part_number IS DISTINCT FROM NEW.part_number) EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_all AFTER TRUNCATE ON sku FOR EACH STATEMENT EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess AFTER INSERT OR DELETE ON offer FOR EACH ROW EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_changed AFTER UPDATE ON offer FOR EACH ROW
    WHEN ((OLD.sku_id, OLD.minimum, OLD.maximum, OLD.is_trial) IS DISTINCT FROM (NEW.sku_id, NEW.minimum, NEW.maximum, NEW.is_trial)) EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_all AFTER TRUNCATE ON offer FOR EACH STATEMENT EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess AFTER INSERT OR DELETE ON subscription FOR EACH ROW EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_changed AFTER UPDATE ON subscription FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_all AFTER TRUNCATE ON subscription FOR EACH STATEMENT EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess AFTER INSERT OR DELETE ON subscribed_sku FOR EACH ROW EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_changed AFTER UPDATE ON subscribed_sku FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_all AFTER TRUNCATE ON subscribed_sku FOR EACH STATEMENT EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess AFTER INSERT OR DELETE ON pool FOR EACH ROW EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_changed AFTER UPDATE ON pool FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_all AFTER TRUNCATE ON pool FOR EACH STATEMENT EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess AFTER INSERT OR DELETE ON pool_reading FOR EACH ROW EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_changed AFTER UPDATE ON pool_reading FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_all AFTER TRUNCATE ON pool_reading FOR EACH STATEMENT EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess AFTER DELETE ON adjustment FOR EACH ROW WHEN (OLD.decided_at IS NOT NULL) EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_new AFTER INSERT ON adjustment FOR EACH ROW WHEN (NEW.decided_at IS NOT NULL) EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_changed AFTER UPDATE ON adjustment FOR EACH ROW
    WHEN (OLD.decided_at IS DISTINCT FROM NEW.decided_at OR OLD.status = 'rejected' OR NEW.status = 'rejected') EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_changed AFTER UPDATE ON license_request FOR EACH ROW
    WHEN (OLD.waiting AND NOT NEW.waiting) EXECUTE FUNCTION _void_excess();
CREATE TRIGGER void_excess_changed AFTER UPDATE ON operation FOR EACH ROW
    WHEN (OLD.status IN ('queued', 'sending', 'unknown') AND NEW.status NOT IN ('queued', 'sending', 'unknown')) EXECUTE FUNCTION _void_excess();
-- Also where session_replication_role says "replica"
ALTER TABLE customer ENABLE ALWAYS TRIGGER void_excess;
ALTER TABLE customer ENABLE ALWAYS TRIGGER void_excess_changed;
ALTER TABLE customer ENABLE ALWAYS TRIGGER void_excess_all;
ALTER TABLE relationship ENABLE ALWAYS TRIGGER void_excess;
ALTER TABLE relationship ENABLE ALWAYS TRIGGER void_excess_changed;
ALTER TABLE relationship ENABLE ALWAYS TRIGGER void_excess_all;
ALTER TABLE license_rule ENABLE ALWAYS TRIGGER void_excess;
ALTER TABLE license_rule ENABLE ALWAYS TRIGGER void_excess_changed;
ALTER TABLE license_rule ENABLE ALWAYS TRIGGER void_excess_all;
ALTER TABLE never_assigned_sku ENABLE ALWAYS TRIGGER void_excess;
ALTER TABLE never_assigned_sku ENABLE ALWAYS TRIGGER void_excess_changed;
ALTER TABLE never_assigned_sku ENABLE ALWAYS TRIGGER void_excess_all;
ALTER TABLE never_assigned_sku_shipped ENABLE ALWAYS TRIGGER void_excess;
ALTER TABLE never_assigned_sku_shipped ENABLE ALWAYS TRIGGER void_excess_changed;
ALTER TABLE never_assigned_sku_shipped ENABLE ALWAYS TRIGGER void_excess_all;
ALTER TABLE account ENABLE ALWAYS TRIGGER void_excess;
ALTER TABLE account ENABLE ALWAYS TRIGGER void_excess_changed;
ALTER TABLE account ENABLE ALWAYS TRIGGER void_excess_all;
ALTER TABLE customer_account ENABLE ALWAYS TRIGGER void_excess;
ALTER TABLE customer_account ENABLE ALWAYS TRIGGER void_excess_changed;
ALTER TABLE customer_account ENABLE ALWAYS TRIGGER void_excess_all;
ALTER TABLE sku ENABLE ALWAYS TRIGGER void_excess;
ALTER TABLE sku ENABLE ALWAYS TRIGGER void_excess_changed;
ALTER TABLE sku ENABLE ALWAYS TRIGGER void_excess_all;
ALTER TABLE offer ENABLE ALWAYS TRIGGER void_excess;
ALTER TABLE offer ENABLE ALWAYS TRIGGER void_excess_changed;
ALTER TABLE offer ENABLE ALWAYS TRIGGER void_excess_all;
ALTER TABLE subscription ENABLE ALWAYS TRIGGER void_excess;
ALTER TABLE subscription ENABLE ALWAYS TRIGGER void_excess_changed;
ALTER TABLE subscription ENABLE ALWAYS TRIGGER void_excess_all;
ALTER TABLE subscribed_sku ENABLE ALWAYS TRIGGER void_excess;
ALTER TABLE subscribed_sku ENABLE ALWAYS TRIGGER void_excess_changed;
ALTER TABLE subscribed_sku ENABLE ALWAYS TRIGGER void_excess_all;
ALTER TABLE pool ENABLE ALWAYS TRIGGER void_excess;
ALTER TABLE pool ENABLE ALWAYS TRIGGER void_excess_changed;
ALTER TABLE pool ENABLE ALWAYS TRIGGER void_excess_all;
ALTER TABLE pool_reading ENABLE ALWAYS TRIGGER void_excess;
ALTER TABLE pool_reading ENABLE ALWAYS TRIGGER void_excess_changed;
ALTER TABLE pool_reading ENABLE ALWAYS TRIGGER void_excess_all;
ALTER TABLE adjustment ENABLE ALWAYS TRIGGER void_excess;
ALTER TABLE adjustment ENABLE ALWAYS TRIGGER void_excess_new;
ALTER TABLE adjustment ENABLE ALWAYS TRIGGER void_excess_changed;
ALTER TABLE license_request ENABLE ALWAYS TRIGGER void_excess_changed;
ALTER TABLE operation ENABLE ALWAYS TRIGGER void_excess_changed;

CREATE FUNCTION _refuse() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'spinpanel_refuse_trigger';
COMMENT ON FUNCTION _refuse() IS 'internal: keeps the history as it is';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON history
    FOR EACH STATEMENT EXECUTE FUNCTION _refuse();
-- Not even where session_replication_role says "replica"
ALTER TABLE history ENABLE ALWAYS TRIGGER append_only;

CREATE FUNCTION _prune_history(before timestamptz) RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'spinpanel_prune_history';
COMMENT ON FUNCTION _prune_history(timestamptz) IS 'internal: deletes older history; returns the number of rows';

CREATE FUNCTION prune_history(older_than interval) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before timestamptz := spinpanel._now() - prune_history.older_than;
    number bigint;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_value(prune_history.older_than IS NOT NULL, 'older_than');
    IF before > spinpanel._now() - interval '90 days' THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = 'the history of the last 90 days stays',
            HINT = 'Name a longer time; keep what invoices may still have to be explained by.';
    END IF;
    number := spinpanel._prune_history(before);
    PERFORM spinpanel._record('history pruned', NULL, NULL, NULL, NULL, jsonb_build_object('before', before, 'rows', number), NULL);
    RETURN number;
END
$$;
COMMENT ON FUNCTION prune_history(interval) IS
'Deletes history that is older, and returns the number of rows; that it was done is on record. Export what you have to keep. The only way
to delete history. Errors: 22004; 22023 less than 90 days; 25006 on a standby.';

CREATE FUNCTION _record(event text, customer_id uuid, adjustment_id bigint, run_id bigint, before jsonb, after jsonb,
                        reason text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO spinpanel.history (at, event, customer_id, adjustment_id, run_id, before, after, reason)
    VALUES (spinpanel._now(), $1, $2, $3, $4, $5, $6, $7)
$$;
COMMENT ON FUNCTION _record(text, uuid, bigint, bigint, jsonb, jsonb, text) IS 'internal: one row of history';
