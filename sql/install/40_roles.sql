-- Who may do what --------------------------------------------------------------------------

CREATE SCHEMA spinpanel_report;
COMMENT ON SCHEMA spinpanel_report IS 'spinpanel: reporting views for BI tools';

CREATE TABLE reader_limit (
    role        regrole NOT NULL,
    customer_id uuid NOT NULL,
    PRIMARY KEY (role, customer_id)
);
COMMENT ON TABLE reader_limit IS 'readers that may see these customers only; see limit_reader()';
COMMENT ON COLUMN reader_limit.role IS 'a role, also when it is renamed; holds for its members';
COMMENT ON COLUMN reader_limit.customer_id IS 'a customer that it may see';

-- Who sees all customers is who may execute this.  A right that is granted, not a row that is missing: where the rows of
-- reader_limit do not come back from a dump, a limited reader sees nothing rather than everything.
CREATE FUNCTION _all_customers() RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'SELECT true';
COMMENT ON FUNCTION _all_customers() IS 'internal: the right to execute it is the right to see all customers in spinpanel_report';

-- For views in spinpanel_report, which all are security barriers:
--   ... WHERE (SELECT r.sees_all FROM spinpanel._reader r) OR x.customer_id IN (SELECT v.customer_id FROM spinpanel._visible_customer v)
CREATE VIEW _reader AS
SELECT has_function_privilege(current_user, 'spinpanel._all_customers()'::regprocedure, 'EXECUTE') AS sees_all;
COMMENT ON VIEW _reader IS 'internal: one row: what the current user may see in spinpanel_report';
COMMENT ON COLUMN _reader.sees_all IS 'all customers';
CREATE VIEW _visible_customer AS
SELECT l.customer_id FROM spinpanel.reader_limit l WHERE pg_has_role(current_user, l.role, 'USAGE');
COMMENT ON VIEW _visible_customer IS 'internal: the customers that the current user may see in spinpanel_report, where not all';
COMMENT ON COLUMN _visible_customer.customer_id IS 'a customer';

CREATE FUNCTION grant_role(role text, to_role name) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _level int := array_position(ARRAY['reader', 'operator', 'manager', 'admin'], lower($1));
    _name  text;
    _limited boolean;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_value($1 IS NOT NULL, 'role');
    PERFORM spinpanel._require_value($2 IS NOT NULL, 'to_role');
    IF _level IS NULL THEN
        RAISE EXCEPTION 'there is no role "%"', $1 USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Roles are reader, operator, manager and admin; each includes the one before.';
    END IF;
    IF (SELECT count(*) FROM pg_roles r WHERE r.rolname = $2) = 0 THEN
        RAISE EXCEPTION 'role "%" does not exist', $2 USING ERRCODE = 'undefined_object';
    END IF;
    _limited := EXISTS (SELECT FROM spinpanel.reader_limit l JOIN pg_roles r ON r.oid = l.role WHERE r.rolname = $2);
    IF _limited AND _level >= 2 THEN
        RAISE EXCEPTION 'role "%" is a reader of certain customers only', $2 USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'As more than a reader it could read the tables themselves, of all customers.',
            HINT = format('Lift the limit first: SELECT spinpanel.limit_reader(%L, ARRAY[''*'']);', $2);
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA spinpanel_report TO %I', $2);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA spinpanel_report TO %I', $2);
    IF _level >= 2 THEN
        EXECUTE format('GRANT USAGE ON SCHEMA spinpanel TO %I', $2);
        -- everything but what is secret (credential, sign_in) may be looked at
        FOR _name IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'spinpanel'::regnamespace
            AND c.relkind IN ('r', 'v', 'p') AND NOT c.relrowsecurity
        LOOP
            EXECUTE format('GRANT SELECT ON spinpanel.%I TO %I', _name, $2);
        END LOOP;
    END IF;
    FOR _name IN SELECT p.oid::regprocedure FROM pg_proc p JOIN spinpanel._function_level l ON l.name = p.proname
        WHERE p.pronamespace IN ('spinpanel'::regnamespace, 'spinpanel_report'::regnamespace) AND l.level <= _level AND NOT (_limited AND p.proname = '_all_customers')
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', _name, $2);
    END LOOP;
    PERFORM spinpanel._record('role granted', NULL, NULL, NULL, NULL, jsonb_build_object('role', lower($1), 'to', $2), NULL);
