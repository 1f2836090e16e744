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

CREATE FUNCTION _wake() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'spinpanel_wake_trigger';
COMMENT ON FUNCTION _wake() IS 'internal: wakes the worker when the transaction commits';

CREATE TRIGGER wake AFTER INSERT OR UPDATE ON run FOR EACH STATEMENT EXECUTE FUNCTION _wake();
CREATE TRIGGER wake AFTER UPDATE ON adjustment FOR EACH STATEMENT EXECUTE FUNCTION _wake();
CREATE TRIGGER wake AFTER INSERT OR UPDATE ON license_request FOR EACH STATEMENT EXECUTE FUNCTION _wake();
CREATE TRIGGER wake AFTER INSERT OR UPDATE ON account FOR EACH STATEMENT EXECUTE FUNCTION _wake();
CREATE TRIGGER wake AFTER UPDATE ON relationship FOR EACH STATEMENT EXECUTE FUNCTION _wake();

CREATE FUNCTION _refuse() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the history is append-only'
        USING ERRCODE = 'insufficient_privilege', HINT = 'What happened stays on record.';
END $$;
COMMENT ON FUNCTION _refuse() IS 'internal: keeps the history as it is';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON history
    FOR EACH STATEMENT EXECUTE FUNCTION _refuse();

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
'stops an account and erases its token; its subscriptions leave the pools. Returns its id. Error: 42704 (no such account)';

-- Settings -------------------------------------------------------------------------

CREATE FUNCTION set_relationship(customer text,
    auto_license_adjustment boolean DEFAULT NULL, auto_increment boolean DEFAULT NULL,
    partner_center_sync boolean DEFAULT NULL, purchases boolean DEFAULT NULL, spare_seats int DEFAULT NULL,
    cooldown interval DEFAULT NULL, renewal_lead interval DEFAULT NULL,
    removal_limit_percent int DEFAULT NULL, removal_limit_seats int DEFAULT NULL,
    purchase_limit_percent int DEFAULT NULL, purchase_limit_seats int DEFAULT NULL,
    usage_location text DEFAULT NULL, reset text[] DEFAULT NULL)
RETURNS SETOF relationship
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    _id     uuid;
    _old    spinpanel.relationship;
    _new    spinpanel.relationship;
    _column text;
    _names  constant text[] := ARRAY['auto_license_adjustment', 'auto_increment', 'partner_center_sync', 'purchases',
        'spare_seats', 'cooldown', 'renewal_lead', 'removal_limit_percent', 'removal_limit_seats',
        'purchase_limit_percent', 'purchase_limit_seats', 'usage_location'];
BEGIN
    PERFORM spinpanel._require_primary();
    _id := spinpanel._customer($1, true);
    FOREACH _column IN ARRAY coalesce($14, '{}'::text[]) LOOP
        IF _column IS NULL OR _column <> ALL (_names) THEN
            RAISE EXCEPTION 'there is no setting "%" to reset', _column
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Settings are ' || array_to_string(_names, ', ') || '.';
        END IF;
    END LOOP;
    IF least($6, $9, $10, $11, $12) < 0 THEN
        RAISE EXCEPTION '% must not be negative', CASE WHEN $6 < 0 THEN 'spare_seats' WHEN $9 < 0 THEN 'removal_limit_percent'
            WHEN $10 < 0 THEN 'removal_limit_seats' WHEN $11 < 0 THEN 'purchase_limit_percent' ELSE 'purchase_limit_seats' END
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF $9 > 100 THEN
        RAISE EXCEPTION 'removal_limit_percent must be between 0 and 100' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF $7 < '0'::interval OR $7 > '90 days'::interval THEN
        RAISE EXCEPTION 'cooldown must be between 0 and 90 days' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF $8 < '26 hours'::interval OR $8 > '400 days'::interval THEN
        RAISE EXCEPTION 'renewal_lead must be between 26 hours and 400 days' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF upper($13) !~ '^[A-Z]{2}$' THEN
        RAISE EXCEPTION 'usage_location must be a country of two letters'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For example US (ISO 3166).';
    END IF;

    FOR _old IN SELECT * FROM spinpanel.relationship r WHERE _id IS NULL OR r.customer_id = _id
        ORDER BY r.customer_id FOR UPDATE
    LOOP
        _new := _old;
        FOREACH _column IN ARRAY coalesce($14, '{}'::text[]) LOOP
            CASE _column
                WHEN 'auto_license_adjustment' THEN _new.auto_license_adjustment := false;
                WHEN 'auto_increment' THEN _new.auto_increment := false;
                WHEN 'partner_center_sync' THEN _new.partner_center_sync := true;
                WHEN 'purchases' THEN _new.purchases := true;
                WHEN 'spare_seats' THEN _new.spare_seats := 0;
                WHEN 'cooldown' THEN _new.cooldown := '24 hours';
                WHEN 'renewal_lead' THEN _new.renewal_lead := '14 days';
                WHEN 'removal_limit_percent' THEN _new.removal_limit_percent := 50;
                WHEN 'removal_limit_seats' THEN _new.removal_limit_seats := 20;
                WHEN 'purchase_limit_percent' THEN _new.purchase_limit_percent := 100;
                WHEN 'purchase_limit_seats' THEN _new.purchase_limit_seats := 50;
                WHEN 'usage_location' THEN _new.usage_location := NULL;
            END CASE;
        END LOOP;
        _new.auto_license_adjustment := coalesce($2, _new.auto_license_adjustment);
        _new.auto_increment := coalesce($3, _new.auto_increment);
        _new.partner_center_sync := coalesce($4, _new.partner_center_sync);
        _new.purchases := coalesce($5, _new.purchases);
        _new.spare_seats := coalesce($6, _new.spare_seats);
        _new.cooldown := coalesce($7, _new.cooldown);
        _new.renewal_lead := coalesce($8, _new.renewal_lead);
        _new.removal_limit_percent := coalesce($9, _new.removal_limit_percent);
        _new.removal_limit_seats := coalesce($10, _new.removal_limit_seats);
        _new.purchase_limit_percent := coalesce($11, _new.purchase_limit_percent);
        _new.purchase_limit_seats := coalesce($12, _new.purchase_limit_seats);
        _new.usage_location := coalesce(upper($13), _new.usage_location);
        IF _new.auto_license_adjustment AND _new.auto_increment THEN
            RAISE EXCEPTION 'auto_license_adjustment and auto_increment exclude each other'
                USING ERRCODE = 'invalid_parameter_value',
                DETAIL = format('Customer %s: the first empties the stock, the second keeps it.', _old.customer_id),
                HINT = 'To adjust and still keep a stock, set spare_seats.';
        END IF;
        IF _new IS DISTINCT FROM _old THEN
            _new.changed_at := spinpanel._now();
            _new.changed_by := session_user;
            UPDATE spinpanel.relationship r SET
                auto_license_adjustment = _new.auto_license_adjustment, auto_increment = _new.auto_increment,
                partner_center_sync = _new.partner_center_sync, purchases = _new.purchases, spare_seats = _new.spare_seats,
                cooldown = _new.cooldown, renewal_lead = _new.renewal_lead,
                removal_limit_percent = _new.removal_limit_percent, removal_limit_seats = _new.removal_limit_seats,
                purchase_limit_percent = _new.purchase_limit_percent, purchase_limit_seats = _new.purchase_limit_seats,
                usage_location = _new.usage_location, changed_at = _new.changed_at, changed_by = _new.changed_by
                WHERE r.customer_id = _old.customer_id;
            PERFORM spinpanel._record('relationship set', _old.customer_id, NULL, NULL, to_jsonb(_old), to_jsonb(_new), NULL);
        END IF;
        RETURN NEXT _new;
    END LOOP;
