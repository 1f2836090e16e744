-- Partner Center's names are UTF-8; in another encoding the worker could not hold them.
DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
        RAISE EXCEPTION USING ERRCODE = '0A000',
            MESSAGE = pg_catalog.format('spinpanel needs a database in encoding UTF8, and this one is in %s', pg_catalog.getdatabaseencoding()),
            HINT = 'Create a database with ENCODING ''UTF8'' TEMPLATE template0, and name it in spinpanel.database.';
    END IF;
END
$$;


-- The schema may have been there before.  What somebody else owns, or may create in, can be changed under us: a function
-- there that fits a call better than ours would run with our rights.  What is in it already may have been put there for that.
DO $$
DECLARE
    _schema oid := (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) 'spinpanel');
    _owner  oid := (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) current_user);
    _found  text;
BEGIN
    IF (SELECT n.nspowner FROM pg_catalog.pg_namespace n WHERE n.oid OPERATOR(pg_catalog.=) _schema) OPERATOR(pg_catalog.<>) _owner THEN
        RAISE EXCEPTION USING ERRCODE = '42501',
            MESSAGE = 'schema "spinpanel" belongs to another role',
            HINT = 'Drop it, or give it to the role that creates the extension: ALTER SCHEMA spinpanel OWNER TO ...';
    END IF;
    -- What default privileges give in a schema that CREATE EXTENSION has just made, nobody can use before 91_privileges.sql
    -- takes it back
    SELECT pg_catalog.string_agg(CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC' ELSE a.grantee::pg_catalog.regrole::text END, ', ') INTO _found
    FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a
    WHERE n.oid OPERATOR(pg_catalog.=) _schema AND a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'
      AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner AND n.xmin OPERATOR(pg_catalog.<>) pg_catalog.pg_current_xact_id()::xid;
    IF _found IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '42501',
            MESSAGE = 'other roles may create objects in schema "spinpanel"',
            DETAIL = 'They are: ' OPERATOR(pg_catalog.||) _found,
            HINT = 'DROP SCHEMA spinpanel; CREATE EXTENSION makes it.';
    END IF;
    -- Whatever lives in a schema depends on it
    SELECT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) INTO _found
    FROM pg_catalog.pg_depend d
    WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid OPERATOR(pg_catalog.=) _schema
      AND d.classid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_extension'::pg_catalog.regclass
      AND d.classid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_default_acl'::pg_catalog.regclass
    LIMIT 1;
    IF _found IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '42501',
            MESSAGE = 'schema "spinpanel" is not empty',
            DETAIL = 'It holds ' OPERATOR(pg_catalog.||) _found,
            HINT = 'DROP SCHEMA spinpanel CASCADE, if that is not needed; CREATE EXTENSION makes it.';
    END IF;
END
$$;