END $$;
COMMENT ON FUNCTION grant_role(text, name) IS
'grants the rights of reader (the reporting views), operator (also: assign, release, runs, plans), manager (also: settings,
approvals, pause) or admin (also: accounts) to a role: plain grants, each including the one before. revoke_role() takes them back.
Errors: 22004, 22023 (no such level), 42704 (no such role), 42501, 55000 (a limited reader, see limit_reader())';

CREATE FUNCTION revoke_role(from_role name) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _role    oid := (SELECT r.oid FROM pg_roles r WHERE r.rolname = $1);
    _command text;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_value($1 IS NOT NULL, 'from_role');
    IF _role IS NULL THEN
        RAISE EXCEPTION 'role "%" does not exist', $1 USING ERRCODE = 'undefined_object';
    END IF;
    FOR _command IN
        SELECT CASE d.classid
               WHEN 'pg_namespace'::regclass THEN format('SCHEMA %s', d.objid::regnamespace)
               WHEN 'pg_proc'::regclass THEN format('ROUTINE %s', d.objid::regprocedure)
               WHEN 'pg_type'::regclass THEN format('TYPE %s', d.objid::regtype)
               ELSE format('%s %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, d.objid::regclass) END
        FROM (SELECT DISTINCT x.classid, x.objid FROM pg_shdepend x
              WHERE x.dbid = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())
                AND x.refclassid = 'pg_authid'::regclass AND x.refobjid = _role AND x.deptype = 'a') d
        LEFT JOIN pg_class c ON c.oid = d.objid AND d.classid = 'pg_class'::regclass
        LEFT JOIN pg_proc p ON p.oid = d.objid AND d.classid = 'pg_proc'::regclass
        LEFT JOIN pg_type t ON t.oid = d.objid AND d.classid = 'pg_type'::regclass
        WHERE coalesce(c.relnamespace, p.pronamespace, t.typnamespace, CASE d.classid WHEN 'pg_namespace'::regclass THEN d.objid END)
              IN ('spinpanel'::regnamespace, 'spinpanel_report'::regnamespace)
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %I CASCADE', _command, $1);
    END LOOP;
    DELETE FROM spinpanel.reader_limit l WHERE l.role = _role;
    PERFORM spinpanel._record('role revoked', NULL, NULL, NULL, NULL, jsonb_build_object('from', $1), NULL);
END $$;
COMMENT ON FUNCTION revoke_role(name) IS
'takes back all that grant_role() granted to a role, and its limit (limit_reader()): DROP ROLE then works, as far as spinpanel is concerned. To
lower a role, revoke and grant anew. Errors: 22004, 42704 (no such role), 42501';

CREATE VIEW _function_level AS
SELECT f.name::name, f.level FROM (VALUES
    ('_now', 1), ('_worker_facts', 1), ('_cron_next', 1), ('_all_customers', 1), ('_excess', 1), ('seats_as_of', 1), ('page', 1), ('_html', 1), ('_number', 1), ('_money', 1), ('_tile', 1), ('_table', 1), ('_bars', 1), ('_style', 1),
    ('excess_seats', 2), ('plan_adjustment', 2), ('sync', 2), ('adjust', 2), ('nightly', 2), ('wait_for_run', 2),
    ('assign_license', 2), ('assign_licenses', 2), ('release_license', 2), ('cancel_request', 2), ('retry_request', 2), ('quote_license', 2),
    ('wait_for_request', 2), ('check_setup', 2),
    ('set_relationship', 3), ('set_license_rule', 3), ('drop_license_rule', 3), ('approve', 3), ('reject', 3),
    ('pause', 3), ('resume', 3), ('set_sell_price', 3), ('load_price_sheet', 3), ('load_invoice_lines', 3), ('_load_price_sheet', 3), ('_read_server_file', 3),
    ('connect_account', 4), ('disconnect_account', 4), ('sign_in_url', 4), ('sign_in', 4), ('schedule', 4), ('unschedule', 4), ('activate', 4), ('limit_reader', 4), ('prune_history', 4)) AS f (name, level);