END $$;
COMMENT ON FUNCTION set_relationship(text, boolean, boolean, boolean, boolean, int, interval, interval, int, int, int, int, text, text[]) IS
'sets a customer''s settings (''*'': all customers known now); NULL leaves a setting as it is, reset names settings to put
back to their default. Returns the rows. Errors: 22004, 22023, P0002 (no such customer), 22023 (ambiguous)';

CREATE FUNCTION set_license_rule(customer text, sku text, excluded boolean DEFAULT NULL, spare_seats int DEFAULT NULL,
    min_seats int DEFAULT NULL, max_seats int DEFAULT NULL, default_offer text DEFAULT NULL,
    term_duration text DEFAULT NULL, billing_cycle text DEFAULT NULL, reset text[] DEFAULT NULL)
RETURNS license_rule
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    _customer uuid;
    _sku      uuid;
    _old      spinpanel.license_rule;
    _new      spinpanel.license_rule;
    _column   text;
    _names    constant text[] := ARRAY['excluded', 'spare_seats', 'min_seats', 'max_seats', 'default_offer',
        'term_duration', 'billing_cycle'];
BEGIN
    PERFORM spinpanel._require_primary();
    _customer := spinpanel._customer($1, true);
    _sku := spinpanel._sku(_customer, $2, true, true);
    FOREACH _column IN ARRAY coalesce($10, '{}'::text[]) LOOP
        IF _column IS NULL OR _column <> ALL (_names) THEN
            RAISE EXCEPTION 'there is no setting "%" to reset', _column
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Settings are ' || array_to_string(_names, ', ') || '.';
        END IF;
    END LOOP;
    IF least($4, $5, $6) < 0 THEN
        RAISE EXCEPTION '% must not be negative', CASE WHEN $4 < 0 THEN 'spare_seats' WHEN $5 < 0 THEN 'min_seats' ELSE 'max_seats' END
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF $7 !~ '^[A-Za-z0-9]+:[A-Za-z0-9]+(:[A-Za-z0-9]+)?$' THEN
        RAISE EXCEPTION 'default_offer "%" is no offer', $7
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is productId:skuId or productId:skuId:availabilityId.';
    END IF;
    IF upper($8) !~ '^P[0-9]+[DMY]$' THEN
        RAISE EXCEPTION 'term_duration "%" is no term', $8
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Terms are P1M, P1Y and P3Y.';
    END IF;
    IF lower($9) NOT IN ('monthly', 'annual', 'triennial', 'biennial', 'one_time', 'none') THEN
        RAISE EXCEPTION 'billing_cycle "%" is not known', $9
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Cycles are monthly, annual and triennial.';
    END IF;

    SELECT * INTO _old FROM spinpanel.license_rule l WHERE l.customer_id IS NOT DISTINCT FROM _customer
        AND l.sku_id IS NOT DISTINCT FROM _sku FOR UPDATE;
    _new := _old;
    FOREACH _column IN ARRAY coalesce($10, '{}'::text[]) LOOP
        CASE _column
            WHEN 'excluded' THEN _new.excluded := NULL;
            WHEN 'spare_seats' THEN _new.spare_seats := NULL;
            WHEN 'min_seats' THEN _new.min_seats := NULL;
            WHEN 'max_seats' THEN _new.max_seats := NULL;
            WHEN 'default_offer' THEN _new.default_offer := NULL;
            WHEN 'term_duration' THEN _new.term_duration := NULL;
            WHEN 'billing_cycle' THEN _new.billing_cycle := NULL;
        END CASE;
    END LOOP;
    _new.excluded := coalesce($3, _new.excluded);
    _new.spare_seats := coalesce($4, _new.spare_seats);
    _new.min_seats := coalesce($5, _new.min_seats);
    _new.max_seats := coalesce($6, _new.max_seats);
    _new.default_offer := coalesce($7, _new.default_offer);
    _new.term_duration := coalesce(upper($8), _new.term_duration);
    _new.billing_cycle := coalesce(lower($9), _new.billing_cycle);
    IF _new.max_seats < _new.min_seats THEN
        RAISE EXCEPTION 'max_seats must not be less than min_seats' USING ERRCODE = 'invalid_parameter_value',
            DETAIL = format('min_seats is %s and max_seats %s.', _new.min_seats, _new.max_seats);
    END IF;
    IF _old.license_rule_id IS NULL THEN
        INSERT INTO spinpanel.license_rule AS l (customer_id, sku_id, excluded, spare_seats, min_seats, max_seats,
            default_offer, term_duration, billing_cycle, changed_at, changed_by)
            VALUES (_customer, _sku, _new.excluded, _new.spare_seats, _new.min_seats, _new.max_seats,
            _new.default_offer, _new.term_duration, _new.billing_cycle, spinpanel._now(), session_user)
            RETURNING l.* INTO _new;
    ELSE
        UPDATE spinpanel.license_rule l SET excluded = _new.excluded, spare_seats = _new.spare_seats,
            min_seats = _new.min_seats, max_seats = _new.max_seats, default_offer = _new.default_offer,
            term_duration = _new.term_duration, billing_cycle = _new.billing_cycle,
            changed_at = spinpanel._now(), changed_by = session_user
            WHERE l.license_rule_id = _old.license_rule_id RETURNING l.* INTO _new;
    END IF;
    PERFORM spinpanel._record('license rule set', _customer, NULL, NULL,
        CASE WHEN _old.license_rule_id IS NOT NULL THEN to_jsonb(_old) END, to_jsonb(_new), NULL);
    RETURN _new;
