\echo Use "CREATE EXTENSION spinpanel" to load this file. \quit

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
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz
) WITH (fillfactor = 70);
CREATE INDEX license_request_waiting_idx ON license_request (customer_id, sku_id) WHERE waiting;

-- What is decided and done --------------------------------------------------------

CREATE TABLE adjustment (
    adjustment_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id          bigint NOT NULL,
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

-- One row: what the database as a whole was told
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

-- @@ENTRY-POINTS-HERE@@

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

-- @@LICENSE-REQUESTS@@

-- @@REPORT-VIEWS@@