COMMENT ON VIEW _function_level IS 'internal: which function needs which role';
COMMENT ON COLUMN _function_level.name IS 'function';
COMMENT ON COLUMN _function_level.level IS '1 reader (what the reporting views call), 2 operator, 3 manager, 4 admin';

CREATE FUNCTION limit_reader(to_role name, customers text[]) RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name   text;
    ids    uuid[] := '{}';
    number int;
    reader oid := (SELECT r.oid FROM pg_roles r WHERE r.rolname = limit_reader.to_role);
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_value(limit_reader.to_role IS NOT NULL, 'to_role');
    PERFORM spinpanel._require_value(limit_reader.customers IS NOT NULL, 'customers');
    IF reader IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '42704', MESSAGE = format('role "%s" does not exist', limit_reader.to_role);
    END IF;
    IF cardinality(limit_reader.customers) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = 'parameter "customers" must name at least one customer',
            HINT = 'ARRAY[''*''] lifts the limit. Who is to see nothing needs no grant: REVOKE USAGE ON SCHEMA spinpanel_report FROM ...';
    END IF;
    IF limit_reader.customers <> ARRAY['*'] THEN
        FOREACH name IN ARRAY limit_reader.customers LOOP
            ids := ids || spinpanel._customer(name, false);
        END LOOP;
        IF has_schema_privilege(limit_reader.to_role, 'spinpanel', 'USAGE') THEN
            RAISE EXCEPTION USING ERRCODE = '22023',
                MESSAGE = format('role "%s" is more than a reader', limit_reader.to_role),
                DETAIL = 'It can read the tables themselves, so that a limit on the views would limit nothing.',
                HINT = 'SELECT spinpanel.revoke_role(...), then grant it the role reader; or limit another role.';
        END IF;
        EXECUTE format('REVOKE ALL ON FUNCTION spinpanel._all_customers() FROM %I', limit_reader.to_role);
        IF has_function_privilege(reader, 'spinpanel._all_customers()', 'EXECUTE') THEN
            RAISE EXCEPTION USING ERRCODE = '22023',
                MESSAGE = format('role "%s" sees all customers as a member of another role', limit_reader.to_role),
                HINT = 'Take it out of that role, or limit another role.';
        END IF;
    ELSIF has_schema_privilege(reader, 'spinpanel_report', 'USAGE') THEN
        EXECUTE format('GRANT EXECUTE ON FUNCTION spinpanel._all_customers() TO %I', limit_reader.to_role);
    END IF;

    -- With it, what was said of roles that are gone
    DELETE FROM spinpanel.reader_limit l
    WHERE l.role = reader OR NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = l.role);
    INSERT INTO spinpanel.reader_limit (role, customer_id)
    SELECT DISTINCT reader, i FROM unnest(ids) i;
    GET DIAGNOSTICS number = ROW_COUNT;
    INSERT INTO spinpanel.history (at, event, after, reason)
    VALUES (spinpanel._now(), 'reader limited', to_jsonb(ids),
            CASE WHEN number = 0 THEN format('%s may see all customers', limit_reader.to_role)
                 ELSE format('%s may see %s customers', limit_reader.to_role, number) END);
    RETURN number;
END
$$;
COMMENT ON FUNCTION limit_reader(name, text[]) IS
'Narrows what a reader sees in spinpanel_report to these customers, instead of those named before, and returns their number. ARRAY[''*''] lifts the limit. The limit stays with the role when that is renamed, and holds for its members.
Errors: 42704 to_role does not exist; 22023 no customer, or the role can read the tables themselves; P0002 unknown customer; 22004; 25006 on a standby.';
