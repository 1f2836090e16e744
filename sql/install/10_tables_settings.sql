-- Tables.  Ids of Microsoft are uuid, times are timestamptz and UTC, seats are
-- int.  A table is owned by one part of the code:
--
--   what a person set        account, relationship, license_rule, never_assigned_sku
--   what Partner Center said customer, customer_account, subscription,
--                            subscription_raw, subscribed_sku, offer, sku,
--                            customer_user, user_license (the mirror)
--   figures kept with it     pool, pool_reading; pool_excess, pool_unmoved, customer_excess, excess_void
--   what is wanted           run, run_customer, license_request
--   what is decided, done    adjustment, operation, history
--   secret                   credential, sign_in
--
-- Tables that a dump holds (90_dump.sql) have no foreign keys to each other: pg_restore -j loads them side by side, and
-- would lose the rows of one whose parent is not there yet.  Our functions write known ids only.
--

-- What a person set ----------------------------------------------------------

CREATE TABLE account (
    account_id          int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name                text NOT NULL UNIQUE CHECK (name <> ''),
    tenant_id           uuid NOT NULL,
    client_id           text NOT NULL CHECK (client_id <> ''),
    credential_file     text NOT NULL,
    api_url             text NOT NULL,
    login_url           text NOT NULL,
    requests_per_minute int NOT NULL CHECK (requests_per_minute BETWEEN 1 AND 1000000),
    max_concurrency     int NOT NULL CHECK (max_concurrency BETWEEN 1 AND 1000),
    status              text NOT NULL DEFAULT 'active'
                        CHECK (status IN ('active', 'stopped', 'disconnected')),
    status_reason       text,
    access              text CHECK (access IN ('app', 'app+user')),
    -- where it was connected: a copy has another identifier or database
    system_identifier   bigint NOT NULL,
    database_oid        oid NOT NULL,
    -- ... or, restored into the same one, another table of accounts
    table_oid           oid NOT NULL DEFAULT 0,
    idle_reason         text,
    customers_read_at   timestamptz,
    connected_at        timestamptz NOT NULL,
    connected_by        name NOT NULL DEFAULT session_user
);
COMMENT ON TABLE account IS 'partner tenants connected to Partner Center; see connect_account()';
COMMENT ON COLUMN account.account_id IS 'our id';
COMMENT ON COLUMN account.name IS 'our name for it, unique';
COMMENT ON COLUMN account.tenant_id IS 'the partner''s Entra tenant';
COMMENT ON COLUMN account.client_id IS 'the app registration';
COMMENT ON COLUMN account.credential_file IS 'absolute path on the server; what is in it stays there';
COMMENT ON COLUMN account.api_url IS 'without /v1';
COMMENT ON COLUMN account.login_url IS 'without the tenant';
COMMENT ON COLUMN account.requests_per_minute IS 'most requests a minute that we send';
COMMENT ON COLUMN account.max_concurrency IS 'most requests at the same time';
COMMENT ON COLUMN account.status IS 'active; stopped: Microsoft refused the credentials (status_reason), tried again by itself; disconnected';
COMMENT ON COLUMN account.status_reason IS 'why it was stopped';
COMMENT ON COLUMN account.access IS 'app, or app+user: only the latter may read and change licences of users';
COMMENT ON COLUMN account.system_identifier IS 'where it was connected; a copy of the database differs, and does not act (activate())';
COMMENT ON COLUMN account.database_oid IS 'see system_identifier';
COMMENT ON COLUMN account.table_oid IS 'see system_identifier: this table itself, which a dump restored into the same database makes anew';
COMMENT ON COLUMN account.idle_reason IS 'why the worker does not act for it, as it last saw it; NULL: it acts';
COMMENT ON COLUMN account.customers_read_at IS 'when the last whole list of customers was begun';
COMMENT ON COLUMN account.connected_at IS 'last connect_account()';
COMMENT ON COLUMN account.connected_by IS 'who called it';

-- The refresh token that Microsoft returned last, encrypted with a key that follows from the client secret in the
-- credential file: what lies here, and with it in replicas, base backups, WAL, copies and publications, is of no use without
-- that file.  Written by the worker only; never dumped; no statistics.
CREATE TABLE credential (
    account_id    int PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    refresh_token bytea NOT NULL,
    source        text NOT NULL DEFAULT 'file' CHECK (source IN ('file', 'sign_in')),
    obtained_at   timestamptz NOT NULL,
    used_at       timestamptz NOT NULL
);
ALTER TABLE credential ALTER COLUMN refresh_token SET STATISTICS 0;
-- No policy: nobody but the owner and superusers sees a row, members of pg_read_all_data neither
ALTER TABLE credential ENABLE ROW LEVEL SECURITY;
COMMENT ON TABLE credential IS 'the refresh token that Microsoft returned last, encrypted; never dumped';
COMMENT ON COLUMN credential.account_id IS 'whose token';
COMMENT ON COLUMN credential.refresh_token IS 'encrypted (AES-256-GCM, by a key derived from the client secret)';
COMMENT ON COLUMN credential.source IS 'file: it, or one before it, stood in the credential file; sign_in: somebody signed in';
COMMENT ON COLUMN credential.obtained_at IS 'when Microsoft returned it';
COMMENT ON COLUMN credential.used_at IS 'when an access token was last obtained; unused for 90 days, it expires';