END $$;
COMMENT ON FUNCTION set_license_rule(text, text, boolean, int, int, int, text, text, text, text[]) IS
'sets the rule for a SKU at a customer (''*'': every one); NULL leaves a value as it is, reset names values to take out.
Per value the first that has one wins: (customer, sku), (customer, ''*''), (''*'', sku), (''*'', ''*''), the relationship.
Returns the rule. Errors: 22004, 22023, P0002 (no such customer or SKU), 22023 (ambiguous)';

CREATE FUNCTION drop_license_rule(customer text, sku text) RETURNS license_rule
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    _customer uuid;
    _sku      uuid;
    _old      spinpanel.license_rule;
BEGIN
    PERFORM spinpanel._require_primary();
    _customer := spinpanel._customer($1, true);
    _sku := spinpanel._sku(_customer, $2, true, true);
    DELETE FROM spinpanel.license_rule l WHERE l.customer_id IS NOT DISTINCT FROM _customer
        AND l.sku_id IS NOT DISTINCT FROM _sku RETURNING l.* INTO _old;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no rule for customer "%" and SKU "%"', $1, $2
            USING ERRCODE = 'no_data_found', HINT = 'The rules are in spinpanel.license_rule.';
    END IF;
    PERFORM spinpanel._record('license rule dropped', _customer, NULL, NULL, to_jsonb(_old), NULL, NULL);
    RETURN _old;
END $$;
COMMENT ON FUNCTION drop_license_rule(text, text) IS
'takes the rule for a SKU at a customer (''*'': every one) out and returns it. Errors: 22004, P0002 (no such rule)';

CREATE FUNCTION pause(customer text DEFAULT '*', reason text DEFAULT NULL) RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _id    uuid;
    _count int;
BEGIN
    PERFORM spinpanel._require_primary();
    _id := spinpanel._customer($1, true);
    UPDATE spinpanel.relationship r SET paused_at = spinpanel._now(), paused_by = session_user, pause_reason = $2
        WHERE (_id IS NULL OR r.customer_id = _id) AND r.paused_at IS NULL;
    GET DIAGNOSTICS _count = ROW_COUNT;
    PERFORM spinpanel._record('paused', _id, NULL, NULL, NULL, NULL, $2);
    RETURN _count;
END $$;
COMMENT ON FUNCTION pause(text, text) IS
'until resume() nothing is changed at Partner Center for the customer (''*'': all), requests wait; reading goes on, and what
an earlier change wiped or took too much is still put right. Returns the number of customers. Errors: 22004, P0002, 22023';

CREATE FUNCTION resume(customer text DEFAULT '*') RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _id    uuid;
    _count int;
