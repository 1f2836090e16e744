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

-- The schema may have been there before; what somebody else owns can be changed under us.
DO $$
BEGIN
    IF (SELECT n.nspowner FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) 'spinpanel')
       OPERATOR(pg_catalog.<>) (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) current_user)
    THEN
        RAISE EXCEPTION USING ERRCODE = '42501',
            MESSAGE = 'schema "spinpanel" belongs to another role',
            HINT = 'Drop it, or give it to the role that creates the extension: ALTER SCHEMA spinpanel OWNER TO ...';
    END IF;
END
$$;

--
