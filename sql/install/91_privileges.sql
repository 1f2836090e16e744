-- Nothing is granted but by grant_role().  Default privileges (ALTER DEFAULT PRIVILEGES) have granted already what the
-- database owner once meant for tables of their own: it is taken back from everybody but the owner.  Stays the last part.

DO $$
DECLARE
    _command text;
BEGIN
    FOR _command IN
        SELECT pg_catalog.format('REVOKE ALL ON %s %s FROM %s CASCADE', o.kind, o.name,
                                 CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC' ELSE a.grantee::pg_catalog.regrole::text END)
        FROM (
            SELECT 'SCHEMA' AS kind, n.oid::pg_catalog.regnamespace::text AS name, n.nspowner AS owner,
                   coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner)) AS acl
            FROM pg_catalog.pg_namespace n
            WHERE n.nspname OPERATOR(pg_catalog.=) ANY (ARRAY['spinpanel', 'spinpanel_report'])
            UNION ALL
            SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::pg_catalog.regclass::text, c.relowner,
                   coalesce(c.relacl, pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
            WHERE n.nspname OPERATOR(pg_catalog.=) ANY (ARRAY['spinpanel', 'spinpanel_report'])
              AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'v', 'm', 'p', 'f', 'S']::"char"[])
            UNION ALL
            SELECT 'ROUTINE', p.oid::pg_catalog.regprocedure::text, p.proowner,
                   coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))
            FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
            WHERE n.nspname OPERATOR(pg_catalog.=) ANY (ARRAY['spinpanel', 'spinpanel_report'])
            UNION ALL
            -- types of their own; the row type of a table has no privileges
            SELECT 'TYPE', t.oid::pg_catalog.regtype::text, t.typowner,
                   coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner))
            FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
            WHERE n.nspname OPERATOR(pg_catalog.=) ANY (ARRAY['spinpanel', 'spinpanel_report'])
              AND t.typelem OPERATOR(pg_catalog.=) 0
              AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) t.typrelid
                              AND c.relkind OPERATOR(pg_catalog.<>) 'c')
        ) o, LATERAL (SELECT DISTINCT x.grantee FROM pg_catalog.aclexplode(o.acl) x) a
        WHERE a.grantee OPERATOR(pg_catalog.<>) o.owner
    LOOP
        EXECUTE _command;
    END LOOP;
END
$$;