-- A person signing in, from sign_in_url() to the moment the worker has traded the code.  Its verifier (PKCE) is not kept.
CREATE TABLE sign_in (
    account_id int PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    state      text NOT NULL,
    asked_at   timestamptz NOT NULL,
    asked_by   name NOT NULL DEFAULT session_user,
    code       bytea,
    given_at   timestamptz,
    outcome    text
);
ALTER TABLE sign_in ALTER COLUMN state SET STATISTICS 0;
ALTER TABLE sign_in ALTER COLUMN code SET STATISTICS 0;
ALTER TABLE sign_in ENABLE ROW LEVEL SECURITY;
COMMENT ON TABLE sign_in IS 'the sign-in asked for last, one row per account; never dumped';
COMMENT ON COLUMN sign_in.account_id IS 'for which account';
COMMENT ON COLUMN sign_in.state IS 'random; goes with the address and has to come back';
COMMENT ON COLUMN sign_in.asked_at IS 'when sign_in_url() was called';
COMMENT ON COLUMN sign_in.asked_by IS 'who called it';
COMMENT ON COLUMN sign_in.code IS 'what the browser brought, encrypted, until it is traded';
COMMENT ON COLUMN sign_in.given_at IS 'when sign_in() was called';
COMMENT ON COLUMN sign_in.outcome IS 'done, or why it failed; NULL: not over';

CREATE TABLE customer (
    customer_id   uuid PRIMARY KEY,
    name          text NOT NULL,
    domain        text,
    country       text,
    first_seen_at timestamptz NOT NULL,
    gone_at       timestamptz              -- no account of ours lists it any more
);
CREATE INDEX customer_name_idx ON customer (lower(name));
CREATE INDEX customer_domain_idx ON customer (lower(domain));
COMMENT ON TABLE customer IS 'customer tenants as Partner Center lists them';
COMMENT ON COLUMN customer.customer_id IS 'the customer''s tenant';
COMMENT ON COLUMN customer.name IS 'company name';
COMMENT ON COLUMN customer.domain IS 'default domain';
COMMENT ON COLUMN customer.country IS 'two letters';
COMMENT ON COLUMN customer.first_seen_at IS 'first listed';
COMMENT ON COLUMN customer.gone_at IS 'no account lists it any more since then';

CREATE TABLE relationship (
    customer_id             uuid PRIMARY KEY,
    auto_license_adjustment boolean NOT NULL DEFAULT false,
    auto_increment          boolean NOT NULL DEFAULT false,
    partner_center_sync     boolean NOT NULL DEFAULT true,
    purchases               boolean NOT NULL DEFAULT true,
    spare_seats             int NOT NULL DEFAULT 0 CHECK (spare_seats >= 0),
    cooldown                interval NOT NULL DEFAULT '24 hours'
                            CHECK (cooldown >= '0'::interval AND cooldown <= '90 days'::interval),
    renewal_lead            interval NOT NULL DEFAULT '14 days'
                            CHECK (renewal_lead >= '26 hours'::interval AND renewal_lead <= '400 days'::interval),
    removal_limit_percent   int NOT NULL DEFAULT 50 CHECK (removal_limit_percent BETWEEN 0 AND 100),
    removal_limit_seats     int NOT NULL DEFAULT 20 CHECK (removal_limit_seats >= 0),
    purchase_limit_percent  int NOT NULL DEFAULT 100 CHECK (purchase_limit_percent >= 0),
    purchase_limit_seats    int NOT NULL DEFAULT 50 CHECK (purchase_limit_seats >= 0),
    usage_location          text CHECK (usage_location ~ '^[A-Z]{2}$'),
    paused_at               timestamptz,
    paused_by               name,
    pause_reason            text,
    changed_at              timestamptz,
    changed_by              name,
    CONSTRAINT adjustment_and_increment_exclude_each_other
        CHECK (NOT (auto_license_adjustment AND auto_increment))
) WITH (fillfactor = 90);
COMMENT ON TABLE relationship IS 'a customer''s settings; see set_relationship()';
COMMENT ON COLUMN relationship.customer_id IS 'whose settings';
COMMENT ON COLUMN relationship.auto_license_adjustment IS 'give seats back that nobody uses';
COMMENT ON COLUMN relationship.auto_increment IS 'an assignment always orders a new seat, so that the stock stays as it is';
COMMENT ON COLUMN relationship.partner_center_sync IS 'read the customer in every run';
COMMENT ON COLUMN relationship.purchases IS 'seats may be bought';
COMMENT ON COLUMN relationship.spare_seats IS 'unused seats to keep per SKU';
COMMENT ON COLUMN relationship.cooldown IS 'a seat freed or added less than this ago stays';
COMMENT ON COLUMN relationship.renewal_lead IS 'how long before a renewal the next term is scheduled';
COMMENT ON COLUMN relationship.removal_limit_percent IS 'more than the larger of this and removal_limit_seats within 24 hours waits for approve()';
COMMENT ON COLUMN relationship.removal_limit_seats IS 'see removal_limit_percent';
COMMENT ON COLUMN relationship.purchase_limit_percent IS 'more than the larger of this and purchase_limit_seats within 24 hours waits for approve()';
COMMENT ON COLUMN relationship.purchase_limit_seats IS 'see purchase_limit_percent';
COMMENT ON COLUMN relationship.usage_location IS 'country given to a user who has none before a licence is assigned; NULL: such a request fails';
COMMENT ON COLUMN relationship.paused_at IS 'pause() was called; NULL: not paused';
COMMENT ON COLUMN relationship.paused_by IS 'who called it';
COMMENT ON COLUMN relationship.pause_reason IS 'what they said';
COMMENT ON COLUMN relationship.changed_at IS 'last set_relationship() that changed something';
COMMENT ON COLUMN relationship.changed_by IS 'who called it';

