-- Who may do what --------------------------------------------------------------------------

CREATE SCHEMA spinpanel_report;
COMMENT ON SCHEMA spinpanel_report IS 'spinpanel: reporting views for BI tools';

CREATE TABLE reader_limit (
    role        name NOT NULL,
    customer_id uuid NOT NULL,
    PRIMARY KEY (role, customer_id)
);
COMMENT ON TABLE reader_limit IS 'readers that may see these customers only; see limit_reader()';
COMMENT ON COLUMN reader_limit.role IS 'a role, by name; holds for its members';
COMMENT ON COLUMN reader_limit.customer_id IS 'a customer that it may see; no row: all';

CREATE FUNCTION grant_role(role text, to_role name) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _level int := array_position(ARRAY['reader', 'operator', 'manager', 'admin'], lower($1));
    _name  text;
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
    EXECUTE format('GRANT USAGE ON SCHEMA spinpanel_report TO %I', $2);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA spinpanel_report TO %I', $2);
    IF _level >= 2 THEN
        EXECUTE format('GRANT USAGE ON SCHEMA spinpanel TO %I', $2);
        -- everything but the secret may be looked at
        FOR _name IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'spinpanel'::regnamespace
            AND c.relkind IN ('r', 'v') AND c.relname <> 'credential'
        LOOP
            EXECUTE format('GRANT SELECT ON spinpanel.%I TO %I', _name, $2);
        END LOOP;
    END IF;
    FOR _name IN SELECT p.oid::regprocedure FROM pg_proc p JOIN spinpanel._function_level l ON l.name = p.proname
        WHERE p.pronamespace = 'spinpanel'::regnamespace AND l.level <= _level
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', _name, $2);
    END LOOP;
    PERFORM spinpanel._record('role granted', NULL, NULL, NULL, NULL, jsonb_build_object('role', lower($1), 'to', $2), NULL);
END $$;
COMMENT ON FUNCTION grant_role(text, name) IS
'grants the rights of reader (the reporting views), operator (also: assign, release, runs, plans), manager (also: settings,
approvals, pause) or admin (also: accounts) to a role: plain grants, each including the one before.
Errors: 22004, 22023 (no such level), 42704 (no such role), 42501';

CREATE VIEW _function_level AS
SELECT f.name::name, f.level FROM (VALUES
    ('_now', 1), ('_worker_facts', 1), ('_cron_next', 1),
    ('excess_seats', 2), ('plan_adjustment', 2), ('sync', 2), ('adjust', 2), ('nightly', 2), ('wait_for_run', 2),
    ('assign_license', 2), ('assign_licenses', 2), ('release_license', 2), ('cancel_request', 2),
    ('wait_for_request', 2), ('check_setup', 2),
    ('set_relationship', 3), ('set_license_rule', 3), ('drop_license_rule', 3), ('approve', 3), ('reject', 3),
    ('pause', 3), ('resume', 3),
    ('connect_account', 4), ('disconnect_account', 4), ('schedule', 4), ('unschedule', 4), ('activate', 4), ('limit_reader', 4)) AS f (name, level);
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
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_value(limit_reader.to_role IS NOT NULL, 'to_role');
    PERFORM spinpanel._require_value(limit_reader.customers IS NOT NULL, 'customers');
    IF (SELECT count(*) FROM pg_roles r WHERE r.rolname = limit_reader.to_role) = 0 THEN
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
                HINT = 'REVOKE what it has in schema spinpanel, or limit another role.';
        END IF;
    END IF;

    DELETE FROM spinpanel.reader_limit l WHERE l.role = limit_reader.to_role;
    INSERT INTO spinpanel.reader_limit (role, customer_id)
    SELECT DISTINCT limit_reader.to_role, i FROM unnest(ids) i;
    GET DIAGNOSTICS number = ROW_COUNT;
    INSERT INTO spinpanel.history (at, event, after, reason)
    VALUES (spinpanel._now(), 'reader limited', to_jsonb(ids),
            CASE WHEN number = 0 THEN format('%s may see all customers', limit_reader.to_role)
                 ELSE format('%s may see %s customers', limit_reader.to_role, number) END);
    RETURN number;
END
$$;
COMMENT ON FUNCTION limit_reader(name, text[]) IS
'Narrows what a reader sees in spinpanel_report to these customers, instead of those named before, and returns their number. ARRAY[''*''] lifts the limit. The limit goes by the role''s name and holds for its members.
Errors: 42704 to_role does not exist; 22023 no customer, or the role can read the tables themselves; P0002 unknown customer; 22004; 25006 on a standby.';
