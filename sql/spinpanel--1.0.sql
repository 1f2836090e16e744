\echo Use "CREATE EXTENSION spinpanel" to load this file. \quit

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
-- Tables.  Ids of Microsoft are uuid, times are timestamptz and UTC, seats are
-- int.  A table is owned by one part of the code:
--
--   what a person set        account, relationship, license_rule, never_assigned_sku
--   what Partner Center said customer, customer_account, subscription,
--                            subscription_raw, subscribed_sku, offer, sku,
--                            customer_user, user_license (the mirror)
--   figures kept with it     pool, pool_reading
--   what is wanted           run, run_customer, license_request
--   what is decided, done    adjustment, operation, history
--   secret                   credential
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
    -- back-off that survives a restart
    failures            int NOT NULL DEFAULT 0,
    not_before          timestamptz NOT NULL DEFAULT '-infinity',
    customers_read_at   timestamptz,
    connected_at        timestamptz NOT NULL,
    connected_by        name NOT NULL DEFAULT session_user
);

-- The refresh token that Microsoft returned last.  Written by the worker only,
-- never dumped, no statistics: pg_stats would show it.
CREATE TABLE credential (
    account_id    int PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    refresh_token text NOT NULL,
    obtained_at   timestamptz NOT NULL
);
ALTER TABLE credential ALTER COLUMN refresh_token SET STATISTICS 0;

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