BEGIN
    PERFORM spinpanel._require_primary();
    _id := spinpanel._customer($1, true);
    UPDATE spinpanel.relationship r SET paused_at = NULL, paused_by = NULL, pause_reason = NULL
        WHERE (_id IS NULL OR r.customer_id = _id) AND r.paused_at IS NOT NULL;
    GET DIAGNOSTICS _count = ROW_COUNT;
    PERFORM spinpanel._record('resumed', _id, NULL, NULL, NULL, NULL, NULL);
    RETURN _count;
END $$;
COMMENT ON FUNCTION resume(text) IS
'ends pause() for the customer (''*'': all). Returns the number of customers. Errors: 22004, P0002, 22023';

-- Runs -----------------------------------------------------------------------------

CREATE FUNCTION sync(customer text DEFAULT '*') RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _id  uuid;
    _run bigint;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_worker();
    _id := spinpanel._customer($1, true);
    INSERT INTO spinpanel.run (kind, customer_id, created_at) VALUES ('sync', _id, spinpanel._now())
        RETURNING run_id INTO _run;
    RETURN _run;
END $$;
COMMENT ON FUNCTION sync(text) IS
'asks the worker to read everything of a customer (''*'': all) from Partner Center; users'' licences only of a named one.
Returns the run''s id for wait_for_run(). Errors: 22004, P0002, 22023, 25006 (standby), 55000 (not preloaded)';