-- NULL customer or SKU = every one ('*')
CREATE TABLE license_rule (
    license_rule_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id     uuid,
    sku_id          uuid,
    excluded        boolean,
    spare_seats     int CHECK (spare_seats >= 0),
    min_seats       int CHECK (min_seats >= 0),
    max_seats       int CHECK (max_seats >= 0),
    default_offer   text CHECK (default_offer ~ '^[A-Za-z0-9]+:[A-Za-z0-9]+(:[A-Za-z0-9]+)?$'),
    term_duration   text CHECK (term_duration ~ '^P[0-9]+[DMY]$'),
    billing_cycle   text CHECK (billing_cycle IN ('monthly', 'annual', 'triennial', 'biennial', 'one_time', 'none')),
    changed_at      timestamptz,
    changed_by      name
);
CREATE UNIQUE INDEX license_rule_scope_idx ON license_rule
    (coalesce(customer_id, '00000000-0000-0000-0000-000000000000'),
     coalesce(sku_id, '00000000-0000-0000-0000-000000000000'));
COMMENT ON TABLE license_rule IS 'rules per customer and SKU (NULL: every one); see set_license_rule()';
COMMENT ON COLUMN license_rule.license_rule_id IS 'id';
COMMENT ON COLUMN license_rule.customer_id IS 'NULL: every customer';
COMMENT ON COLUMN license_rule.sku_id IS 'NULL: every SKU';
COMMENT ON COLUMN license_rule.excluded IS 'seats are never given back';
COMMENT ON COLUMN license_rule.spare_seats IS 'unused seats to keep';
COMMENT ON COLUMN license_rule.min_seats IS 'the pool is never lowered below';
COMMENT ON COLUMN license_rule.max_seats IS 'owned seats and those being bought never exceed it';
COMMENT ON COLUMN license_rule.default_offer IS 'productId:skuId[:availabilityId] to order where no subscription can be raised';
COMMENT ON COLUMN license_rule.term_duration IS 'buy only in subscriptions of this term, e.g. P1Y';
COMMENT ON COLUMN license_rule.billing_cycle IS 'buy only in subscriptions billed so: monthly, annual, triennial, ...';
COMMENT ON COLUMN license_rule.changed_at IS 'last set_license_rule()';
COMMENT ON COLUMN license_rule.changed_by IS 'who called it';

-- SKUs whose seats are never assigned to users, so that nothing follows from
-- their consumed units.  The shipped list is replaced by upgrades; a row of
-- never_assigned_sku adds to it or (never_assigned = false) overrules it.
CREATE TABLE never_assigned_sku_shipped (
    part_number text PRIMARY KEY,
    reason      text NOT NULL
);
CREATE TABLE never_assigned_sku (
    part_number    text PRIMARY KEY CHECK (part_number = upper(part_number)),
    never_assigned boolean NOT NULL DEFAULT true,
    reason         text
);
COMMENT ON TABLE never_assigned_sku IS 'your additions to, or (never_assigned = false) exceptions from, never_assigned_sku_shipped';
COMMENT ON COLUMN never_assigned_sku.part_number IS 'in capitals';
COMMENT ON COLUMN never_assigned_sku.never_assigned IS 'false: contrary to the shipped list, its seats are assigned to users';
COMMENT ON COLUMN never_assigned_sku.reason IS 'yours';
COMMENT ON TABLE never_assigned_sku_shipped IS 'SKUs whose seats are never assigned to users: nothing follows from their consumed units';
COMMENT ON COLUMN never_assigned_sku_shipped.part_number IS 'in capitals';
COMMENT ON COLUMN never_assigned_sku_shipped.reason IS 'why they are not assigned';