CREATE TABLE relationship (
    customer_id             uuid PRIMARY KEY REFERENCES customer,
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

-- NULL customer or SKU = every one ('*')
CREATE TABLE license_rule (
    license_rule_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id     uuid REFERENCES customer,
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

-- What Partner Center said: the mirror ---------------------------------------

-- One of our accounts' relationship to a customer, with the time that the last
-- whole read of each kind was started (NULL = never) and the hash of its body.
CREATE TABLE customer_account (
    customer_id            uuid NOT NULL REFERENCES customer,
    account_id             int NOT NULL REFERENCES account,
    relationship           text,
    listed_at              timestamptz,    -- in the list whose reading began then
    gone_at                timestamptz,
    license_access         boolean,        -- NULL = not tried yet
    subscriptions_read_at  timestamptz,
    subscriptions_hash     bytea,
    subscriptions_error    text,
    subscribed_skus_read_at timestamptz,
    subscribed_skus_hash   bytea,
    subscribed_skus_error  text,
    users_read_at          timestamptz,
    users_error            text,
    licenses_read_at       timestamptz,
    licenses_error         text,
    PRIMARY KEY (customer_id, account_id)
) WITH (fillfactor = 70);
CREATE INDEX customer_account_account_idx ON customer_account (account_id);

-- Entra SKUs as seen at any customer
CREATE TABLE sku (
    sku_id           uuid PRIMARY KEY,
    part_number      text,
    name             text,
    consumption_seen boolean NOT NULL DEFAULT false
);
CREATE INDEX sku_part_number_idx ON sku (lower(part_number));

-- Which SKU an offer provisions, cached.  NCE: 'productId:skuId'; legacy: the
-- offer's GUID.  sku_id NULL: not found, the error says why.
CREATE TABLE offer (
    offer_key   text PRIMARY KEY,
    sku_id      uuid,
    minimum     int,
    maximum     int,
    is_trial    boolean,
    source      text CHECK (source IN ('catalogue', 'provisioning status', 'person')),
    error       text,
    attempts    int NOT NULL DEFAULT 0,
    read_at     timestamptz,
    limits_read_at timestamptz                 -- minimum and maximum were asked for
);

CREATE TABLE subscription (
    subscription_id     uuid PRIMARY KEY,
    account_id          int NOT NULL REFERENCES account,
    customer_id         uuid NOT NULL REFERENCES customer,
    offer_id            text,
    offer_key           text,
    offer_name          text,
    friendly_name       text,
    sku_id              uuid,               -- NULL = unmapped
    commerce            text NOT NULL CHECK (commerce IN ('nce', 'legacy', 'other')),
    quantity            int NOT NULL,
    status              text NOT NULL,
    term_duration       text,
    billing_cycle       text,
    auto_renew          boolean NOT NULL,
    is_trial            boolean NOT NULL,
    created_at          timestamptz,
    effective_start     timestamptz,
    commitment_end      timestamptz,        -- as Partner Center says it
    term_end            timestamptz,        -- first moment of the next term
    cancellation_allowed_until timestamptz,
    parent_subscription_id uuid,
    partner_id          text,
    promotion_id        text,
    order_id            text,
    custom_term_end     timestamptz,
    -- scheduled for the next term
    next_quantity       int,
    next_other_product  boolean NOT NULL DEFAULT false,
    cancel_at_term      boolean NOT NULL DEFAULT false,
    extended_term       boolean NOT NULL DEFAULT false,
    -- seats that can still be given back, batch by batch
    refund_quantity     int[] NOT NULL DEFAULT '{}',
    refund_until        timestamptz[] NOT NULL DEFAULT '{}',
    -- what of it was set by us; else a person did it and it stands
    our_suspension      boolean NOT NULL DEFAULT false,
    our_end             boolean NOT NULL DEFAULT false,
    our_next_quantity   int,
    auto_renew_before   boolean,            -- before our suspension or end
    changes             int NOT NULL DEFAULT 0,
    renewed_at          timestamptz,        -- last renewal we saw
    first_seen_at       timestamptz NOT NULL,
    changed_at          timestamptz NOT NULL,
    gone_at             timestamptz         -- no longer listed
) WITH (fillfactor = 85);
CREATE INDEX subscription_customer_idx ON subscription (customer_id, sku_id);
CREATE INDEX subscription_unmapped_idx ON subscription (offer_key) WHERE sku_id IS NULL AND gone_at IS NULL;

CREATE TABLE subscription_raw (
    subscription_id uuid PRIMARY KEY REFERENCES subscription ON DELETE CASCADE,
    body            jsonb NOT NULL,
    read_at         timestamptz NOT NULL    -- when this body was first read
);

CREATE TABLE subscribed_sku (
    customer_id       uuid NOT NULL REFERENCES customer,
    sku_id            uuid NOT NULL REFERENCES sku,
    part_number       text,
    target_type       text,
    license_group     text,
    active_units      int NOT NULL,
    warning_units     int NOT NULL,
    suspended_units   int NOT NULL,
    consumed_units    int NOT NULL,
    total_units       int,
    available_units   int,
    capability_status text,
    changed_at        timestamptz NOT NULL,
    gone_at           timestamptz,
    PRIMARY KEY (customer_id, sku_id)
) WITH (fillfactor = 80);

CREATE TABLE customer_user (
    customer_id    uuid NOT NULL REFERENCES customer,
    user_id        uuid NOT NULL,
    upn            text NOT NULL,
    display_name   text,
    usage_location text,
    licenses_read_at timestamptz,
    listed_at      timestamptz NOT NULL,
    changed_at     timestamptz NOT NULL,
    PRIMARY KEY (customer_id, user_id)
);
CREATE INDEX customer_user_upn_idx ON customer_user (customer_id, lower(upn));

CREATE TABLE user_license (
    customer_id uuid NOT NULL,
    user_id     uuid NOT NULL,
    sku_id      uuid NOT NULL,
    PRIMARY KEY (customer_id, sku_id, user_id),
    FOREIGN KEY (customer_id, user_id) REFERENCES customer_user ON DELETE CASCADE
);
CREATE INDEX user_license_user_idx ON user_license (customer_id, user_id);

-- Figures kept with the mirror, in the same transactions ----------------------

CREATE TABLE pool (
    customer_id      uuid NOT NULL REFERENCES customer,
    sku_id           uuid NOT NULL,
    owned_seats      int NOT NULL DEFAULT 0,
    active_units     int NOT NULL DEFAULT 0,
    consumed_units   int NOT NULL DEFAULT 0,   -- as last believed
    holders          int NOT NULL DEFAULT 0,
    holders_read_at  timestamptz,
    consumption_seen boolean NOT NULL DEFAULT false,
    -- numbers that are not believed until a second read agrees
    doubt            text,
    doubt_at         timestamptz,
    doubt_consumed   int,
    -- after a removal: active units that must show before the next one
    settle_active    int,
    settle_at        timestamptz,
    PRIMARY KEY (customer_id, sku_id)
) WITH (fillfactor = 80);

-- Seats (least(owned, active)) and consumed units over time; a row stands from
-- read_at until until.  What was unused all through the cool-down is its
-- fewest seats less its most consumed units.
CREATE TABLE pool_reading (
    customer_id uuid NOT NULL,
    sku_id      uuid NOT NULL,
    read_at     timestamptz NOT NULL,
    until       timestamptz,                   -- NULL = still stands
    seats       int NOT NULL,
    consumed    int NOT NULL,
    PRIMARY KEY (customer_id, sku_id, read_at),
    FOREIGN KEY (customer_id, sku_id) REFERENCES pool ON DELETE CASCADE
);

-- What is wanted ---------------------------------------------------------------

CREATE TABLE run (
    run_id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind             text NOT NULL CHECK (kind IN ('sync', 'adjust', 'nightly')),
    status           text NOT NULL DEFAULT 'queued'
                     CHECK (status IN ('queued', 'running', 'done', 'failed')),
    customer_id      uuid REFERENCES customer,     -- NULL = '*'
    dry_run          boolean NOT NULL DEFAULT false,
    night            date,
    made_up          boolean NOT NULL DEFAULT false,  -- started by the worker, late
    requested_by     name NOT NULL DEFAULT session_user,
    created_at       timestamptz NOT NULL,
    started_at       timestamptz,
    finished_at      timestamptz,
    customers        int NOT NULL DEFAULT 0,
    customers_failed int NOT NULL DEFAULT 0,
    requests         bigint NOT NULL DEFAULT 0,
    seats_removed    int NOT NULL DEFAULT 0,
    -- the customer lists of these accounts have been read for this run
    listed_accounts  int[] NOT NULL DEFAULT '{}',
    attempts         int NOT NULL DEFAULT 0,
    not_before       timestamptz NOT NULL DEFAULT '-infinity',
    error            text,
    CHECK ((kind = 'nightly') = (night IS NOT NULL))
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX run_night_idx ON run (night);
CREATE INDEX run_open_idx ON run (run_id) WHERE status IN ('queued', 'running');

-- What a run still has to do, and what of it failed for good.  A row goes when
-- its customer is done, so the table is empty between runs.
CREATE TABLE run_customer (
    run_id      bigint NOT NULL REFERENCES run ON DELETE CASCADE,
    account_id  int NOT NULL REFERENCES account,
    customer_id uuid NOT NULL REFERENCES customer,
    priority    int NOT NULL DEFAULT 0,        -- higher first
    failed      boolean NOT NULL DEFAULT false,
    attempts    int NOT NULL DEFAULT 0,
    not_before  timestamptz NOT NULL DEFAULT '-infinity',
    error       text,
    PRIMARY KEY (run_id, account_id, customer_id)
) WITH (fillfactor = 80);
CREATE INDEX run_customer_order_idx ON run_customer (priority DESC, run_id, customer_id) WHERE NOT failed;

CREATE TABLE license_request (
    request_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            text NOT NULL CHECK (kind IN ('assign', 'release')),
    account_id      int,
    customer_id     uuid NOT NULL,
    user_id         uuid,
    upn             text,
    sku_id          uuid NOT NULL,
    status          text NOT NULL DEFAULT 'queued'
                    CHECK (status IN ('queued', 'buying', 'provisioning', 'assigning', 'done', 'failed', 'cancelled')),
    seat_bought     boolean NOT NULL DEFAULT false,
    subscription_id uuid,
    reference       text,
    requested_by    name NOT NULL DEFAULT session_user,
    error           text,
    -- counts in the floor: true from the request until a read that started at
    -- least settle_time after the assignment was confirmed has been taken in
    waiting         boolean NOT NULL DEFAULT true,
    confirmed_at    timestamptz,
    -- how far the worker is
    looked_at       timestamptz,                -- user and licences were read
    buy_operation   bigint,                     -- buys (bought) its seat
    operation_id    bigint,                     -- assigns or removes
    seat_refused_at timestamptz,                -- Partner Center said that no seat is free
    seats_lost      int NOT NULL DEFAULT 0,     -- bought for it and taken by somebody else
    provisioning_at timestamptz,                -- its seat was bought
    active_level    int,                        -- active units that show the seat bought for it
    consumed_level  int,                        -- consumed units that show its assignment
    follows         bigint,                     -- ends with that one: same user and SKU
    adjustment_id   bigint,                     -- purchase that a person has to approve
    attempts        int NOT NULL DEFAULT 0,
    not_before      timestamptz NOT NULL DEFAULT '-infinity',
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz
) WITH (fillfactor = 70);
-- What counts or is open in a pool; and a user's open ones by either name.
-- The predicates of the latter leave the planner no choice: a plan made while
-- the table was empty must not use the wrong index ever after.
CREATE INDEX license_request_pool_idx ON license_request (customer_id, sku_id)
    WHERE waiting OR status IN ('queued', 'buying', 'provisioning', 'assigning');
CREATE INDEX license_request_user_idx ON license_request (user_id)
    WHERE finished_at IS NULL AND user_id IS NOT NULL;
CREATE INDEX license_request_upn_idx ON license_request (lower(upn))
    WHERE finished_at IS NULL AND upn IS NOT NULL;
-- For the worker
CREATE INDEX license_request_due_idx ON license_request (not_before)
    WHERE status IN ('queued', 'buying', 'provisioning', 'assigning');
CREATE INDEX license_request_operation_idx ON license_request (operation_id) WHERE operation_id IS NOT NULL;
CREATE INDEX license_request_buy_idx ON license_request (buy_operation) WHERE buy_operation IS NOT NULL;
CREATE INDEX license_request_follows_idx ON license_request (follows) WHERE follows IS NOT NULL;
CREATE INDEX license_request_released_idx ON license_request (customer_id, sku_id, confirmed_at)
    WHERE kind = 'release' AND status = 'done';

-- What is decided and done --------------------------------------------------------

CREATE TABLE adjustment (
    adjustment_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id          bigint,                     -- NULL: a purchase for requests
    account_id      int,
    customer_id     uuid NOT NULL,
    sku_id          uuid,
    subscription_id uuid,
    action          text NOT NULL CHECK (action IN ('reduce', 'suspend', 'cancel', 'reduce_at_renewal',
                                                    'end_at_term', 'raise', 'reactivate', 'none')),
    rule            int,
    from_quantity   int,
    to_quantity     int,
    seats           int NOT NULL DEFAULT 0,
    effective_on    date,
    reason          text NOT NULL,
    status          text NOT NULL CHECK (status IN ('planned', 'awaiting_approval', 'queued', 'done', 'failed',
                                                    'skipped', 'rejected', 'superseded')),
    merge           int,                        -- same number in a run = one merge
    approved        boolean NOT NULL DEFAULT false,
    decided_by      name,
    decided_at      timestamptz,
    decision_reason text,
    error           text,
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz
) WITH (fillfactor = 80);
CREATE INDEX adjustment_run_idx ON adjustment (run_id);
CREATE INDEX adjustment_customer_idx ON adjustment (customer_id, sku_id, created_at);
CREATE UNIQUE INDEX adjustment_open_approval_idx ON adjustment (subscription_id) WHERE status = 'awaiting_approval';
CREATE INDEX adjustment_approval_idx ON adjustment (customer_id) WHERE status = 'awaiting_approval';
CREATE INDEX adjustment_open_idx ON adjustment (adjustment_id) WHERE status IN ('queued', 'awaiting_approval');

CREATE TABLE operation (
    operation_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            text NOT NULL CHECK (kind IN ('set_quantity', 'suspend', 'reactivate', 'cancel', 'set_auto_renew',
                                                  'set_schedule', 'set_actions', 'create_cart', 'checkout',
                                                  'set_usage_location', 'assign', 'unassign')),
    purpose         text NOT NULL CHECK (purpose IN ('remove', 'merge', 'schedule', 'restore', 'buy_back', 'buy', 'assign',
                                                     'release', 'give_back')),
    account_id      int NOT NULL,
    customer_id     uuid NOT NULL,
    sku_id          uuid,
    subscription_id uuid,
    run_id          bigint,
    adjustment_id   bigint,
    request_id      bigint,
    after_operation bigint,                     -- starts only when that one is done
    wait_active     int,                        -- ... and active units show this many
    wanted          jsonb NOT NULL,             -- member(s) to set and their values
    status          text NOT NULL DEFAULT 'queued'
                    CHECK (status IN ('queued', 'sending', 'unknown', 'done', 'refused', 'failed', 'cancelled')),
    -- written before it is sent, unchanged while it is sending or unknown
    base            jsonb,                      -- what was read: quantity, status, units, ...
    body            jsonb,                      -- what is sent; dropped when it is over
    ms_request_id   uuid,
    correlation_id  uuid,
    sent_at         timestamptz,                -- first time it was sent
    attempts        int NOT NULL DEFAULT 0,
    not_before      timestamptz NOT NULL DEFAULT '-infinity',
    http_status     int,
    error_code      text,
    error           text,
    seats           int NOT NULL DEFAULT 0,     -- by which the billed quantity changed: + raised, - removed
    verify_at       timestamptz,                -- look again for seats taken meanwhile
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);
CREATE INDEX operation_open_idx ON operation (operation_id) WHERE status IN ('queued', 'sending', 'unknown');
CREATE INDEX operation_verify_idx ON operation (verify_at) WHERE verify_at IS NOT NULL;
CREATE INDEX operation_customer_idx ON operation (customer_id, sku_id);
CREATE INDEX operation_after_idx ON operation (after_operation) WHERE after_operation IS NOT NULL;
CREATE INDEX operation_user_idx ON operation (customer_id, (wanted ->> 'userId'))
    WHERE status IN ('queued', 'sending', 'unknown') AND (wanted ->> 'userId') IS NOT NULL;
CREATE UNIQUE INDEX operation_one_in_flight_idx ON operation (subscription_id)
    WHERE status IN ('sending', 'unknown') AND subscription_id IS NOT NULL;

-- Append-only: every step and who wanted it
CREATE TABLE history (
    history_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at              timestamptz NOT NULL,
    event           text NOT NULL,
    actor           name NOT NULL DEFAULT session_user,
    account_id      int,
    customer_id     uuid,
    sku_id          uuid,
    subscription_id uuid,
    run_id          bigint,
    adjustment_id   bigint,
    operation_id    bigint,
    request_id      bigint,
    ms_request_id   uuid,
    before          jsonb,
    after           jsonb,
    answer          jsonb,
    reason          text
);
CREATE INDEX history_customer_idx ON history (customer_id, at);
CREATE INDEX history_at_idx ON history USING brin (at);

-- One row at most: what the database as a whole was told.  The install script
-- writes none: a restored dump would collide with it.
CREATE TABLE installation (
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    schedule        text,                       -- cron line, NULL = not scheduled
    scheduled_at    timestamptz,
    scheduled_by    name
);

-- SKUs whose seats are never assigned to users, by the part numbers of Microsoft's
-- licensing service plan reference, in capitals (they are compared so).  Only what
-- is surely so: of what is doubtful, the guards of rule 6 hold removals back anyway.
INSERT INTO never_assigned_sku_shipped (part_number, reason)
SELECT pg_catalog.upper(p), s.reason FROM (VALUES
    ('a room or shared device signs in with it, not a user', ARRAY[
        'MEETING_ROOM', 'MEETING_ROOM_GOV', 'MEETING_ROOM_NOAUDIOCONF', 'MEETING_ROOM_GOV_NOAUDIOCONF',
        'MTR_PREM', 'Microsoft_Teams_Rooms_Basic', 'Microsoft_Teams_Rooms_Basic_FAC',
        'Microsoft_Teams_Rooms_Basic_without_Audio_Conferencing', 'Microsoft_Teams_Rooms_Pro',
        'Microsoft_Teams_Rooms_Pro_FAC', 'Microsoft_Teams_Rooms_Pro_GCC',
        'Microsoft_Teams_Rooms_Pro_without_Audio_Conferencing', 'MCOCAP', 'MCOCAP_FACULTY', 'MCOCAP_GOV']),
    ('licensed per device, not assigned to users', ARRAY[
        'INTUNE_A_D', 'INTUNE_A_D_GOV', 'OFFICE_PROPLUS_DEVICE1', 'Dynamics_365_for_Operations_Devices',
        'Windows_365_S_2vCPU_4GB_64GB', 'Windows_365_S_2vCPU_4GB_128GB', 'Windows_365_S_2vCPU_4GB_256GB',
        'Windows_365_S_2vCPU_8GB_128GB', 'Windows_365_S_2vCPU_8GB_256GB', 'Windows_365_S_4vCPU_16GB_128GB',
        'Windows_365_S_4vCPU_16GB_256GB', 'Windows_365_S_4vCPU_16GB_512GB', 'Windows_365_S_8vCPU_32GB_128GB',
        'Windows_365_S_8vCPU_32GB_256GB', 'Windows_365_S_8vCPU_32GB_512GB']),
    ('licensed per server', ARRAY[
        'MDATP_Server']),
    ('a call queue, auto attendant or the tenant uses it, not a user', ARRAY[
        'PHONESYSTEM_VIRTUALUSER', 'PHONESYSTEM_VIRTUALUSER_FACULTY', 'PHONESYSTEM_VIRTUALUSER_GOV',
        'PHONESYSTEM_VIRTUALUSER_USGOV_GCCHIGH', 'MCOPSTNC', 'MCOPSTNPP']),
    ('storage of the whole tenant', ARRAY[
        'SHAREPOINTSTORAGE', 'SHAREPOINTSTORAGE_GOV', 'STREAM_STORAGE', 'CRMSTORAGE', 'CRMSTORAGE_GCC',
        'CDS_DB_CAPACITY', 'CDS_DB_CAPACITY_GOV', 'CDS_FILE_CAPACITY', 'CDS_LOG_CAPACITY',
        'DYN365_BUSCENTRAL_DB_CAPACITY']),
    ('capacity of the whole tenant', ARRAY[
        'CDSAICAPACITY', 'PBI_PREMIUM_EM1_ADDON', 'PBI_PREMIUM_EM2_ADDON', 'PBI_PREMIUM_P1_ADDON',
        'PBI_PREMIUM_P1_ADDON_GCC', 'POWERAPPS_PORTALS_LOGIN_T2', 'POWERAPPS_PORTALS_LOGIN_T2_GCC',
        'POWERAPPS_PORTALS_LOGIN_T3', 'POWERAPPS_PORTALS_PAGEVIEW', 'POWERAPPS_PORTALS_PAGEVIEW_GCC',
        'VIRTUAL_AGENT_BASE', 'VIRTUAL_AGENT_BASE_GCC', 'DYN365_CUSTOMER_VOICE_ADDON', 'Forms_Pro_AddOn',
        'DYN365_MARKETING_CONTACT_ADDON_T3', 'DYN365_MARKETING_CONTACT_ADDON_T5',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_1_V2', 'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_1_EDU_V2',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_1_V2_GCC', 'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_1_V2_USGOV_DOD',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_1_V2_USGOV_GCCHIGH', 'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_10_V2',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_10_EDU_V2', 'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_10_V2_GCC',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_10_V2_USGOV_DOD',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_10_V2_USGOV_GCCHIGH', 'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_50',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_50_V2', 'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_50_EDU_V2',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_100_V2', 'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_100_EDU_V2',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_100_V2_GCC', 'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_100_V2_USGOV_DOD',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_100_V2_USGOV_GCCHIGH',
        'Power_Pages_authenticated_users_T1_100_users/per_site/month_capacity_pack',
        'Power_Pages_authenticated_users_T1_100_users/per_site/month_capacity_pack_GCC',
        'Power_Pages_authenticated_users_T1_100_users/per_site/month_capacity_pack_USGOV_DOD',
        'Power_Pages_authenticated_users_T1_100_users/per_site/month_capacity_pack_USGOV_GCCHIGH',
        'Power_Pages_authenticated_users_T2_min_100_units_100_users/per_site/month_capacity_pack',
        'Power_Pages_authenticated_users_T2_min_100_units_100_users/per_site/month_capacity_pack_GCC',
        'Power_Pages_authenticated_users_T2_min_100_units_100_users/per_site/month_capacity_pack_USGOV_DOD',
        'Power_Pages_authenticated_users_T2_min_100_units_100_users/per_site/month_capacity_pack_USGOV_GCCHIGH',
        'Power_Pages_authenticated_users_T3_min_1,000_units_100_users/per_site/month_capacity_pack',
        'Power_Pages_authenticated_users_T3_min_1,000_units_100_users/per_site/month_capacity_pack_GCC',
        'Power_Pages_authenticated_users_T3_min_1,000_units_100_users/per_site/month_capacity_pack_USGOV_DOD',
        'Power_Pages_authenticated_users_T3_min_1,000_units_100_users/per_site/month_capacity_pack_USGOV_GCCHIGH']),
    ('allocated to environments, not assigned to users', ARRAY[
        'POWERAPPS_PER_APP', 'POWERAPPS_PER_APP_NEW', 'POWERAPPS_PER_APP_GCC', 'POWERAPPS_PER_APP_GCC_NEW',
        'POWERAPPS_PER_APP_BD_ONLY_GCC', 'Power_Apps_per_app_plan_(1_app_or_portal)_BD_Only_GCC',
        'FLOW_BUSINESS_PROCESS', 'FLOW_BUSINESS_PROCESS_GCC', 'Power_Automate_per_process',
        'POWERAUTOMATE_UNATTENDED_RPA', 'POWERAUTOMATE_UNATTENDED_RPA_GCC']),
    ('counts environments, instances or portals, not users', ARRAY[
        'CRMINSTANCE', 'CRMINSTANCE_GCC', 'CRMTESTINSTANCE', 'CRMTESTINSTANCE_GCC', 'CRMTESTINSTANCE_NOPREREQ',
        'CRM_ONLINE_PORTAL', 'CRM_ONLINE_PORTAL_GCC', 'CRM_ONLINE_PORTAL_NOPREREQ',
        'DYN365_BUSCENTRAL_ADD_ENV_ADDON', 'DYN365_MARKETING_APPLICATION_ADDON',
        'DYN365_MARKETING_SANDBOX_APPLICATION_ADDON', 'Dynamics_365_for_Operations_Sandbox_Tier2_SKU',
        'Dynamics_365_for_Operations_Sandbox_Tier4_SKU']),
    ('counts things of the tenant, not users', ARRAY[
        'DYN365_IOT_INTELLIGENCE_ADDL_MACHINES', 'DYN365_IOT_INTELLIGENCE_SCENARIO', 'DYN365_ASSETMANAGEMENT',
        'CRM_AUTO_ROUTING_ADDON', 'CMPA_addon', 'CMPA_addon_GCC']),
    ('switches a feature of the whole tenant on', ARRAY[
        'WINDOWS_STORE', 'WSFB_EDU_FACULTY', 'CRM_HYBRIDCONNECTOR'])
) AS s (reason, part_numbers), pg_catalog.unnest(s.part_numbers) AS p;

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
                              OUT started_at timestamptz, OUT last_turn_at timestamptz)
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

CREATE TRIGGER forget AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON customer FOR EACH STATEMENT EXECUTE FUNCTION _forget();
CREATE TRIGGER forget AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON relationship FOR EACH STATEMENT EXECUTE FUNCTION _forget();
CREATE TRIGGER forget AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON license_rule FOR EACH STATEMENT EXECUTE FUNCTION _forget();
CREATE TRIGGER forget AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON sku FOR EACH STATEMENT EXECUTE FUNCTION _forget();
CREATE TRIGGER forget AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON never_assigned_sku FOR EACH STATEMENT EXECUTE FUNCTION _forget();
CREATE TRIGGER forget AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON never_assigned_sku_shipped FOR EACH STATEMENT EXECUTE FUNCTION _forget();
-- The worker writes other columns of these two often
CREATE TRIGGER forget AFTER INSERT OR UPDATE OF status OR DELETE ON account FOR EACH STATEMENT EXECUTE FUNCTION _forget();
CREATE TRIGGER forget AFTER INSERT OR UPDATE OF gone_at OR DELETE ON customer_account FOR EACH STATEMENT EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_all AFTER TRUNCATE ON account FOR EACH STATEMENT EXECUTE FUNCTION _forget();
CREATE TRIGGER forget_all AFTER TRUNCATE ON customer_account FOR EACH STATEMENT EXECUTE FUNCTION _forget();
-- Also where session_replication_role says "replica"
ALTER TABLE account ENABLE ALWAYS TRIGGER forget;
ALTER TABLE customer_account ENABLE ALWAYS TRIGGER forget;
ALTER TABLE customer ENABLE ALWAYS TRIGGER forget;
ALTER TABLE relationship ENABLE ALWAYS TRIGGER forget;
ALTER TABLE license_rule ENABLE ALWAYS TRIGGER forget;
ALTER TABLE sku ENABLE ALWAYS TRIGGER forget;
ALTER TABLE never_assigned_sku ENABLE ALWAYS TRIGGER forget;
ALTER TABLE never_assigned_sku_shipped ENABLE ALWAYS TRIGGER forget;

CREATE FUNCTION _refuse() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the history is append-only'
        USING ERRCODE = 'insufficient_privilege', HINT = 'What happened stays on record.';
END $$;
COMMENT ON FUNCTION _refuse() IS 'internal: keeps the history as it is';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON history
    FOR EACH STATEMENT EXECUTE FUNCTION _refuse();
-- Not even where session_replication_role says "replica"
ALTER TABLE history ENABLE ALWAYS TRIGGER append_only;

CREATE FUNCTION _record(event text, customer_id uuid, adjustment_id bigint, run_id bigint, before jsonb, after jsonb,
                        reason text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO spinpanel.history (at, event, customer_id, adjustment_id, run_id, before, after, reason)
    VALUES (spinpanel._now(), $1, $2, $3, $4, $5, $6, $7)
$$;
COMMENT ON FUNCTION _record(text, uuid, bigint, bigint, jsonb, jsonb, text) IS 'internal: one row of history';

-- Accounts ------------------------------------------------------------------------

CREATE FUNCTION connect_account(name text, tenant_id uuid, client_id text, credential_file text,
                                api_url text DEFAULT 'https://api.partnercenter.microsoft.com',
                                login_url text DEFAULT 'https://login.microsoftonline.com',
                                requests_per_minute int DEFAULT 500, max_concurrency int DEFAULT 16)
RETURNS int LANGUAGE C VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_connect_account';
COMMENT ON FUNCTION connect_account(text, uuid, text, text, text, text, int, int) IS
'connects a partner tenant to Partner Center, or changes the account of that name; returns its id.
credential_file: a JSON file on the server, outside the data directory, {"client_secret": ..., "refresh_token": ...};
without refresh_token access is app-only, and Microsoft tells nothing about assigned licences. URLs are without /v1
and without the tenant. requests_per_minute: Microsoft documents 500. Errors: 22004, 22023 (an address or value that
cannot be used), 42501 (needs superuser or pg_read_server_files), 58P01 and others (the file).
Microsoft: partner-center/developer/enable-secure-app-model';

CREATE FUNCTION disconnect_account(name text) RETURNS int
LANGUAGE C VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_disconnect_account';
COMMENT ON FUNCTION disconnect_account(text) IS
'stops an account and erases its token; its subscriptions leave the pools. Returns its id; twice is harmless, and connect_account()
with the same name takes it up again. Errors: 22004, P0002 (no such account), 25006 (standby)';

-- Settings of customers ----------------------------------------------------------------

CREATE FUNCTION set_relationship(
    customer                text,
    auto_license_adjustment boolean DEFAULT NULL,
    auto_increment          boolean DEFAULT NULL,
    partner_center_sync     boolean DEFAULT NULL,
    purchases               boolean DEFAULT NULL,
    spare_seats             int DEFAULT NULL,
    cooldown                interval DEFAULT NULL,
    renewal_lead            interval DEFAULT NULL,
    removal_limit_percent   int DEFAULT NULL,
    removal_limit_seats     int DEFAULT NULL,
    purchase_limit_percent  int DEFAULT NULL,
    purchase_limit_seats    int DEFAULT NULL,
    usage_location          text DEFAULT NULL,
    reset                   text[] DEFAULT NULL)
RETURNS SETOF relationship
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET intervalstyle = postgres
SET plan_cache_mode = force_custom_plan     -- one customer or all: never one plan for both
AS $$
#variable_conflict use_column
DECLARE
    settable constant text[] := ARRAY['auto_license_adjustment', 'auto_increment', 'partner_center_sync', 'purchases',
        'spare_seats', 'cooldown', 'renewal_lead', 'removal_limit_percent', 'removal_limit_seats',
        'purchase_limit_percent', 'purchase_limit_seats', 'usage_location'];
    only_id  uuid;
    wanted   jsonb;
    clashing text;
BEGIN
    PERFORM spinpanel._require_primary();
    only_id := spinpanel._customer(set_relationship.customer, true);

    PERFORM spinpanel._require_range(set_relationship.spare_seats, 0, 10000000, 'spare_seats');
    PERFORM spinpanel._require_range(set_relationship.removal_limit_percent, 0, 100, 'removal_limit_percent');
    PERFORM spinpanel._require_range(set_relationship.removal_limit_seats, 0, 10000000, 'removal_limit_seats');
    PERFORM spinpanel._require_range(set_relationship.purchase_limit_percent, 0, 1000000, 'purchase_limit_percent');
    PERFORM spinpanel._require_range(set_relationship.purchase_limit_seats, 0, 10000000, 'purchase_limit_seats');
    IF set_relationship.cooldown < '0'::interval OR set_relationship.cooldown > '90 days'::interval THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'parameter "cooldown" must be between 0 and 90 days';
    END IF;
    IF set_relationship.renewal_lead < '26 hours'::interval OR set_relationship.renewal_lead > '400 days'::interval THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = 'parameter "renewal_lead" must be between 26 hours and 400 days',
            DETAIL = 'A run comes every 24 hours; with less lead a renewal could pass between two of them.';
    END IF;
    IF set_relationship.usage_location !~ '^[A-Za-z]{2}$' THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = 'parameter "usage_location" must be a country code of two letters',
            HINT = 'To have none again: reset => ARRAY[''usage_location''].';
    END IF;

    wanted := jsonb_strip_nulls(jsonb_build_object(
        'auto_license_adjustment', set_relationship.auto_license_adjustment,
        'auto_increment', set_relationship.auto_increment,
        'partner_center_sync', set_relationship.partner_center_sync,
        'purchases', set_relationship.purchases,
        'spare_seats', set_relationship.spare_seats,
        'cooldown', set_relationship.cooldown,
        'renewal_lead', set_relationship.renewal_lead,
        'removal_limit_percent', set_relationship.removal_limit_percent,
        'removal_limit_seats', set_relationship.removal_limit_seats,
        'purchase_limit_percent', set_relationship.purchase_limit_percent,
        'purchase_limit_seats', set_relationship.purchase_limit_seats,
        'usage_location', upper(set_relationship.usage_location)));
    wanted := wanted || spinpanel._defaults('spinpanel.relationship', settable, wanted, set_relationship.reset);

    INSERT INTO spinpanel.relationship (customer_id)
    SELECT c.customer_id FROM spinpanel.customer c
    WHERE (only_id IS NULL OR c.customer_id = only_id)
      AND NOT EXISTS (SELECT FROM spinpanel.relationship r WHERE r.customer_id = c.customer_id)
    ORDER BY c.customer_id
    ON CONFLICT DO NOTHING;

    -- In one order, so that two callers cannot block each other.
    PERFORM FROM spinpanel.relationship r WHERE only_id IS NULL OR r.customer_id = only_id
    ORDER BY r.customer_id FOR NO KEY UPDATE;

    SELECT string_agg(q.name, ', ') INTO clashing
    FROM (SELECT c.name
          FROM spinpanel.relationship r
          JOIN spinpanel.customer c ON c.customer_id = r.customer_id
          CROSS JOIN LATERAL jsonb_populate_record(r, wanted) n
          WHERE (only_id IS NULL OR r.customer_id = only_id) AND n.auto_license_adjustment AND n.auto_increment
          ORDER BY c.name LIMIT 10) q;
    IF clashing IS NOT NULL OR (set_relationship.auto_license_adjustment AND set_relationship.auto_increment) THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = 'auto_license_adjustment and auto_increment exclude each other',
            DETAIL = 'The first empties the stock of unused seats, the second keeps it.'
                     || coalesce(' Both would be on at: ' || clashing || '.', ''),
            HINT = 'To adjust and yet keep a stock, leave auto_increment off and set spare_seats to the number of seats to keep.';
    END IF;

    WITH change AS (
        SELECT r AS old, n AS new
        FROM spinpanel.relationship r CROSS JOIN LATERAL jsonb_populate_record(r, wanted) n
        WHERE (only_id IS NULL OR r.customer_id = only_id) AND n IS DISTINCT FROM r
    ), changed AS (
        UPDATE spinpanel.relationship t SET
            auto_license_adjustment = (change.new).auto_license_adjustment,
            auto_increment = (change.new).auto_increment,
            partner_center_sync = (change.new).partner_center_sync,
            purchases = (change.new).purchases,
            spare_seats = (change.new).spare_seats,
            cooldown = (change.new).cooldown,
            renewal_lead = (change.new).renewal_lead,
            removal_limit_percent = (change.new).removal_limit_percent,
            removal_limit_seats = (change.new).removal_limit_seats,
            purchase_limit_percent = (change.new).purchase_limit_percent,
            purchase_limit_seats = (change.new).purchase_limit_seats,
            usage_location = (change.new).usage_location,
            changed_at = spinpanel._now(),
            changed_by = session_user
        FROM change WHERE t.customer_id = (change.new).customer_id
        RETURNING t.customer_id, to_jsonb(change.old) AS before
    )
    INSERT INTO spinpanel.history (at, event, customer_id, before, after)
    SELECT spinpanel._now(), 'relationship set', changed.customer_id,
           (SELECT jsonb_object_agg(k, changed.before -> k) FROM jsonb_object_keys(wanted) k), wanted
    FROM changed;

    RETURN QUERY SELECT r.* FROM spinpanel.relationship r
    WHERE only_id IS NULL OR r.customer_id = only_id ORDER BY r.customer_id;
END
$$;
COMMENT ON FUNCTION set_relationship(text, boolean, boolean, boolean, boolean, int, interval, interval, int, int, int, int, text, text[]) IS
'Changes a customer''s settings (''*'': of all customers known now) and returns the rows. NULL leaves a setting as it is.
auto_license_adjustment: runs give unused seats back. auto_increment: each assignment buys a seat. They exclude each other; spare_seats keeps a stock under adjustment.
partner_center_sync: runs read the customer. purchases: seats may be bought. spare_seats: unused seats to keep in each pool.
cooldown (0 to 90 days): how long a freed or added seat stays. renewal_lead (26 hours to 400 days): how long before a renewal it is prepared.
removal_limit_*, purchase_limit_*: more than the larger of both within 24 hours waits for approve(). usage_location: country code given to users who have none before a licence is assigned.
reset: names of settings to put back to their default.
Errors: 22023 (also where both switches would be on), 22004, P0002 unknown customer, 25006 on a standby.';

CREATE FUNCTION set_license_rule(
    customer      text,
    sku           text,
    excluded      boolean DEFAULT NULL,
    spare_seats   int DEFAULT NULL,
    min_seats     int DEFAULT NULL,
    max_seats     int DEFAULT NULL,
    default_offer text DEFAULT NULL,
    term_duration text DEFAULT NULL,
    billing_cycle text DEFAULT NULL,
    reset         text[] DEFAULT NULL)
RETURNS license_rule
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    nobody constant uuid := '00000000-0000-0000-0000-000000000000';     -- as in the index
    settable constant text[] := ARRAY['excluded', 'spare_seats', 'min_seats', 'max_seats', 'default_offer',
                                      'term_duration', 'billing_cycle'];
    cycles   constant text[] := ARRAY['monthly', 'annual', 'triennial', 'biennial', 'one_time', 'none'];
    for_customer uuid;
    for_sku      uuid;
    provides     uuid;
    wanted       jsonb;
    old          spinpanel.license_rule;
    new          spinpanel.license_rule;
BEGIN
    PERFORM spinpanel._require_primary();
    for_customer := spinpanel._customer(set_license_rule.customer, true);
    for_sku := spinpanel._sku(for_customer, set_license_rule.sku, true, true);

    PERFORM spinpanel._require_range(set_license_rule.spare_seats, 0, 10000000, 'spare_seats');
    PERFORM spinpanel._require_range(set_license_rule.min_seats, 0, 10000000, 'min_seats');
    PERFORM spinpanel._require_range(set_license_rule.max_seats, 0, 10000000, 'max_seats');
    IF set_license_rule.default_offer !~ '^[A-Za-z0-9]+:[A-Za-z0-9]+(:[A-Za-z0-9]+)?$' THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = format('default_offer "%s" is not productId:skuId[:availabilityId]', set_license_rule.default_offer),
            HINT = 'For instance CFQ7TTC0LF8R:0001, as in column offer_key of spinpanel.subscription.';
    END IF;
    IF set_license_rule.default_offer IS NOT NULL AND for_sku IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = 'a default_offer needs one SKU: ''*'' is not possible with it';
    END IF;
    SELECT o.sku_id INTO provides FROM spinpanel.offer o
    WHERE lower(o.offer_key) = lower(split_part(set_license_rule.default_offer, ':', 1) || ':' || split_part(set_license_rule.default_offer, ':', 2));
    IF provides <> for_sku THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = format('default_offer "%s" provides another SKU', set_license_rule.default_offer),
            DETAIL = format('It provides %s.', coalesce((SELECT k.part_number FROM spinpanel.sku k WHERE k.sku_id = provides), provides::text));
    END IF;
    IF set_license_rule.term_duration !~* '^P[0-9]+[DMY]$' THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = format('term_duration "%s" is not a term', set_license_rule.term_duration),
            HINT = 'For instance P1M, P1Y or P3Y.';
    END IF;
    IF NOT lower(set_license_rule.billing_cycle) = ANY (cycles) THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = format('billing_cycle "%s" is not known', set_license_rule.billing_cycle),
            HINT = 'One of ' || array_to_string(cycles, ', ') || '.';
    END IF;

    wanted := jsonb_strip_nulls(jsonb_build_object(
        'excluded', set_license_rule.excluded,
        'spare_seats', set_license_rule.spare_seats,
        'min_seats', set_license_rule.min_seats,
        'max_seats', set_license_rule.max_seats,
        'default_offer', set_license_rule.default_offer,
        'term_duration', upper(set_license_rule.term_duration),
        'billing_cycle', lower(set_license_rule.billing_cycle)));
    wanted := wanted || spinpanel._defaults('spinpanel.license_rule', settable, wanted, set_license_rule.reset);

    INSERT INTO spinpanel.license_rule (customer_id, sku_id) VALUES (for_customer, for_sku) ON CONFLICT DO NOTHING;
    SELECT r.* INTO old FROM spinpanel.license_rule r
    WHERE coalesce(r.customer_id, nobody) = coalesce(for_customer, nobody) AND coalesce(r.sku_id, nobody) = coalesce(for_sku, nobody)
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN           -- only at REPEATABLE READ and above
        RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'could not serialize access due to concurrent update';
    END IF;
    new := jsonb_populate_record(old, wanted);
    IF new.min_seats > new.max_seats THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = format('min_seats (%s) must not be above max_seats (%s)', new.min_seats, new.max_seats);
    END IF;
    IF new IS DISTINCT FROM old OR old.changed_at IS NULL THEN
        UPDATE spinpanel.license_rule r SET
            excluded = new.excluded, spare_seats = new.spare_seats, min_seats = new.min_seats,
            max_seats = new.max_seats, default_offer = new.default_offer, term_duration = new.term_duration,
            billing_cycle = new.billing_cycle, changed_at = spinpanel._now(), changed_by = session_user
        WHERE r.license_rule_id = old.license_rule_id
        RETURNING r.* INTO new;
        INSERT INTO spinpanel.history (at, event, customer_id, sku_id, before, after)
        VALUES (spinpanel._now(), 'license rule set', for_customer, for_sku,
                (SELECT jsonb_object_agg(k, to_jsonb(old) -> k) FROM jsonb_object_keys(wanted) k), wanted);
    END IF;
    RETURN new;
END
$$;
COMMENT ON FUNCTION set_license_rule(text, text, boolean, int, int, int, text, text, text, text[]) IS
'Sets a rule for a customer''s SKU (''*'' for either: all) and returns the row. NULL leaves a column as it is; reset names columns to empty again.
Per column the first rule with a value counts: (customer, sku), (customer, ''*''), (''*'', sku), (''*'', ''*''), then the relationship.
sku: GUID or part number; a GUID may be one that no customer has yet.
excluded: seats are never given back. spare_seats: unused seats to keep. min_seats: seats a subscription pool is never lowered below. max_seats: owned seats and seats being bought never exceed it.
default_offer: productId:skuId[:availabilityId] to order where no subscription can be raised. term_duration (P1M, P1Y, P3Y) and billing_cycle (monthly, annual, triennial): of subscriptions to buy in.
Errors: 22023, 22004, P0002 unknown customer or SKU, 25006 on a standby.';

CREATE FUNCTION drop_license_rule(customer text, sku text)
RETURNS license_rule
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    nobody constant uuid := '00000000-0000-0000-0000-000000000000';     -- as in the index
    for_customer uuid;
    for_sku      uuid;
    old          spinpanel.license_rule;
BEGIN
    PERFORM spinpanel._require_primary();
    for_customer := spinpanel._customer(drop_license_rule.customer, true);
    for_sku := spinpanel._sku(for_customer, drop_license_rule.sku, true, true);
    DELETE FROM spinpanel.license_rule r
    WHERE coalesce(r.customer_id, nobody) = coalesce(for_customer, nobody) AND coalesce(r.sku_id, nobody) = coalesce(for_sku, nobody)
    RETURNING r.* INTO old;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002',
            MESSAGE = format('there is no rule for customer "%s" and SKU "%s"', drop_license_rule.customer, drop_license_rule.sku),
            HINT = 'SELECT * FROM spinpanel.license_rule lists those that are.';
    END IF;
    INSERT INTO spinpanel.history (at, event, customer_id, sku_id, before)
    VALUES (spinpanel._now(), 'license rule dropped', for_customer, for_sku, to_jsonb(old));
    RETURN old;
END
$$;
COMMENT ON FUNCTION drop_license_rule(text, text) IS
'Drops the rule of exactly this customer and SKU (''*'' names the rule for all) and returns the row that was.
Errors: P0002 no such rule, customer or SKU; 22004; 25006 on a standby.';

-- Runs --------------------------------------------------------------------------------

CREATE FUNCTION _start_run(kind text, customer_id uuid, dry_run boolean) RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH started AS (
        INSERT INTO spinpanel.run (kind, customer_id, dry_run, created_at)
        VALUES ($1, $2, $3, spinpanel._now()) RETURNING run_id
    )
    INSERT INTO spinpanel.history (at, event, customer_id, run_id, reason)
    SELECT spinpanel._now(), 'run queued', $2, started.run_id,
           $1 || CASE WHEN $3 THEN ', dry run' ELSE '' END FROM started
    RETURNING run_id
$$;
COMMENT ON FUNCTION _start_run(text, uuid, boolean) IS 'internal: queues a run; its id';

CREATE FUNCTION sync(customer text DEFAULT '*') RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_worker();
    RETURN spinpanel._start_run('sync', spinpanel._customer(sync.customer, true), false);
END
$$;
COMMENT ON FUNCTION sync(text) IS
'Asks the worker to read Partner Center, and returns the run''s id; nothing is changed there. customer: ''*'' for customers and, for each with partner_center_sync, its subscriptions, subscribed SKUs and users; a named one''s users'' licences, too.
The run starts when the transaction commits; see wait_for_run.
Errors: P0002 or 22023 for the customer, 22004; 55000 where the library is not preloaded; 25006 on a standby.';

CREATE FUNCTION adjust(customer text DEFAULT '*', dry_run boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_worker();
    PERFORM spinpanel._require_value(adjust.dry_run IS NOT NULL, 'dry_run');
    RETURN spinpanel._start_run('adjust', spinpanel._customer(adjust.customer, true), adjust.dry_run);
END
$$;
COMMENT ON FUNCTION adjust(text, boolean) IS
'Asks the worker for an adjustment now, and returns the run''s id: customers with partner_center_sync (or the named one) are read, and where auto_license_adjustment is on, unused seats are given back as the rules and limits allow. dry_run: decisions are only written down, as adjustments of status planned.
The run starts when the transaction commits; see wait_for_run.
Errors: P0002 or 22023 for the customer, 22004; 55000 where the library is not preloaded; 25006 on a standby.';

CREATE FUNCTION nightly() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    moment timestamptz := spinpanel._now();
    today  date := (moment AT TIME ZONE 'UTC')::date;
    id     bigint;
    anew   boolean;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_worker();

    -- The usual second call of a day takes no lock.
    SELECT r.run_id INTO id FROM spinpanel.run r WHERE r.night = today AND r.status <> 'failed';
    IF FOUND THEN
        RETURN id;
    END IF;

    INSERT INTO spinpanel.run AS r (kind, night, created_at) VALUES ('nightly', today, moment)
    ON CONFLICT (night) DO UPDATE SET
        status = 'queued', started_at = NULL, finished_at = NULL, customers = 0, customers_failed = 0,
        listed_accounts = '{}', attempts = 0, not_before = '-infinity', error = NULL
    WHERE r.status = 'failed'
    RETURNING r.run_id, r.created_at = moment INTO id, anew;
    IF NOT FOUND THEN           -- somebody else has just done it
        SELECT r.run_id INTO STRICT id FROM spinpanel.run r WHERE r.night = today;
        RETURN id;
    END IF;
    INSERT INTO spinpanel.history (at, event, run_id, reason)
    VALUES (moment, CASE WHEN anew THEN 'run queued' ELSE 'run queued again' END, id, 'nightly, ' || today);
    RETURN id;
END
$$;
COMMENT ON FUNCTION nightly() IS
'Run id of today''s (UTC) adjustment of all customers; there is one per day, however often and by however many it is called. A failed one is queued again. This is what pg_cron calls, see schedule().
Errors: 55000 where the library is not preloaded; 25006 on a standby.';

CREATE FUNCTION wait_for_run(run_id bigint, timeout interval DEFAULT '5 min') RETURNS run
LANGUAGE C VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_wait_for_run';
COMMENT ON FUNCTION wait_for_run(bigint, interval) IS
'Waits until a run is done or failed, and returns its row; when the time is over, the row as it stands.
timeout: real time, not negative. Call it in a statement of its own after the one that started the run has committed.
Errors: 55000 for a run of the current transaction, in a transaction above READ COMMITTED, or where the library is not preloaded; P0002 unknown run; 22023, 22004.';

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

-- Decisions of people -------------------------------------------------------------------

CREATE FUNCTION _decide(adjustment_id bigint, approved boolean, reason text) RETURNS adjustment
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    decided spinpanel.adjustment;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_value(_decide.adjustment_id IS NOT NULL, 'adjustment_id');
    SELECT a.* INTO decided FROM spinpanel.adjustment a WHERE a.adjustment_id = _decide.adjustment_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002',
            MESSAGE = format('adjustment %s does not exist', _decide.adjustment_id),
            HINT = 'SELECT * FROM spinpanel.adjustment WHERE status = ''awaiting_approval'' lists those that wait.';
    END IF;
    IF decided.status <> 'awaiting_approval' THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format('adjustment %s does not await approval', _decide.adjustment_id),
            DETAIL = format('It is %s.', decided.status),
            HINT = CASE decided.status
                       WHEN 'planned' THEN 'It was planned by a dry run; SELECT spinpanel.adjust() plans in earnest.'
                       WHEN 'superseded' THEN 'A newer plan has replaced it; approve that one.'
                       ELSE 'SELECT * FROM spinpanel.adjustment WHERE status = ''awaiting_approval'' lists those that wait.'
                   END;
    END IF;

    -- A merge is one thing: who decides about a step of it decides about all of it.
    WITH changed AS (
        UPDATE spinpanel.adjustment a SET
            status = CASE WHEN _decide.approved THEN 'queued' ELSE 'rejected' END,
            approved = _decide.approved, decided_by = session_user, decided_at = spinpanel._now(),
            decision_reason = _decide.reason,
            finished_at = CASE WHEN NOT _decide.approved THEN spinpanel._now() END
        WHERE a.status = 'awaiting_approval'
          AND (a.adjustment_id = decided.adjustment_id
               OR a.run_id = decided.run_id AND a.customer_id = decided.customer_id AND a.merge = decided.merge)
        RETURNING a.*
    )
    INSERT INTO spinpanel.history (at, event, account_id, customer_id, sku_id, subscription_id, run_id, adjustment_id,
                                   before, after, reason)
    SELECT spinpanel._now(), CASE WHEN _decide.approved THEN 'adjustment approved' ELSE 'adjustment rejected' END,
           c.account_id, c.customer_id, c.sku_id, c.subscription_id, c.run_id, c.adjustment_id,
           jsonb_build_object('quantity', c.from_quantity), jsonb_build_object('quantity', c.to_quantity), _decide.reason
    FROM changed c;

    SELECT a.* INTO decided FROM spinpanel.adjustment a WHERE a.adjustment_id = _decide.adjustment_id;
    RETURN decided;
END
$$;
COMMENT ON FUNCTION _decide(bigint, boolean, text) IS 'internal: approve() and reject()';

CREATE FUNCTION approve(adjustment_id bigint) RETURNS adjustment
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN spinpanel._decide(approve.adjustment_id, true, NULL);
END
$$;
COMMENT ON FUNCTION approve(bigint) IS
'Lets an adjustment that awaits approval be carried out, and returns its row. It is judged afresh before anything is sent, and never removes more than it showed. A step of a merge stands for the whole merge.
Errors: P0002 no such adjustment; 55000 it does not wait (the hint says what to do); 22004; 25006 on a standby.';

CREATE FUNCTION reject(adjustment_id bigint, reason text DEFAULT NULL) RETURNS adjustment
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN spinpanel._decide(reject.adjustment_id, false, reject.reason);
END
$$;
COMMENT ON FUNCTION reject(bigint, text) IS
'Ends an adjustment that awaits approval without carrying it out, and returns its row. reason: kept with it. A step of a merge stands for the whole merge. A later run may plan the same again; pause() or a rule keeps it from that.
Errors: P0002 no such adjustment; 55000 it does not wait; 22004; 25006 on a standby.';

CREATE FUNCTION _set_pause(only_id uuid, pausing boolean, reason text) RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    number int;
BEGIN
    PERFORM FROM spinpanel.relationship r WHERE only_id IS NULL OR r.customer_id = only_id
    ORDER BY r.customer_id FOR NO KEY UPDATE;
    WITH changed AS (
        UPDATE spinpanel.relationship r SET
            paused_at = CASE WHEN pausing THEN spinpanel._now() END,
            paused_by = CASE WHEN pausing THEN session_user END,
            pause_reason = CASE WHEN pausing THEN reason END
        WHERE (only_id IS NULL OR r.customer_id = only_id) AND (r.paused_at IS NULL) = pausing
        RETURNING r.customer_id
    )
    INSERT INTO spinpanel.history (at, event, customer_id, reason)
    SELECT spinpanel._now(), CASE WHEN pausing THEN 'paused' ELSE 'resumed' END, c.customer_id, reason
    FROM changed c;
    GET DIAGNOSTICS number = ROW_COUNT;
    RETURN number;
END
$$;
COMMENT ON FUNCTION _set_pause(uuid, boolean, text) IS 'internal: pause() and resume()';

CREATE FUNCTION pause(customer text DEFAULT '*', reason text DEFAULT NULL) RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM spinpanel._require_primary();
    RETURN spinpanel._set_pause(spinpanel._customer(pause.customer, true), true, pause.reason);
END
$$;
COMMENT ON FUNCTION pause(text, text) IS
'Pauses a customer (''*'': all customers known now) and returns how many were not paused before. While paused nothing is changed at Partner Center and requests wait; reading goes on, and what an earlier change wiped or took too much is still put right. reason: kept with the relationship.
Errors: P0002 or 22023 for the customer; 22004; 25006 on a standby.';

CREATE FUNCTION resume(customer text DEFAULT '*') RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM spinpanel._require_primary();
    RETURN spinpanel._set_pause(spinpanel._customer(resume.customer, true), false, NULL);
END
$$;
COMMENT ON FUNCTION resume(text) IS
'Ends the pause of a customer (''*'': of all) and returns how many were paused. What waited goes on at once.
Errors: P0002 or 22023 for the customer; 22004; 25006 on a standby.';

-- Schedule ---------------------------------------------------------------------------------

-- True only for the real pg_cron: anybody may have made a schema of that name where it is not installed.
CREATE FUNCTION _has_pg_cron() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM pg_extension e
        JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
                        AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'
        WHERE e.extname = 'pg_cron' AND d.objid = to_regclass('cron.job'))
$$;
COMMENT ON FUNCTION _has_pg_cron() IS 'internal: the real pg_cron is in this database';

CREATE FUNCTION schedule(cron text DEFAULT '0 20 * * *') RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    job_name constant text := 'spinpanel-nightly';
    command  constant text := 'SELECT spinpanel.nightly()';
    home     text := current_setting('cron.database_name', true);
    zone     text := current_setting('cron.timezone', true);     -- newer versions of pg_cron
    line     text := btrim(schedule.cron);
    problem  text;
    job      bigint;
    before   text;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_value(line IS NOT NULL, 'cron');
    problem := spinpanel._cron_problem(line);
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = format('"%s" is not a cron line: %s', line, problem),
            HINT = 'Five fields in UTC: minute, hour, day of the month, month, day of the week. For example 0 20 * * *.';
    END IF;
    IF NOT spinpanel._has_pg_cron() THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = 'pg_cron is not installed in this database',
            DETAIL = CASE WHEN home IS NULL THEN 'It is not in shared_preload_libraries, either.'
                          ELSE format('It works in database "%s" (cron.database_name).', home) END,
            HINT = CASE WHEN home = current_database() THEN 'Run CREATE EXTENSION pg_cron; and call this again.'
                        ELSE format('%sRun in database "%s": SELECT cron.schedule_in_database(%L, %L, %L, %L);',
                                    CASE WHEN home IS NULL THEN 'Add pg_cron to shared_preload_libraries and restart the server. ' END,
                                    coalesce(home, 'postgres'), job_name, line, command, current_database()) END;
    END IF;
    IF upper(zone) NOT IN ('GMT', 'UTC', 'ETC/UTC') THEN
        RAISE WARNING USING
            MESSAGE = format('pg_cron takes the line as time of %s', zone),
            DETAIL = 'spinpanel''s nights, and the search for missed ones, go by UTC.',
            HINT = 'Set cron.timezone to GMT.';
    END IF;

    -- One job, whoever made others of the name before. It belongs to, and runs as, the
    -- owner of the extension: with pg_cron 1.4 a job runs as who called cron.schedule.
    PERFORM cron.unschedule(j.jobid) FROM cron.job j
    WHERE j.jobname = job_name AND j.database = current_database() AND j.username <> current_user;
    job := cron.schedule(job_name, line, command);
    PERFORM cron.alter_job(job, NULL::text, NULL::text, current_database()::text, NULL::text, true);

    SELECT i.schedule INTO before FROM spinpanel.installation i;
    INSERT INTO spinpanel.installation AS i (schedule, scheduled_at, scheduled_by)
    VALUES (line, spinpanel._now(), session_user)
    ON CONFLICT (only_row) DO UPDATE SET
        schedule = excluded.schedule, scheduled_at = excluded.scheduled_at, scheduled_by = excluded.scheduled_by;
    INSERT INTO spinpanel.history (at, event, before, after)
    VALUES (spinpanel._now(), 'night scheduled', jsonb_build_object('schedule', before), jsonb_build_object('schedule', line));
    RETURN job;
END
$$;
COMMENT ON FUNCTION schedule(text) IS
'Has pg_cron call nightly(), and returns the job''s id. cron: five fields, UTC; the default is every day at 20:00, four hours before renewals. There is one job, spinpanel-nightly; calling it again changes the line. It runs as the owner of the extension.
From then on the worker starts a night that pg_cron missed, under the date it was missed on.
Errors: 22023 not a cron line; 55000 pg_cron is not in this database: the hint holds the command to run where it is; 22004; 25006 on a standby.';

CREATE FUNCTION unschedule() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    job_name constant text := 'spinpanel-nightly';
    job    bigint;
    before text;
BEGIN
    PERFORM spinpanel._require_primary();
    IF spinpanel._has_pg_cron() THEN
        SELECT max(j.jobid) INTO job FROM cron.job j WHERE j.jobname = job_name AND j.database = current_database();
        PERFORM cron.unschedule(j.jobid) FROM cron.job j WHERE j.jobname = job_name AND j.database = current_database();
    ELSE
        RAISE NOTICE USING
            MESSAGE = 'pg_cron is not installed in this database',
            HINT = format('If the job was made elsewhere, run there: SELECT cron.unschedule(%L);', job_name);
    END IF;
    SELECT i.schedule INTO before FROM spinpanel.installation i WHERE i.schedule IS NOT NULL;
    IF FOUND THEN
        UPDATE spinpanel.installation i SET schedule = NULL, scheduled_at = NULL, scheduled_by = NULL;
        INSERT INTO spinpanel.history (at, event, before)
        VALUES (spinpanel._now(), 'night unscheduled', jsonb_build_object('schedule', before));
    END IF;
    RETURN job;
END
$$;
COMMENT ON FUNCTION unschedule() IS
'Ends what schedule() began, and returns the id of the pg_cron job that was removed (NULL: there was none). Missed nights are made up for no longer. Do this before DROP EXTENSION: pg_cron keeps its jobs.
Errors: 25006 on a standby.';

-- Setup ---------------------------------------------------------------------------------------

CREATE FUNCTION check_setup(OUT item text, OUT ok boolean, OUT detail text, OUT hint text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    worker  record;
    account record;
    file    record;
    job     record;
    counts  record;
    night   record;
    system  bigint := (SELECT system_identifier FROM pg_control_system());
    moment  timestamptz := spinpanel._now();
    planned text;
    oldest  interval;
BEGIN
    SELECT * INTO worker FROM spinpanel._worker_facts();
    oldest := current_setting('spinpanel.max_data_age')::interval;

    item := 'preload';
    ok := worker.preloaded;
    detail := CASE WHEN ok THEN 'the library is preloaded' ELSE 'the library is not preloaded: there can be no worker' END;
    hint := CASE WHEN NOT ok THEN 'Add spinpanel to shared_preload_libraries and restart the server.' END;
    RETURN NEXT;

    item := 'worker';
    ok := false;
    hint := NULL;
    IF NOT worker.preloaded THEN
        detail := 'not running';
    ELSIF worker.database <> current_database() THEN
        detail := format('it serves database "%s", not this one', worker.database);
        hint := format('Set spinpanel.database to "%s" and restart the server.', current_database());
    ELSIF pg_is_in_recovery() THEN
        ok := true;
        detail := 'not running: this is a standby, it starts at promotion';
    ELSIF worker.pid IS NULL THEN
        detail := 'not running';
        hint := 'It starts again within seconds of an error; the server''s log says why it ended.';
    ELSIF worker.last_turn_at < clock_timestamp() - interval '5 minutes' - current_setting('spinpanel.poll_interval')::interval THEN
        detail := format('process %s has done nothing since %s', worker.pid, worker.last_turn_at);
        hint := 'See pg_stat_activity for what it waits for.';
    ELSIF NOT worker.enabled THEN
        detail := format('process %s is running, but spinpanel.enabled is off', worker.pid);
        hint := 'Set spinpanel.enabled to on and reload.';
    ELSE
        ok := true;
        detail := format('process %s is running since %s', worker.pid, worker.started_at);
    END IF;
    RETURN NEXT;

    item := 'pg_cron';
    ok := false;
    hint := NULL;
    SELECT i.schedule INTO planned FROM spinpanel.installation i;
    IF NOT spinpanel._has_pg_cron() THEN
        detail := CASE WHEN current_setting('cron.database_name', true) IS NULL THEN 'not preloaded, or not installed'
                       ELSE format('not in this database but in "%s"; what it does for this one cannot be seen from here',
                                   current_setting('cron.database_name', true)) END;
        hint := 'SELECT spinpanel.schedule(); says what to do.';
    ELSE
        SELECT j.jobid, j.schedule, j.command, j.active, j.username INTO job
        FROM cron.job j WHERE j.jobname = 'spinpanel-nightly' AND j.database = current_database();
        IF NOT FOUND THEN
            detail := CASE WHEN planned IS NULL THEN 'no night is scheduled'
                           ELSE 'job spinpanel-nightly is gone; the worker makes up for the nights' END;
            hint := 'SELECT spinpanel.schedule();';
        ELSIF NOT job.active OR job.command <> 'SELECT spinpanel.nightly()' OR job.schedule IS DISTINCT FROM planned THEN
            detail := format('job %s was changed by hand: %s, %s, %s', job.jobid, job.schedule, job.command,
                             CASE WHEN job.active THEN 'active' ELSE 'not active' END);
            hint := 'SELECT spinpanel.schedule(); puts it right.';
        ELSE
            SELECT d.status, d.return_message, d.start_time INTO counts
            FROM cron.job_run_details d WHERE d.jobid = job.jobid ORDER BY d.runid DESC LIMIT 1;
            ok := NOT FOUND OR counts.status <> 'failed';
            detail := format('job %s, %s UTC, as %s; ', job.jobid, job.schedule, job.username)
                      || CASE WHEN counts.status IS NULL THEN 'no run is recorded'
                              ELSE format('last run %s: %s%s', counts.start_time, counts.status,
                                          CASE WHEN counts.status = 'failed' THEN ', ' || coalesce(counts.return_message, '') END) END;
            hint := CASE WHEN NOT ok THEN 'pg_cron connects as that role to cron.host: pg_hba.conf must let it in, or set cron.use_background_workers.' END;
        END IF;
    END IF;
    RETURN NEXT;

    IF (SELECT count(*) FROM spinpanel.account a WHERE a.status <> 'disconnected') = 0 THEN
        item := 'account';
        ok := false;
        detail := 'no account is connected';
        hint := 'SELECT spinpanel.connect_account(...);';
        RETURN NEXT;
    END IF;
    FOR account IN SELECT a.* FROM spinpanel.account a WHERE a.status <> 'disconnected' ORDER BY a.name LOOP
        item := 'account';
        ok := account.status = 'active';
        detail := format('%s: %s%s, customers last listed %s', account.name, account.status,
                         ', ' || account.status_reason, coalesce(account.customers_read_at::text, 'never'));
        hint := CASE WHEN NOT ok THEN 'Put a valid credential into its file; it is tried again when the file changes, or when connect_account is called.' END;
        RETURN NEXT;

        item := 'credential';
        SELECT * INTO file FROM spinpanel._credential_facts(account.credential_file);
        ok := file.problem IS NULL AND file.access = 'app+user' AND NOT file.readable_by_all;
        detail := account.name || ': ' || CASE
            WHEN file.problem IS NOT NULL THEN file.problem
            ELSE format('%s, file of %s%s%s', file.access, file.modified_at,
                        (SELECT format(', refresh token kept of %s', c.obtained_at) FROM spinpanel.credential c
                         WHERE c.account_id = account.account_id),
                        CASE WHEN file.readable_by_all THEN ', readable by every user of the server''s machine' END) END;
        hint := CASE
            WHEN file.problem IS NOT NULL THEN 'Until it can be read, nothing is read or changed at Partner Center.'
            WHEN file.access = 'app' THEN 'App-only access cannot read licence usage, so nothing is ever given back: add a refresh_token (Secure Application Model).'
            WHEN file.readable_by_all THEN format('chmod 600 %s', account.credential_file) END;
        RETURN NEXT;

        item := 'licence access';
        SELECT count(*) FILTER (WHERE a.license_access) AS yes, count(*) FILTER (WHERE NOT a.license_access) AS no,
               count(*) FILTER (WHERE a.license_access IS NULL) AS untried INTO counts
        FROM spinpanel.customer_account a WHERE a.account_id = account.account_id AND a.gone_at IS NULL;
        ok := counts.no = 0;
        detail := format('%s: %s customers can be read, %s refused, %s not tried yet', account.name, counts.yes, counts.no, counts.untried);
        hint := CASE WHEN NOT ok THEN 'A customer needs an active GDAP relationship with a role that may read licences; see license_access in spinpanel.customer_account.' END;
        RETURN NEXT;
    END LOOP;

    item := 'lag';
    SELECT count(*) AS customers, count(*) FILTER (WHERE ca.read_at < moment - oldest) AS stale, min(ca.read_at) AS oldest INTO counts
    FROM (SELECT least(coalesce(x.subscriptions_read_at, '-infinity'),
                       CASE WHEN x.license_access IS FALSE THEN 'infinity' ELSE coalesce(x.subscribed_skus_read_at, '-infinity') END) AS read_at
          FROM spinpanel.customer_account x
          JOIN spinpanel.account a ON a.account_id = x.account_id AND a.status <> 'disconnected'
          JOIN spinpanel.relationship r ON r.customer_id = x.customer_id AND r.partner_center_sync
          WHERE x.gone_at IS NULL) ca;
    ok := counts.stale = 0;
    detail := format('%s customers, %s of them not read within %s, the oldest %s', counts.customers, counts.stale, oldest,
                     CASE WHEN counts.oldest = '-infinity' THEN 'never' ELSE coalesce(counts.oldest::text, '-') END);
    hint := CASE WHEN NOT ok THEN 'Data that old removes nothing. SELECT spinpanel.sync(); reads now.' END;
    RETURN NEXT;

    item := 'open operations';
    SELECT count(*) AS open, count(*) FILTER (WHERE o.status = 'unknown') AS unknown, min(o.created_at) AS oldest INTO counts
    FROM spinpanel.operation o WHERE o.status IN ('queued', 'sending', 'unknown');
    ok := coalesce(counts.oldest > moment - interval '24 hours', true);
    detail := format('%s open, %s of them of unknown outcome, the oldest of %s', counts.open, counts.unknown, coalesce(counts.oldest::text, '-'));
    hint := CASE WHEN NOT ok THEN 'SELECT * FROM spinpanel.operation WHERE status IN (''queued'', ''sending'', ''unknown'') tells why (error, not_before).' END;
    RETURN NEXT;

    item := 'last night';
    SELECT r.* INTO night FROM spinpanel.run r WHERE r.kind = 'nightly' ORDER BY r.night DESC LIMIT 1;
    IF FOUND THEN
        ok := night.status <> 'failed' AND night.created_at > moment - interval '26 hours';
        detail := format('%s: %s, %s customers, %s of them failed%s%s', night.night, night.status, night.customers,
                         night.customers_failed, CASE WHEN night.made_up THEN ', made up for by the worker' END, ', ' || night.error);
        hint := CASE WHEN NOT ok THEN 'See run, check the rows above, and SELECT spinpanel.nightly(); starts one now.' END;
    ELSE
        ok := planned IS NULL OR spinpanel._cron_previous(planned, moment) <= (SELECT i.scheduled_at FROM spinpanel.installation i);
        detail := 'there was none yet';
        hint := CASE WHEN NOT ok THEN 'It is due. SELECT spinpanel.nightly(); starts one now.' END;
    END IF;
    RETURN NEXT;

    SELECT count(*) AS n INTO counts FROM spinpanel.adjustment a WHERE a.status = 'awaiting_approval';
    item := 'approvals';
    ok := counts.n = 0;
    detail := format('%s adjustments await approval', counts.n);
    hint := CASE WHEN NOT ok THEN 'SELECT * FROM spinpanel.adjustment WHERE status = ''awaiting_approval''; then approve() or reject().' END;
    RETURN NEXT;

    item := 'copy';
    SELECT string_agg(a.name, ', ' ORDER BY a.name) AS names INTO counts FROM spinpanel.account a
    WHERE a.status <> 'disconnected'
      AND (a.system_identifier <> system
           OR a.database_oid <> (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
           OR a.table_oid <> 'spinpanel.account'::regclass::oid);
    ok := counts.names IS NULL;
    detail := CASE WHEN ok THEN 'this is the database that connected its accounts'
                   ELSE format('this is a copy of the database that connected %s: nothing is sent', counts.names) END;
    hint := CASE WHEN NOT ok THEN 'If it is to act from now on, and the original no longer does: SELECT spinpanel.activate();' END;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION check_setup() IS
'Looks at everything that has to be right, and says what to do where it is not. item: preload, worker, pg_cron, account, credential, licence access (these three once per account, which the detail names), lag (of reading), open operations, last night, approvals and copy. It reads the credential files to tell their kind and age; nothing of their content is shown.';

CREATE FUNCTION activate(resume boolean DEFAULT false) RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    here   oid := (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
    system bigint := (SELECT c.system_identifier FROM pg_control_system() c);
    moment timestamptz := spinpanel._now();
    why    constant text := 'cancelled: the database was activated as a copy, without resuming';
    number int;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_value(activate.resume IS NOT NULL, 'resume');

    WITH changed AS (
        UPDATE spinpanel.account a SET system_identifier = system, database_oid = here,
               table_oid = 'spinpanel.account'::regclass::oid, failures = 0, not_before = '-infinity'
        WHERE (a.system_identifier, a.database_oid, a.table_oid) IS DISTINCT FROM (system, here, 'spinpanel.account'::regclass::oid)
        RETURNING a.account_id
    )
    INSERT INTO spinpanel.history (at, event, account_id, reason)
    SELECT moment, 'account activated in a copy', c.account_id,
           CASE WHEN activate.resume THEN 'open work goes on' ELSE 'open work is cancelled' END
    FROM changed c;
    GET DIAGNOSTICS number = ROW_COUNT;
    IF number = 0 THEN
        RAISE NOTICE 'this database is no copy: nothing was changed';
        RETURN 0;
    END IF;

    -- A night that the original had is not missed here.
    UPDATE spinpanel.installation i SET scheduled_at = moment WHERE i.schedule IS NOT NULL;
    IF activate.resume THEN
        RETURN number;
    END IF;

    WITH over AS (
        UPDATE spinpanel.operation o SET status = 'cancelled', finished_at = moment, error = why, body = NULL, verify_at = NULL
        WHERE o.status IN ('queued', 'sending', 'unknown') RETURNING o.*
    )
    INSERT INTO spinpanel.history (at, event, account_id, customer_id, sku_id, subscription_id, run_id, adjustment_id,
                                   operation_id, request_id, ms_request_id, reason)
    SELECT moment, 'operation cancelled', o.account_id, o.customer_id, o.sku_id, o.subscription_id, o.run_id,
           o.adjustment_id, o.operation_id, o.request_id, o.ms_request_id, why FROM over o;
    -- What was carried out is not looked at again, either.
    UPDATE spinpanel.operation o SET verify_at = NULL WHERE o.verify_at IS NOT NULL;

    WITH over AS (
        UPDATE spinpanel.license_request q SET status = 'cancelled', finished_at = moment, error = why, waiting = false
        WHERE q.status IN ('queued', 'buying', 'provisioning', 'assigning') RETURNING q.*
    )
    INSERT INTO spinpanel.history (at, event, account_id, customer_id, sku_id, subscription_id, request_id, reason)
    SELECT moment, 'request cancelled', q.account_id, q.customer_id, q.sku_id, q.subscription_id, q.request_id, why FROM over q;

    WITH over AS (
        UPDATE spinpanel.adjustment a SET status = 'skipped', finished_at = moment, error = why
        WHERE a.status IN ('queued', 'awaiting_approval') RETURNING a.*
    )
    INSERT INTO spinpanel.history (at, event, account_id, customer_id, sku_id, subscription_id, run_id, adjustment_id, reason)
    SELECT moment, 'adjustment skipped', a.account_id, a.customer_id, a.sku_id, a.subscription_id, a.run_id, a.adjustment_id, why
    FROM over a;

    WITH over AS (
        UPDATE spinpanel.run r SET status = 'failed', finished_at = moment, error = why
        WHERE r.status IN ('queued', 'running') RETURNING r.*
    )
    INSERT INTO spinpanel.history (at, event, customer_id, run_id, reason)
    SELECT moment, 'run failed', r.customer_id, r.run_id, why FROM over r;
    DELETE FROM spinpanel.run_customer c USING spinpanel.run r
    WHERE r.run_id = c.run_id AND r.status IN ('done', 'failed') AND NOT c.failed;
    RETURN number;
END
$$;
COMMENT ON FUNCTION activate(boolean) IS
'Lets a copy act: a restored dump, a copied database, a pg_upgraded cluster. Returns the number of accounts that act here from now on; 0, and nothing changed, where this is no copy. Make sure that the original no longer acts: both would change the same subscriptions.
resume: true goes on with what was open (an upgraded cluster), false (the default) cancels open runs, adjustments, requests and operations (a dump of yesterday).
A promoted standby needs this not: it goes on by itself where it has the credential file.
Errors: 22004; 25006 on a standby.';

-- Who may do what --------------------------------------------------------------------------

CREATE SCHEMA spinpanel_report;
COMMENT ON SCHEMA spinpanel_report IS 'spinpanel: reporting views for BI tools';

CREATE TABLE reader_limit (
    role        name NOT NULL,
    customer_id uuid NOT NULL REFERENCES customer,
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
    ('excess_seats', 2), ('plan_adjustment', 2), ('sync', 2), ('adjust', 2), ('nightly', 2), ('wait_for_run', 2),
    ('assign_license', 2), ('assign_licenses', 2), ('release_license', 2), ('cancel_request', 2),
    ('wait_for_request', 2), ('check_setup', 2),
    ('set_relationship', 3), ('set_license_rule', 3), ('drop_license_rule', 3), ('approve', 3), ('reject', 3),
    ('pause', 3), ('resume', 3),
    ('connect_account', 4), ('disconnect_account', 4), ('schedule', 4), ('unschedule', 4), ('activate', 4), ('limit_reader', 4)) AS f (name, level);
COMMENT ON VIEW _function_level IS 'internal: which function needs which role (2 operator, 3 manager, 4 admin)';
COMMENT ON COLUMN _function_level.name IS 'function';
COMMENT ON COLUMN _function_level.level IS '2 operator, 3 manager, 4 admin';

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

-- What nobody uses, and what a run would do about it ----------------------------
--
-- Both only read, so they are STABLE: they show the snapshot of the query that
-- calls them.

CREATE FUNCTION excess_seats(customer text DEFAULT '*')
RETURNS TABLE (customer_id uuid, customer_name text, sku_id uuid, part_number text,
               owned_seats int, foreign_seats int, consumed_seats int, waiting_seats int,
               spare_seats int, excess_seats int, reducible_now int,
               reducible_at_renewal int, next_renewal timestamptz, blocked_by text)
LANGUAGE C STABLE PARALLEL RESTRICTED SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_excess_seats';
COMMENT ON FUNCTION excess_seats(text) IS
'per pool of a customer (''*'': all): owned, assigned and unused seats, how many can go now and at a renewal, or what forbids it';

CREATE FUNCTION plan_adjustment(customer text DEFAULT '*', as_of timestamptz DEFAULT now())
RETURNS SETOF adjustment
LANGUAGE C STABLE PARALLEL RESTRICTED SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_plan_adjustment';
COMMENT ON FUNCTION plan_adjustment(text, timestamptz) IS
'the adjustments that a run would make at that moment, from what was read last, without any request; nothing is written down';

-- What the tables are --------------------------------------------------------------

COMMENT ON TABLE account IS 'partner tenants connected to Partner Center; see connect_account()';
COMMENT ON COLUMN account.status IS 'active; stopped: Microsoft refused the credentials (status_reason), tried again by itself; disconnected';
COMMENT ON COLUMN account.access IS 'app, or app+user: only the latter may read and change licences of users';
COMMENT ON COLUMN account.system_identifier IS 'where it was connected; a copy of the database differs, and does not act (activate())';
COMMENT ON COLUMN account.account_id IS 'our id';
COMMENT ON COLUMN account.name IS 'our name for it, unique';
COMMENT ON COLUMN account.tenant_id IS 'the partner''s Entra tenant';
COMMENT ON COLUMN account.client_id IS 'the app registration';
COMMENT ON COLUMN account.credential_file IS 'absolute path on the server; what is in it stays there';
COMMENT ON COLUMN account.api_url IS 'without /v1';
COMMENT ON COLUMN account.login_url IS 'without the tenant';
COMMENT ON COLUMN account.requests_per_minute IS 'most requests a minute that we send';
COMMENT ON COLUMN account.max_concurrency IS 'most requests at the same time';
COMMENT ON COLUMN account.status_reason IS 'why it was stopped';
COMMENT ON COLUMN account.database_oid IS 'see system_identifier';
COMMENT ON COLUMN account.table_oid IS 'see system_identifier: this table itself, which a dump restored into the same database makes anew';
COMMENT ON COLUMN account.failures IS 'failed attempts since the last success';
COMMENT ON COLUMN account.not_before IS 'nothing is sent before: back-off that survives a restart';
COMMENT ON COLUMN account.customers_read_at IS 'when the last whole list of customers was begun';
COMMENT ON COLUMN account.connected_at IS 'last connect_account()';
COMMENT ON COLUMN account.connected_by IS 'who called it';
COMMENT ON TABLE credential IS 'secret: the refresh token that Microsoft returned last; never dumped';
COMMENT ON COLUMN credential.account_id IS 'whose token';
COMMENT ON COLUMN credential.refresh_token IS 'secret';
COMMENT ON COLUMN credential.obtained_at IS 'when Microsoft returned it';
COMMENT ON TABLE customer IS 'customer tenants as Partner Center lists them';
COMMENT ON COLUMN customer.gone_at IS 'no account lists it any more since then';
COMMENT ON COLUMN customer.customer_id IS 'the customer''s tenant';
COMMENT ON COLUMN customer.name IS 'company name';
COMMENT ON COLUMN customer.domain IS 'default domain';
COMMENT ON COLUMN customer.country IS 'two letters';
COMMENT ON COLUMN customer.first_seen_at IS 'first listed';
COMMENT ON TABLE relationship IS 'a customer''s settings; see set_relationship()';
COMMENT ON COLUMN relationship.auto_license_adjustment IS 'give seats back that nobody uses';
COMMENT ON COLUMN relationship.auto_increment IS 'an assignment always orders a new seat, so that the stock stays as it is';
COMMENT ON COLUMN relationship.partner_center_sync IS 'read the customer in every run';
COMMENT ON COLUMN relationship.purchases IS 'seats may be bought';
COMMENT ON COLUMN relationship.spare_seats IS 'unused seats to keep per SKU';
COMMENT ON COLUMN relationship.cooldown IS 'a seat freed or added less than this ago stays';
COMMENT ON COLUMN relationship.renewal_lead IS 'how long before a renewal the next term is scheduled';
COMMENT ON COLUMN relationship.removal_limit_percent IS 'more than the larger of this and removal_limit_seats within 24 hours waits for approve()';
COMMENT ON COLUMN relationship.customer_id IS 'whose settings';
COMMENT ON COLUMN relationship.removal_limit_seats IS 'see removal_limit_percent';
COMMENT ON COLUMN relationship.purchase_limit_percent IS 'more than the larger of this and purchase_limit_seats within 24 hours waits for approve()';
COMMENT ON COLUMN relationship.purchase_limit_seats IS 'see purchase_limit_percent';
COMMENT ON COLUMN relationship.usage_location IS 'country given to a user who has none before a licence is assigned; NULL: such a request fails';
COMMENT ON COLUMN relationship.paused_at IS 'pause() was called; NULL: not paused';
COMMENT ON COLUMN relationship.paused_by IS 'who called it';
COMMENT ON COLUMN relationship.pause_reason IS 'what they said';
COMMENT ON COLUMN relationship.changed_at IS 'last set_relationship() that changed something';
COMMENT ON COLUMN relationship.changed_by IS 'who called it';
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
COMMENT ON TABLE never_assigned_sku IS 'your additions to, or (never_assigned = false) exceptions from, never_assigned_sku_shipped';
COMMENT ON COLUMN never_assigned_sku.part_number IS 'in capitals';
COMMENT ON COLUMN never_assigned_sku.never_assigned IS 'false: contrary to the shipped list, its seats are assigned to users';
COMMENT ON COLUMN never_assigned_sku.reason IS 'yours';
COMMENT ON TABLE never_assigned_sku_shipped IS 'SKUs whose seats are never assigned to users: nothing follows from their consumed units';
COMMENT ON COLUMN never_assigned_sku_shipped.part_number IS 'in capitals';
COMMENT ON COLUMN never_assigned_sku_shipped.reason IS 'why they are not assigned';
COMMENT ON TABLE customer_account IS 'which account sells to which customer, and when each kind of data was read (start of the reading)';
COMMENT ON COLUMN customer_account.license_access IS 'licence usage can be read (GDAP); NULL: not tried yet';
COMMENT ON COLUMN customer_account.customer_id IS 'the customer';
COMMENT ON COLUMN customer_account.account_id IS 'the account';
COMMENT ON COLUMN customer_account.relationship IS 'relationshipToPartner, as Partner Center says';
COMMENT ON COLUMN customer_account.listed_at IS 'in the list whose reading began then';
COMMENT ON COLUMN customer_account.gone_at IS 'no longer listed since';
COMMENT ON COLUMN customer_account.subscriptions_read_at IS 'begin of the last whole read of subscriptions; NULL: never';
COMMENT ON COLUMN customer_account.subscriptions_hash IS 'of that answer: an equal one changes nothing';
COMMENT ON COLUMN customer_account.subscriptions_error IS 'why the last read failed; NULL: it did not';
COMMENT ON COLUMN customer_account.subscribed_skus_read_at IS 'begin of the last whole read of subscribed SKUs';
COMMENT ON COLUMN customer_account.subscribed_skus_hash IS 'of that answer';
COMMENT ON COLUMN customer_account.subscribed_skus_error IS 'why the last read failed';
COMMENT ON COLUMN customer_account.users_read_at IS 'begin of the last whole read of users';
COMMENT ON COLUMN customer_account.users_error IS 'why the last read failed';
COMMENT ON COLUMN customer_account.licenses_read_at IS 'begin of the last whole read of users'' licences';
COMMENT ON COLUMN customer_account.licenses_error IS 'why the last read failed';
COMMENT ON TABLE sku IS 'Entra SKUs seen at any customer';
COMMENT ON COLUMN sku.sku_id IS 'Entra SKU';
COMMENT ON COLUMN sku.part_number IS 'e.g. SPE_E3';
COMMENT ON COLUMN sku.name IS 'product name';
COMMENT ON COLUMN sku.consumption_seen IS 'some customer was seen to consume it';
COMMENT ON TABLE offer IS 'which SKU an offer provisions, and its limits, cached';
COMMENT ON COLUMN offer.offer_key IS 'productId:skuId (New Commerce) or the offer''s GUID (legacy)';
COMMENT ON COLUMN offer.sku_id IS 'the SKU that it provisions; NULL: not found, error says why';
COMMENT ON COLUMN offer.minimum IS 'fewest seats of a subscription';
COMMENT ON COLUMN offer.maximum IS 'most seats of a subscription';
COMMENT ON COLUMN offer.is_trial IS 'a trial';
COMMENT ON COLUMN offer.source IS 'where the SKU was found';
COMMENT ON COLUMN offer.error IS 'why it was not';
COMMENT ON COLUMN offer.attempts IS 'failed attempts to find it';
COMMENT ON COLUMN offer.read_at IS 'when it was looked up';
COMMENT ON COLUMN offer.limits_read_at IS 'when minimum and maximum were looked up';
COMMENT ON TABLE subscription IS 'mirror: subscriptions as Partner Center said last';
COMMENT ON COLUMN subscription.commerce IS 'nce, legacy, or other: never touched';
COMMENT ON COLUMN subscription.commitment_end IS 'as Partner Center says it: the last day under New Commerce, the day after under legacy';
COMMENT ON COLUMN subscription.term_end IS 'first moment of the next term';
COMMENT ON COLUMN subscription.refund_quantity IS 'seats that can still be given back, batch by batch; refund_until beside it says until when';
COMMENT ON COLUMN subscription.our_suspension IS 'we suspended it; else a person did, and that stands';
COMMENT ON COLUMN subscription.our_next_quantity IS 'the schedule for the next term is ours';
COMMENT ON COLUMN subscription.subscription_id IS 'id at Partner Center';
COMMENT ON COLUMN subscription.account_id IS 'of ours that sells it';
COMMENT ON COLUMN subscription.customer_id IS 'whose it is';
COMMENT ON COLUMN subscription.offer_id IS 'as Partner Center says: productId:skuId:availabilityId, or a GUID';
COMMENT ON COLUMN subscription.offer_key IS 'key in table offer';
COMMENT ON COLUMN subscription.offer_name IS 'Microsoft''s name';
COMMENT ON COLUMN subscription.friendly_name IS 'the partner''s or customer''s name';
COMMENT ON COLUMN subscription.sku_id IS 'the SKU that it provides; NULL: not known (yet), and not touched';
COMMENT ON COLUMN subscription.quantity IS 'seats';
COMMENT ON COLUMN subscription.status IS 'active, suspended, deleted, ... in lower case';
COMMENT ON COLUMN subscription.term_duration IS 'P1M, P1Y, P3Y';
COMMENT ON COLUMN subscription.billing_cycle IS 'in lower case';
COMMENT ON COLUMN subscription.auto_renew IS 'renews by itself';
COMMENT ON COLUMN subscription.is_trial IS 'a trial: its seats are foreign';
COMMENT ON COLUMN subscription.created_at IS 'when it was bought';
COMMENT ON COLUMN subscription.effective_start IS 'begin of the term';
COMMENT ON COLUMN subscription.cancellation_allowed_until IS 'can be cancelled whole until then';
COMMENT ON COLUMN subscription.parent_subscription_id IS 'base of an add-on';
COMMENT ON COLUMN subscription.partner_id IS 'partner of record';
COMMENT ON COLUMN subscription.promotion_id IS 'promotion';
COMMENT ON COLUMN subscription.order_id IS 'order';
COMMENT ON COLUMN subscription.custom_term_end IS 'end date aligned with others';
COMMENT ON COLUMN subscription.next_quantity IS 'seats scheduled for the next term; NULL: as they are';
COMMENT ON COLUMN subscription.next_other_product IS 'the next term is scheduled to be another product';
COMMENT ON COLUMN subscription.cancel_at_term IS 'an explicit cancel is scheduled for the end of the term';
COMMENT ON COLUMN subscription.extended_term IS 'in Extended Service Terms: goes on month by month';
COMMENT ON COLUMN subscription.refund_until IS 'beside refund_quantity';
COMMENT ON COLUMN subscription.our_end IS 'we set it to end with its term';
COMMENT ON COLUMN subscription.auto_renew_before IS 'as it was before our suspension or end';
COMMENT ON COLUMN subscription.changes IS 'changes we made, of about 1,200 that Partner Center allows in its life';
COMMENT ON COLUMN subscription.renewed_at IS 'last renewal seen';
COMMENT ON COLUMN subscription.first_seen_at IS 'first read';
COMMENT ON COLUMN subscription.changed_at IS 'last read that differed';
COMMENT ON COLUMN subscription.gone_at IS 'no longer listed since';
COMMENT ON TABLE subscription_raw IS 'mirror: the whole resource as JSON';
COMMENT ON COLUMN subscription_raw.subscription_id IS 'which';
COMMENT ON COLUMN subscription_raw.body IS 'as read';
COMMENT ON COLUMN subscription_raw.read_at IS 'when this body was first read';
COMMENT ON TABLE subscribed_sku IS 'mirror: Microsoft''s report of units per customer and SKU';
COMMENT ON COLUMN subscribed_sku.customer_id IS 'the customer';
COMMENT ON COLUMN subscribed_sku.sku_id IS 'the SKU';
COMMENT ON COLUMN subscribed_sku.part_number IS 'e.g. SPE_E3';
COMMENT ON COLUMN subscribed_sku.target_type IS 'User or Tenant';
COMMENT ON COLUMN subscribed_sku.license_group IS 'group1 (Entra), group2 (Minecraft)';
COMMENT ON COLUMN subscribed_sku.active_units IS 'seats that can be assigned';
COMMENT ON COLUMN subscribed_sku.warning_units IS 'seats of subscriptions past their end, in grace';
COMMENT ON COLUMN subscribed_sku.suspended_units IS 'seats of suspended subscriptions';
COMMENT ON COLUMN subscribed_sku.consumed_units IS 'seats assigned, as reported';
COMMENT ON COLUMN subscribed_sku.total_units IS 'as reported';
COMMENT ON COLUMN subscribed_sku.available_units IS 'as reported';
COMMENT ON COLUMN subscribed_sku.capability_status IS 'Enabled, Warning, Suspended, Deleted, LockedOut';
COMMENT ON COLUMN subscribed_sku.changed_at IS 'last read that differed';
COMMENT ON COLUMN subscribed_sku.gone_at IS 'no longer listed since';
COMMENT ON TABLE customer_user IS 'mirror: users';
COMMENT ON COLUMN customer_user.customer_id IS 'the customer';
COMMENT ON COLUMN customer_user.user_id IS 'the user''s object id';
COMMENT ON COLUMN customer_user.upn IS 'userPrincipalName';
COMMENT ON COLUMN customer_user.display_name IS 'name shown';
COMMENT ON COLUMN customer_user.usage_location IS 'country, two letters; needed for a licence';
COMMENT ON COLUMN customer_user.licenses_read_at IS 'when the user''s licences were read';
COMMENT ON COLUMN customer_user.listed_at IS 'in the list whose reading began then';
COMMENT ON COLUMN customer_user.changed_at IS 'last read that differed';
COMMENT ON TABLE user_license IS 'mirror: licences held, as far as they were read';
COMMENT ON COLUMN user_license.customer_id IS 'the customer';
COMMENT ON COLUMN user_license.user_id IS 'the user';
COMMENT ON COLUMN user_license.sku_id IS 'the SKU held';
COMMENT ON TABLE pool IS 'figures of all seats of one SKU at one customer, kept in the transactions that change the mirror';
COMMENT ON COLUMN pool.doubt IS 'why the numbers reported last are not believed yet';
COMMENT ON COLUMN pool.settle_active IS 'after a removal: active units that must show before the next one';
COMMENT ON COLUMN pool.customer_id IS 'the customer';
COMMENT ON COLUMN pool.sku_id IS 'the SKU';
COMMENT ON COLUMN pool.owned_seats IS 'seats of our own active, paid subscriptions';
COMMENT ON COLUMN pool.active_units IS 'seats that can be assigned, as last believed';
COMMENT ON COLUMN pool.consumed_units IS 'seats assigned, as last believed';
COMMENT ON COLUMN pool.holders IS 'users known to hold it';
COMMENT ON COLUMN pool.holders_read_at IS 'as of when';
COMMENT ON COLUMN pool.consumption_seen IS 'this customer was seen to consume it';
COMMENT ON COLUMN pool.doubt_at IS 'since when';
COMMENT ON COLUMN pool.doubt_consumed IS 'the number that is doubted';
COMMENT ON COLUMN pool.settle_at IS 'since when settle_active is waited for';
COMMENT ON TABLE pool_reading IS 'seats and consumed units over time, for the cool-down';
COMMENT ON COLUMN pool_reading.customer_id IS 'the customer';
COMMENT ON COLUMN pool_reading.sku_id IS 'the SKU';
COMMENT ON COLUMN pool_reading.read_at IS 'stands from';
COMMENT ON COLUMN pool_reading.until IS 'to; NULL: still stands';
COMMENT ON COLUMN pool_reading.seats IS 'seats then';
COMMENT ON COLUMN pool_reading.consumed IS 'consumed units then';
COMMENT ON TABLE run IS 'sync and adjustment passes; see sync(), adjust(), nightly()';
COMMENT ON COLUMN run.seats_removed IS 'by how many seats the quantities that are billed fell, net of raises; scheduled ones not';
COMMENT ON COLUMN run.made_up IS 'started by the worker because pg_cron did not';
COMMENT ON COLUMN run.run_id IS 'id';
COMMENT ON COLUMN run.kind IS 'sync, adjust, nightly';
COMMENT ON COLUMN run.status IS 'queued, running, done (some customers may have failed), failed';
COMMENT ON COLUMN run.customer_id IS 'the customer named; NULL: all';
COMMENT ON COLUMN run.dry_run IS 'decisions are only written down';
COMMENT ON COLUMN run.night IS 'the UTC date of a nightly run; one per date';
COMMENT ON COLUMN run.requested_by IS 'who asked';
COMMENT ON COLUMN run.created_at IS 'when they asked';
COMMENT ON COLUMN run.started_at IS 'when the worker began';
COMMENT ON COLUMN run.finished_at IS 'when it ended';
COMMENT ON COLUMN run.customers IS 'customers in scope';
COMMENT ON COLUMN run.customers_failed IS 'customers that could not be read';
COMMENT ON COLUMN run.requests IS 'requests sent to Partner Center';
COMMENT ON COLUMN run.listed_accounts IS 'accounts whose customers have been listed for it';
COMMENT ON COLUMN run.attempts IS 'failed attempts to list customers';
COMMENT ON COLUMN run.not_before IS 'the next attempt';
COMMENT ON COLUMN run.error IS 'why it failed, or what went wrong on the way';
COMMENT ON TABLE run_customer IS 'what a run still has to do, and what of it failed';
COMMENT ON COLUMN run_customer.run_id IS 'the run';
COMMENT ON COLUMN run_customer.account_id IS 'the account';
COMMENT ON COLUMN run_customer.customer_id IS 'the customer';
COMMENT ON COLUMN run_customer.priority IS 'higher comes first';
COMMENT ON COLUMN run_customer.failed IS 'given up';
COMMENT ON COLUMN run_customer.attempts IS 'failed attempts';
COMMENT ON COLUMN run_customer.not_before IS 'the next attempt';
COMMENT ON COLUMN run_customer.error IS 'why the last one failed';
COMMENT ON TABLE license_request IS 'assignments and releases asked for';
COMMENT ON COLUMN license_request.request_id IS 'id';
COMMENT ON COLUMN license_request.kind IS 'assign, release';
COMMENT ON COLUMN license_request.account_id IS 'the account that carries it out';
COMMENT ON COLUMN license_request.customer_id IS 'the customer';
COMMENT ON COLUMN license_request.user_id IS 'the user, once known';
COMMENT ON COLUMN license_request.upn IS 'userPrincipalName as asked for';
COMMENT ON COLUMN license_request.sku_id IS 'the SKU';
COMMENT ON COLUMN license_request.status IS 'queued, buying, provisioning, assigning, done, failed, cancelled';
COMMENT ON COLUMN license_request.seat_bought IS 'a seat was bought for it';
COMMENT ON COLUMN license_request.subscription_id IS 'in which subscription';
COMMENT ON COLUMN license_request.reference IS 'the caller''s own';
COMMENT ON COLUMN license_request.requested_by IS 'who asked';
COMMENT ON COLUMN license_request.error IS 'why it failed, for a person to act on';
COMMENT ON COLUMN license_request.waiting IS 'counts in the floor of its pool';
COMMENT ON COLUMN license_request.confirmed_at IS 'when the assignment was confirmed';
COMMENT ON COLUMN license_request.looked_at IS 'when the user and their licences were read for it';
COMMENT ON COLUMN license_request.buy_operation IS 'the operation that buys, or bought, its seat';
COMMENT ON COLUMN license_request.operation_id IS 'the operation that assigns or removes the licence';
COMMENT ON COLUMN license_request.seat_refused_at IS 'Partner Center said that no seat was free';
COMMENT ON COLUMN license_request.seats_lost IS 'seats bought for it that somebody else took';
COMMENT ON COLUMN license_request.provisioning_at IS 'when its seat was bought';
COMMENT ON COLUMN license_request.active_level IS 'active units that show the seat bought for it';
COMMENT ON COLUMN license_request.consumed_level IS 'consumed units that show its assignment';
COMMENT ON COLUMN license_request.follows IS 'the request of the same user and SKU that it ends with';
COMMENT ON COLUMN license_request.adjustment_id IS 'the purchase that has to be approved before its seat is bought';
COMMENT ON COLUMN license_request.attempts IS 'failed attempts';
COMMENT ON COLUMN license_request.not_before IS 'the next attempt';
COMMENT ON COLUMN license_request.created_at IS 'when it was asked for';
COMMENT ON COLUMN license_request.finished_at IS 'when it ended';
COMMENT ON TABLE adjustment IS 'decisions of runs, each with its reason';
COMMENT ON COLUMN adjustment.status IS 'planned (dry run), awaiting_approval, queued, done, failed, skipped, rejected, superseded';
COMMENT ON COLUMN adjustment.merge IS 'the same number in a run: steps of one merge';
COMMENT ON COLUMN adjustment.adjustment_id IS 'id';
COMMENT ON COLUMN adjustment.run_id IS 'the run that decided it';
COMMENT ON COLUMN adjustment.account_id IS 'the account';
COMMENT ON COLUMN adjustment.customer_id IS 'the customer';
COMMENT ON COLUMN adjustment.sku_id IS 'the pool; NULL: none in particular';
COMMENT ON COLUMN adjustment.subscription_id IS 'the subscription to change';
COMMENT ON COLUMN adjustment.action IS 'reduce, suspend, cancel, reduce_at_renewal, end_at_term, raise, reactivate, none';
COMMENT ON COLUMN adjustment.rule IS 'number of the planner''s rule';
COMMENT ON COLUMN adjustment.from_quantity IS 'seats when it was decided';
COMMENT ON COLUMN adjustment.to_quantity IS 'seats wanted';
COMMENT ON COLUMN adjustment.seats IS 'seats given back (or, of a raise, added)';
COMMENT ON COLUMN adjustment.effective_on IS 'UTC date on which the seats go';
COMMENT ON COLUMN adjustment.reason IS 'in words and numbers';
COMMENT ON COLUMN adjustment.approved IS 'a person let it pass';
COMMENT ON COLUMN adjustment.decided_by IS 'who';
COMMENT ON COLUMN adjustment.decided_at IS 'when';
COMMENT ON COLUMN adjustment.decision_reason IS 'what they said';
COMMENT ON COLUMN adjustment.error IS 'why it was not carried out';
COMMENT ON COLUMN adjustment.created_at IS 'when it was decided';
COMMENT ON COLUMN adjustment.finished_at IS 'when it reached a final state';
COMMENT ON TABLE operation IS 'changes at Partner Center, written down before they are sent';
COMMENT ON COLUMN operation.status IS 'queued, sending, unknown (outcome: it will be read), done, refused (Partner Center said no), failed (given up), cancelled (not sent)';
COMMENT ON COLUMN operation.purpose IS 'remove, merge, schedule; restore and buy_back: what follows from a change of ours; give_back';
COMMENT ON COLUMN operation.base IS 'what was read right before it was sent';
COMMENT ON COLUMN operation.verify_at IS 'when it will be looked at again for seats taken meanwhile';
COMMENT ON COLUMN operation.operation_id IS 'id';
COMMENT ON COLUMN operation.kind IS 'which call';
COMMENT ON COLUMN operation.account_id IS 'the account';
COMMENT ON COLUMN operation.customer_id IS 'the customer';
COMMENT ON COLUMN operation.sku_id IS 'the pool';
COMMENT ON COLUMN operation.subscription_id IS 'the subscription';
COMMENT ON COLUMN operation.run_id IS 'the run that caused it';
COMMENT ON COLUMN operation.adjustment_id IS 'the adjustment that it carries out';
COMMENT ON COLUMN operation.request_id IS 'the request that it serves';
COMMENT ON COLUMN operation.after_operation IS 'starts only when that one is done';
COMMENT ON COLUMN operation.wait_active IS 'and active units show this many';
COMMENT ON COLUMN operation.wanted IS 'member(s) to set and their values';
COMMENT ON COLUMN operation.body IS 'what is sent; gone when it is over';
COMMENT ON COLUMN operation.ms_request_id IS 'MS-RequestId, the same at each attempt';
COMMENT ON COLUMN operation.correlation_id IS 'MS-CorrelationId';
COMMENT ON COLUMN operation.sent_at IS 'first time it was sent';
COMMENT ON COLUMN operation.attempts IS 'times it was sent';
COMMENT ON COLUMN operation.not_before IS 'the next attempt';
COMMENT ON COLUMN operation.http_status IS 'of the last answer';
COMMENT ON COLUMN operation.error_code IS 'Partner Center''s';
COMMENT ON COLUMN operation.error IS 'in words';
COMMENT ON COLUMN operation.seats IS 'by which the billed quantity changed: + raised, - removed';
COMMENT ON COLUMN operation.created_at IS 'when it was written down';
COMMENT ON COLUMN operation.finished_at IS 'when it reached a final state';
COMMENT ON TABLE history IS 'append-only: every step, who wanted it and why';
COMMENT ON COLUMN history.history_id IS 'id';
COMMENT ON COLUMN history.at IS 'when (spinpanel''s clock)';
COMMENT ON COLUMN history.event IS 'what happened';
COMMENT ON COLUMN history.actor IS 'who: the user who logged in, or the worker''s';
COMMENT ON COLUMN history.account_id IS 'the account';
COMMENT ON COLUMN history.customer_id IS 'the customer; NULL: all, or none in particular';
COMMENT ON COLUMN history.sku_id IS 'the SKU';
COMMENT ON COLUMN history.subscription_id IS 'the subscription';
COMMENT ON COLUMN history.run_id IS 'the run';
COMMENT ON COLUMN history.adjustment_id IS 'the adjustment';
COMMENT ON COLUMN history.operation_id IS 'the operation';
COMMENT ON COLUMN history.request_id IS 'the request';
COMMENT ON COLUMN history.ms_request_id IS 'MS-RequestId, for Microsoft''s support';
COMMENT ON COLUMN history.before IS 'what was';
COMMENT ON COLUMN history.after IS 'what is wanted, or was archived';
COMMENT ON COLUMN history.answer IS 'Partner Center''s';
COMMENT ON COLUMN history.reason IS 'why';
COMMENT ON TABLE installation IS 'the night''s schedule: one row at most';
COMMENT ON COLUMN installation.only_row IS 'true';
COMMENT ON COLUMN installation.schedule IS 'cron line of the night, UTC; NULL: not scheduled';
COMMENT ON COLUMN installation.scheduled_at IS 'nights are looked for from then on';
COMMENT ON COLUMN installation.scheduled_by IS 'who called schedule()';

-- What a dump holds: what people set, asked for and decided, and the record of
-- it.  Not the secret, not the mirror (it is read again), not what a run still
-- had to do.

SELECT pg_catalog.pg_extension_config_dump('account', '');
SELECT pg_catalog.pg_extension_config_dump('customer', '');
SELECT pg_catalog.pg_extension_config_dump('relationship', '');
SELECT pg_catalog.pg_extension_config_dump('license_rule', '');
SELECT pg_catalog.pg_extension_config_dump('never_assigned_sku', '');
SELECT pg_catalog.pg_extension_config_dump('reader_limit', '');
SELECT pg_catalog.pg_extension_config_dump('run', '');
SELECT pg_catalog.pg_extension_config_dump('license_request', '');
SELECT pg_catalog.pg_extension_config_dump('adjustment', '');
SELECT pg_catalog.pg_extension_config_dump('operation', '');
SELECT pg_catalog.pg_extension_config_dump('history', '');
SELECT pg_catalog.pg_extension_config_dump('installation', '');
SELECT pg_catalog.pg_extension_config_dump('account_account_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('license_rule_license_rule_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('run_run_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('license_request_request_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('adjustment_adjustment_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('operation_operation_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('history_history_id_seq', '');

-- Nothing is granted to PUBLIC; grant_role() grants.

REVOKE ALL ON ALL TABLES IN SCHEMA spinpanel FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA spinpanel FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA spinpanel FROM PUBLIC;
REVOKE ALL ON SCHEMA spinpanel FROM PUBLIC;
REVOKE ALL ON SCHEMA spinpanel_report FROM PUBLIC;