CREATE FUNCTION adjust(customer text DEFAULT '*', dry_run boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _id  uuid;
    _run bigint;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_worker();
    PERFORM spinpanel._require_value($2 IS NOT NULL, 'dry_run');
    _id := spinpanel._customer($1, true);
    INSERT INTO spinpanel.run (kind, customer_id, dry_run, created_at) VALUES ('adjust', _id, $2, spinpanel._now())
        RETURNING run_id INTO _run;
    RETURN _run;
END $$;
COMMENT ON FUNCTION adjust(text, boolean) IS
'asks the worker to read a customer (''*'': all) and, where auto license adjustment is on, to give unused seats back;
dry_run: writes the plan (status planned) and changes nothing. Returns the run''s id for wait_for_run().
Errors: 22004, P0002, 22023, 25006 (standby), 55000 (not preloaded)';

CREATE FUNCTION nightly() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _night date := (spinpanel._now() AT TIME ZONE 'UTC')::date;
    _run   bigint;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_worker();
    INSERT INTO spinpanel.run (kind, night, created_at) VALUES ('nightly', _night, spinpanel._now())
        ON CONFLICT (night) DO NOTHING RETURNING run_id INTO _run;
    IF _run IS NULL THEN
        UPDATE spinpanel.run SET status = 'queued' WHERE night = _night AND status = 'failed' RETURNING run_id INTO _run;
    END IF;
    IF _run IS NULL THEN
        SELECT run_id INTO _run FROM spinpanel.run WHERE night = _night;
    END IF;
    RETURN _run;
END $$;
COMMENT ON FUNCTION nightly() IS
'the adjustment of this UTC day for all customers: one run a day however often it is called; one that failed is queued
again. Returns the run''s id. Errors: 25006 (standby), 55000 (not preloaded)';

CREATE FUNCTION wait_for_run(run_id bigint, timeout interval DEFAULT '5 min') RETURNS run
LANGUAGE C VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_wait_for_run';
COMMENT ON FUNCTION wait_for_run(bigint, interval) IS
'waits until a run is done or failed, or the time is over, and returns its row as it then stands. Errors: 22004, P0002
(no such run), 55000 (the run was asked for in this transaction, or it is above READ COMMITTED)';

CREATE FUNCTION approve(adjustment_id bigint) RETURNS adjustment
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN spinpanel._decide($1, true, NULL);
END $$;
COMMENT ON FUNCTION approve(bigint) IS
'lets an adjustment that awaits approval go on: it is judged afresh and never removes more than it showed. Returns its row.
Errors: 22004, P0002 (no such adjustment), 55000 (it does not await approval)';

CREATE FUNCTION reject(adjustment_id bigint, reason text DEFAULT NULL) RETURNS adjustment
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN spinpanel._decide($1, false, $2);
END $$;
COMMENT ON FUNCTION reject(bigint, text) IS
'ends an adjustment that awaits approval. Returns its row. Errors: 22004, P0002 (no such adjustment), 55000 (it does not await approval)';

CREATE FUNCTION _decide(id bigint, approved boolean, reason text) RETURNS adjustment
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _row spinpanel.adjustment;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_value($1 IS NOT NULL, 'adjustment_id');
    SELECT * INTO _row FROM spinpanel.adjustment a WHERE a.adjustment_id = $1 FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no adjustment %', $1 USING ERRCODE = 'no_data_found',
            HINT = 'Those to decide about have status awaiting_approval in spinpanel.adjustment.';
    END IF;
    IF _row.status <> 'awaiting_approval' THEN
        RAISE EXCEPTION 'adjustment % does not await approval', $1 USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = format('Its status is %s.', _row.status),
            HINT = CASE WHEN _row.status = 'superseded' THEN 'A newer plan has replaced it.' ELSE '' END;
    END IF;
    UPDATE spinpanel.adjustment a SET status = CASE WHEN $2 THEN 'queued' ELSE 'rejected' END, approved = $2,
        decided_by = session_user, decided_at = spinpanel._now(), decision_reason = $3,
        finished_at = CASE WHEN NOT $2 THEN spinpanel._now() END
        WHERE a.adjustment_id = $1 RETURNING * INTO _row;
    PERFORM spinpanel._record(CASE WHEN $2 THEN 'adjustment approved' ELSE 'adjustment rejected' END,
        _row.customer_id, $1, _row.run_id, NULL, NULL, $3);
    RETURN _row;
END $$;
COMMENT ON FUNCTION _decide(bigint, boolean, text) IS 'internal: approve() and reject()';

-- Every 24 hours ----------------------------------------------------------------------

CREATE FUNCTION schedule(cron text DEFAULT '0 20 * * *') RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _problem text;
    _job     bigint;
    _there   text;
BEGIN
    PERFORM spinpanel._require_primary();
    _problem := spinpanel._cron_problem($1);
    IF _problem IS NOT NULL THEN
        RAISE EXCEPTION 'not a cron line: "%"', $1 USING ERRCODE = 'invalid_parameter_value', DETAIL = _problem,
            HINT = 'Five fields in UTC: minute, hour, day of month, month, day of week. For example ''0 20 * * *''.';
    END IF;
    IF to_regprocedure('cron.schedule(text,text,text)') IS NULL THEN
        _there := coalesce(current_setting('cron.database_name', true), 'postgres');
        RAISE EXCEPTION 'pg_cron is not in this database' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = CASE WHEN _there = current_database()
                THEN 'Preload pg_cron and run CREATE EXTENSION pg_cron;'
                ELSE format('In database "%s" run SELECT cron.schedule_in_database(%L, %L, %L, %L);', _there,
                    'spinpanel-nightly', $1, 'SELECT spinpanel.nightly()', current_database()) END;
    END IF;
    EXECUTE 'SELECT cron.schedule($1, $2, $3)' INTO _job USING 'spinpanel-nightly', $1, 'SELECT spinpanel.nightly()';
    UPDATE spinpanel.installation SET schedule = $1, scheduled_at = spinpanel._now(), scheduled_by = session_user;
    PERFORM spinpanel._record('night scheduled', NULL, NULL, NULL, NULL, to_jsonb($1), NULL);
    RETURN _job;
END $$;
COMMENT ON FUNCTION schedule(text) IS
'has pg_cron run SELECT spinpanel.nightly() (UTC; renewals run from 00:00 UTC, so before that is best) as one job named
spinpanel-nightly, which runs as the extension''s owner; the worker makes up for a night that pg_cron missed. Returns
pg_cron''s job id. Errors: 22004, 22023 (not a cron line), 55000 (pg_cron is not in this database: the hint says what to run where)';

CREATE FUNCTION unschedule() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _job bigint;
BEGIN
    PERFORM spinpanel._require_primary();
    IF to_regclass('cron.job') IS NOT NULL THEN
        EXECUTE 'SELECT jobid FROM cron.job WHERE jobname = $1 AND username = current_user'
            INTO _job USING 'spinpanel-nightly';
        IF _job IS NOT NULL THEN
            EXECUTE 'SELECT cron.unschedule($1)' USING _job;
        END IF;
    END IF;
    UPDATE spinpanel.installation SET schedule = NULL, scheduled_at = NULL, scheduled_by = NULL;
    PERFORM spinpanel._record('night unscheduled', NULL, NULL, NULL, NULL, NULL, NULL);
    RETURN _job;
END $$;
COMMENT ON FUNCTION unschedule() IS
'takes the nightly job out of pg_cron; returns its id, NULL where there was none in this database';

-- A copy of a database does not act ------------------------------------------------------

CREATE FUNCTION activate(resume boolean DEFAULT false) RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _count int;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_value($1 IS NOT NULL, 'resume');
    IF NOT $1 THEN
        UPDATE spinpanel.operation SET status = 'cancelled', error = 'cancelled by activate()', verify_at = NULL,
            finished_at = spinpanel._now() WHERE status IN ('queued', 'sending', 'unknown');
        UPDATE spinpanel.operation SET verify_at = NULL WHERE verify_at IS NOT NULL;
        UPDATE spinpanel.license_request SET status = 'cancelled', waiting = false, error = 'cancelled by activate()',
            finished_at = spinpanel._now() WHERE status NOT IN ('done', 'failed', 'cancelled');
        UPDATE spinpanel.adjustment SET status = 'superseded', error = 'cancelled by activate()',
            finished_at = spinpanel._now() WHERE status IN ('queued', 'awaiting_approval');
        UPDATE spinpanel.run SET status = 'failed', error = 'cancelled by activate()', finished_at = spinpanel._now()
            WHERE status IN ('queued', 'running');
        DELETE FROM spinpanel.run_customer;
    END IF;
    UPDATE spinpanel.account SET system_identifier = (pg_control_system()).system_identifier,
        database_oid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
        WHERE status <> 'disconnected';
    GET DIAGNOSTICS _count = ROW_COUNT;
    PERFORM spinpanel._record('activated', NULL, NULL, NULL, NULL, to_jsonb($1), NULL);
    RETURN _count;
END $$;
COMMENT ON FUNCTION activate(boolean) IS
'lets a restored or copied database act for its accounts from now on. resume false cancels what was open in the original;
true goes on with it: only where the original will never act again. Returns the number of accounts';

-- Is everything as it should be? ------------------------------------------------------------

CREATE FUNCTION check_setup() RETURNS TABLE (item text, ok boolean, detail text, hint text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _facts   record;
    _account record;
    _cred    record;
    _row     record;
    _due     timestamptz;
    _text    text;
    _here    boolean;
BEGIN
    SELECT * INTO _facts FROM spinpanel._worker_facts();
    RETURN QUERY SELECT 'preload', _facts.preloaded,
        CASE WHEN _facts.preloaded THEN 'the library is preloaded' ELSE 'the library is not preloaded' END,
        CASE WHEN NOT _facts.preloaded THEN 'Set shared_preload_libraries = ''pg_cron,spinpanel'' and restart the server.' END;
    RETURN QUERY SELECT 'database', coalesce(_facts.database = current_database(), false),
        coalesce(format('spinpanel.database is "%s", this is "%s"', _facts.database, current_database()), 'no worker, no database'),
        CASE WHEN _facts.database <> current_database()
            THEN format('Set spinpanel.database = %L and restart the server.', current_database()) END;
    RETURN QUERY SELECT 'worker', _facts.pid IS NOT NULL AND _facts.enabled AND NOT pg_is_in_recovery(),
        CASE WHEN pg_is_in_recovery() THEN 'this is a standby: the worker starts at promotion'
            WHEN _facts.pid IS NULL THEN 'no worker is running'
            WHEN NOT _facts.enabled THEN format('the worker (pid %s) is switched off', _facts.pid)
            ELSE format('pid %s, last turn %s ago', _facts.pid, date_trunc('second', clock_timestamp() - _facts.last_turn_at)) END,
        CASE WHEN pg_is_in_recovery() THEN NULL
            WHEN _facts.pid IS NULL AND _facts.preloaded THEN 'Look for "spinpanel worker" in the server log; max_worker_processes may be too small.'
            WHEN NOT _facts.enabled THEN 'Set spinpanel.enabled = on and reload.' END;

    -- pg_cron
    IF to_regclass('cron.job') IS NULL THEN
        SELECT i.schedule INTO _text FROM spinpanel.installation i;
        RETURN QUERY SELECT 'pg_cron', false, 'pg_cron is not in this database',
            'CREATE EXTENSION pg_cron here, or schedule the night from where pg_cron is: SELECT spinpanel.schedule() tells how.';
    ELSE
        EXECUTE $q$SELECT j.jobid, j.schedule, j.active, j.command FROM cron.job j WHERE j.jobname = 'spinpanel-nightly' LIMIT 1$q$
            INTO _row;
        IF _row.jobid IS NULL THEN
            RETURN QUERY SELECT 'pg_cron', false, 'the night is not scheduled', 'SELECT spinpanel.schedule();';
        ELSE
            EXECUTE $q$SELECT format('last run %s: %s %s', d.start_time, d.status, d.return_message)
                FROM cron.job_run_details d WHERE d.jobid = $1 ORDER BY d.runid DESC LIMIT 1$q$ INTO _text USING _row.jobid;
            EXECUTE $q$SELECT NOT EXISTS (SELECT FROM cron.job_run_details d WHERE d.jobid = $1 AND d.status = 'failed'
                AND d.runid = (SELECT max(e.runid) FROM cron.job_run_details e WHERE e.jobid = $1))$q$ INTO _here USING _row.jobid;
            RETURN QUERY SELECT 'pg_cron', _row.active AND _here,
                format('job %s at "%s"; %s', _row.jobid, _row.schedule, coalesce(_text, 'not run yet')),
                CASE WHEN NOT _row.active THEN 'The job is switched off in cron.job.'
                    WHEN NOT _here THEN 'See cron.job_run_details.' END;
        END IF;
    END IF;
    SELECT i.schedule, i.scheduled_at INTO _row FROM spinpanel.installation i;
    _due := CASE WHEN _row.schedule IS NOT NULL THEN spinpanel._cron_previous(_row.schedule, spinpanel._now()) END;
    SELECT format('night of %s: %s%s', r.night, r.status, CASE WHEN r.made_up THEN ', made up for' ELSE '' END) INTO _text
        FROM spinpanel.run r WHERE r.kind = 'nightly' ORDER BY r.night DESC LIMIT 1;
    RETURN QUERY SELECT 'last night', _row.schedule IS NULL OR _due <= _row.scheduled_at OR EXISTS (SELECT FROM spinpanel.run r
            WHERE r.night >= (_due AT TIME ZONE 'UTC')::date AND r.status <> 'failed'),
        coalesce(_text, 'there was no night yet'),
        CASE WHEN _row.schedule IS NOT NULL AND _due > _row.scheduled_at AND NOT EXISTS (SELECT FROM spinpanel.run r
            WHERE r.night >= (_due AT TIME ZONE 'UTC')::date AND r.status <> 'failed')
            THEN format('A night was due at %s. The worker makes up for it ten minutes later.', _due) END;

    -- accounts
    IF (SELECT count(*) FROM spinpanel.account a WHERE a.status <> 'disconnected') = 0 THEN
        RETURN QUERY SELECT 'account', false, 'no account is connected', 'SELECT spinpanel.connect_account(...);';
    END IF;
    FOR _account IN SELECT * FROM spinpanel.account a WHERE a.status <> 'disconnected' ORDER BY a.account_id LOOP
        _here := _account.system_identifier = (pg_control_system()).system_identifier AND _account.database_oid =
            (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
        RETURN QUERY SELECT format('account %s', _account.name), _account.status = 'active' AND _here,
            CASE WHEN NOT _here THEN 'this database is a copy of the one that connected it, and does not act'
                ELSE _account.status || coalesce(': ' || _account.status_reason, '') END,
            CASE WHEN NOT _here THEN 'SELECT spinpanel.activate(); if this database is to act from now on.'
                WHEN _account.status = 'stopped' THEN 'Put the credential file right; it is looked at again by itself.' END;
        SELECT * INTO _cred FROM spinpanel._credential_facts(_account.credential_file);
        RETURN QUERY SELECT format('credential of %s', _account.name),
            _cred.problem IS NULL AND _cred.access = 'app+user' AND NOT _cred.readable_by_all,
            coalesce(_cred.problem, format('%s access, file of %s%s', _cred.access, date_trunc('second', _cred.modified_at),
                (SELECT format(', refresh token of %s', date_trunc('second', c.obtained_at)) FROM spinpanel.credential c
                 WHERE c.account_id = _account.account_id))),
            CASE WHEN _cred.problem IS NOT NULL THEN 'It must be a JSON file outside the data directory that the server can read.'
                WHEN _cred.access = 'app' THEN 'Without a refresh token Microsoft does not tell how many licences are assigned, and nothing can be given back.'
                WHEN _cred.readable_by_all THEN 'Everybody on the server can read it: chmod 600.' END;
        SELECT count(*) FILTER (WHERE x.license_access) AS yes, count(*) FILTER (WHERE x.license_access IS FALSE) AS no,
            count(*) AS everyone, min(x.subscribed_skus_read_at) AS oldest INTO _row
            FROM spinpanel.customer_account x WHERE x.account_id = _account.account_id AND x.gone_at IS NULL;
        RETURN QUERY SELECT format('licence access of %s', _account.name), _row.no = 0 AND _row.everyone > 0,
            format('%s of %s customers readable, %s refused', _row.yes, _row.everyone, _row.no),
            CASE WHEN _row.everyone = 0 THEN 'SELECT spinpanel.sync();'
                WHEN _row.no > 0 THEN 'Those customers have not granted a GDAP role that may read licences; see excess_seats().' END;
    END LOOP;

    -- lag
    SELECT count(*) AS open, min(o.created_at) AS oldest INTO _row FROM spinpanel.operation o
        WHERE o.status IN ('queued', 'sending', 'unknown');
    RETURN QUERY SELECT 'open operations', _row.open = 0 OR _row.oldest > spinpanel._now() - '26 hours'::interval,
        format('%s open%s', _row.open, coalesce(', the oldest of ' || date_trunc('second', _row.oldest)::text, '')),
        CASE WHEN _row.oldest <= spinpanel._now() - '26 hours'::interval THEN 'See error in spinpanel.operation.' END;
    SELECT count(*) AS n INTO _row FROM spinpanel.adjustment a WHERE a.status = 'awaiting_approval';
    RETURN QUERY SELECT 'approvals', _row.n = 0, format('%s adjustments await approval', _row.n),
        CASE WHEN _row.n > 0 THEN 'SELECT * FROM spinpanel.adjustment WHERE status = ''awaiting_approval''; then approve() or reject().' END;
END $$;
COMMENT ON FUNCTION check_setup() IS
'what is right and what is still wrong: preload, worker, pg_cron, accounts, credentials, licence access, lag; each with a hint';

-- Who may do what --------------------------------------------------------------------------

CREATE SCHEMA spinpanel_report;
COMMENT ON SCHEMA spinpanel_report IS 'spinpanel: reporting views for BI tools';

CREATE TABLE reader_limit (
    role        name NOT NULL,
    customer_id uuid NOT NULL REFERENCES customer,
    PRIMARY KEY (role, customer_id)
);
COMMENT ON TABLE reader_limit IS 'readers that may see these customers only; see limit_reader()';

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
    ('connect_account', 4), ('disconnect_account', 4), ('schedule', 4), ('unschedule', 4), ('activate', 4)) AS f (name, level);
COMMENT ON VIEW _function_level IS 'internal: which function needs which role (2 operator, 3 manager, 4 admin)';

CREATE FUNCTION limit_reader(to_role name, customers text[]) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _name  text;
    _count int;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_value($1 IS NOT NULL, 'to_role');
    PERFORM spinpanel._require_value($2 IS NOT NULL, 'customers');
    IF (SELECT count(*) FROM pg_roles r WHERE r.rolname = $1) = 0 THEN
        RAISE EXCEPTION 'role "%" does not exist', $1 USING ERRCODE = 'undefined_object';
    END IF;
    DELETE FROM spinpanel.reader_limit l WHERE l.role = $1;
    FOREACH _name IN ARRAY $2 LOOP
        INSERT INTO spinpanel.reader_limit (role, customer_id) VALUES ($1, spinpanel._customer(_name, false))
            ON CONFLICT DO NOTHING;
    END LOOP;
    SELECT count(*) INTO _count FROM spinpanel.reader_limit l WHERE l.role = $1;
    PERFORM spinpanel._record('reader limited', NULL, NULL, NULL, NULL, jsonb_build_object('role', $1, 'customers', $2), NULL);
    RETURN _count;
END $$;
COMMENT ON FUNCTION limit_reader(name, text[]) IS
'narrows what a reader sees in spinpanel_report to these customers. Returns their number. Errors: 22004, 42704, P0002, 22023';

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
COMMENT ON TABLE credential IS 'secret: the refresh token that Microsoft returned last; never dumped';
COMMENT ON TABLE customer IS 'customer tenants as Partner Center lists them';
COMMENT ON COLUMN customer.gone_at IS 'no account lists it any more since then';
COMMENT ON TABLE relationship IS 'a customer''s settings; see set_relationship()';
COMMENT ON COLUMN relationship.auto_license_adjustment IS 'give seats back that nobody uses';
COMMENT ON COLUMN relationship.auto_increment IS 'an assignment always orders a new seat, so that the stock stays as it is';
COMMENT ON COLUMN relationship.partner_center_sync IS 'read the customer in every run';
COMMENT ON COLUMN relationship.purchases IS 'seats may be bought';
COMMENT ON COLUMN relationship.spare_seats IS 'unused seats to keep per SKU';
COMMENT ON COLUMN relationship.cooldown IS 'a seat freed or added less than this ago stays';
COMMENT ON COLUMN relationship.renewal_lead IS 'how long before a renewal the next term is scheduled';
COMMENT ON COLUMN relationship.removal_limit_percent IS 'more than the larger of this and removal_limit_seats within 24 hours waits for approve()';
COMMENT ON TABLE license_rule IS 'rules per customer and SKU (NULL: every one); see set_license_rule()';
COMMENT ON TABLE never_assigned_sku IS 'your additions to, or (never_assigned = false) exceptions from, never_assigned_sku_shipped';
COMMENT ON TABLE never_assigned_sku_shipped IS 'SKUs whose seats are never assigned to users: nothing follows from their consumed units';
COMMENT ON TABLE customer_account IS 'which account sells to which customer, and when each kind of data was read (start of the reading)';
COMMENT ON COLUMN customer_account.license_access IS 'licence usage can be read (GDAP); NULL: not tried yet';
COMMENT ON TABLE sku IS 'Entra SKUs seen at any customer';
COMMENT ON TABLE offer IS 'which SKU an offer provisions, and its limits, cached';
COMMENT ON TABLE subscription IS 'mirror: subscriptions as Partner Center said last';
COMMENT ON COLUMN subscription.commerce IS 'nce, legacy, or other: never touched';
COMMENT ON COLUMN subscription.commitment_end IS 'as Partner Center says it: the last day under New Commerce, the day after under legacy';
COMMENT ON COLUMN subscription.term_end IS 'first moment of the next term';
COMMENT ON COLUMN subscription.refund_quantity IS 'seats that can still be given back, batch by batch; refund_until beside it says until when';
COMMENT ON COLUMN subscription.our_suspension IS 'we suspended it; else a person did, and that stands';
COMMENT ON COLUMN subscription.our_next_quantity IS 'the schedule for the next term is ours';
COMMENT ON TABLE subscription_raw IS 'mirror: the whole resource as JSON';
COMMENT ON TABLE subscribed_sku IS 'mirror: Microsoft''s report of units per customer and SKU';
COMMENT ON TABLE customer_user IS 'mirror: users';
COMMENT ON TABLE user_license IS 'mirror: licences held, as far as they were read';
COMMENT ON TABLE pool IS 'figures of all seats of one SKU at one customer, kept in the transactions that change the mirror';
COMMENT ON COLUMN pool.doubt IS 'why the numbers reported last are not believed yet';
COMMENT ON COLUMN pool.settle_active IS 'after a removal: active units that must show before the next one';
COMMENT ON TABLE pool_reading IS 'seats and consumed units over time, for the cool-down';
COMMENT ON TABLE run IS 'sync and adjustment passes; see sync(), adjust(), nightly()';
COMMENT ON COLUMN run.seats_removed IS 'by how many seats the quantities that are billed fell, net of raises; scheduled ones not';
COMMENT ON COLUMN run.made_up IS 'started by the worker because pg_cron did not';
COMMENT ON TABLE run_customer IS 'what a run still has to do, and what of it failed';
COMMENT ON TABLE license_request IS 'assignments and releases asked for';
COMMENT ON TABLE adjustment IS 'decisions of runs, each with its reason';
COMMENT ON COLUMN adjustment.status IS 'planned (dry run), awaiting_approval, queued, done, failed, skipped, rejected, superseded';
COMMENT ON COLUMN adjustment.merge IS 'the same number in a run: steps of one merge';
COMMENT ON TABLE operation IS 'changes at Partner Center, written down before they are sent';
COMMENT ON COLUMN operation.status IS 'queued, sending, unknown (outcome: it will be read), done, refused (Partner Center said no), failed (given up), cancelled (not sent)';
COMMENT ON COLUMN operation.purpose IS 'remove, merge, schedule; restore and buy_back: what follows from a change of ours; give_back';
COMMENT ON COLUMN operation.base IS 'what was read right before it was sent';
COMMENT ON COLUMN operation.verify_at IS 'when it will be looked at again for seats taken meanwhile';
COMMENT ON TABLE history IS 'append-only: every step, who wanted it and why';
COMMENT ON TABLE installation IS 'one row: the night''s schedule';

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
