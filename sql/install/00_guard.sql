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
