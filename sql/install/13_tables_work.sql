-- What is wanted ---------------------------------------------------------------

CREATE TABLE run (
    run_id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind             text NOT NULL CHECK (kind IN ('sync', 'adjust', 'nightly')),
    status           text NOT NULL DEFAULT 'queued'
                     CHECK (status IN ('queued', 'running', 'done', 'failed')),
    customer_id      uuid,                         -- NULL = '*'
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
    same_as          bigint,                       -- an equal run, queued before, does its work
    CHECK ((kind = 'nightly') = (night IS NOT NULL))
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX run_night_idx ON run (night);
CREATE INDEX run_open_idx ON run (run_id) WHERE status IN ('queued', 'running');
COMMENT ON TABLE run IS 'sync and adjustment passes; see sync(), adjust(), nightly()';
COMMENT ON COLUMN run.run_id IS 'id';
COMMENT ON COLUMN run.kind IS 'sync, adjust, nightly';
COMMENT ON COLUMN run.status IS 'queued, running, done (some customers may have failed), failed';
COMMENT ON COLUMN run.customer_id IS 'the customer named; NULL: all';
COMMENT ON COLUMN run.dry_run IS 'decisions are only written down';
COMMENT ON COLUMN run.night IS 'the UTC date of a nightly run; one per date';
COMMENT ON COLUMN run.made_up IS 'started by the worker because pg_cron did not';
COMMENT ON COLUMN run.requested_by IS 'who asked';
COMMENT ON COLUMN run.created_at IS 'when they asked';
COMMENT ON COLUMN run.started_at IS 'when the worker began';
COMMENT ON COLUMN run.finished_at IS 'when it ended';
COMMENT ON COLUMN run.customers IS 'customers in scope';
COMMENT ON COLUMN run.customers_failed IS 'customers that could not be read';
COMMENT ON COLUMN run.requests IS 'requests sent to Partner Center';
COMMENT ON COLUMN run.seats_removed IS 'by how many seats the quantities that are billed fell, net of raises; scheduled ones not';
COMMENT ON COLUMN run.listed_accounts IS 'accounts whose customers have been listed for it';
COMMENT ON COLUMN run.attempts IS 'failed attempts to list customers';
COMMENT ON COLUMN run.not_before IS 'the next attempt';
COMMENT ON COLUMN run.same_as IS 'the equal run that was queued with it and does its work: it ends as that one does';
COMMENT ON COLUMN run.error IS 'why it failed, or what went wrong on the way';

-- What a run still has to do, and what of it failed for good.  A row goes when
-- its customer is done, so the table is empty between runs.
CREATE TABLE run_customer (
    run_id      bigint NOT NULL REFERENCES run ON DELETE CASCADE,
    account_id  int NOT NULL,                  -- both from customer_account
    customer_id uuid NOT NULL,
    priority    int NOT NULL DEFAULT 0,        -- higher first
    read_at     timestamptz NOT NULL DEFAULT '-infinity',
    skus_first  boolean NOT NULL DEFAULT false, -- they can tell whether more has to be read
    failed      boolean NOT NULL DEFAULT false,
    attempts    int NOT NULL DEFAULT 0,
    not_before  timestamptz NOT NULL DEFAULT '-infinity',
    error       text,
    PRIMARY KEY (run_id, account_id, customer_id)
) WITH (fillfactor = 80);
CREATE INDEX run_customer_order_idx ON run_customer (priority DESC, read_at, customer_id) WHERE NOT failed;
COMMENT ON TABLE run_customer IS 'what a run still has to do, and what of it failed';
COMMENT ON COLUMN run_customer.run_id IS 'the run';
COMMENT ON COLUMN run_customer.account_id IS 'the account';
COMMENT ON COLUMN run_customer.customer_id IS 'the customer';
COMMENT ON COLUMN run_customer.priority IS 'higher comes first';
COMMENT ON COLUMN run_customer.read_at IS 'when it was looked at last, before this run: the longest ago comes first';
COMMENT ON COLUMN run_customer.skus_first IS 'its subscriptions are read only where something speaks for a change: the audit records are known';
COMMENT ON COLUMN run_customer.failed IS 'given up';
COMMENT ON COLUMN run_customer.attempts IS 'failed attempts';
COMMENT ON COLUMN run_customer.not_before IS 'the next attempt';
COMMENT ON COLUMN run_customer.error IS 'why the last one failed';

CREATE TABLE license_request (
    request_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            text NOT NULL CHECK (kind IN ('assign', 'release')),
    account_id      int,
    customer_id     uuid NOT NULL,
    user_id         uuid,
    upn             text,
    by_name         boolean NOT NULL DEFAULT false,  -- upn decides who it is, not user_id
    sku_id          uuid NOT NULL,
    status          text NOT NULL DEFAULT 'queued'
                    CHECK (status IN ('queued', 'buying', 'provisioning', 'assigning', 'done', 'failed', 'cancelled')),
    seat_bought     boolean NOT NULL DEFAULT false,
    subscription_id uuid,
    reference       text,
    requested_by    name NOT NULL DEFAULT session_user,
    error           text,
    state_reason    text,
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
    buy_most        int,                        -- a larger purchase was refused
    stock_only      boolean NOT NULL DEFAULT false,  -- auto increment: its purchase was refused
    attempts        int NOT NULL DEFAULT 0,
    not_before      timestamptz NOT NULL DEFAULT '-infinity',
    waits_for       text CHECK (waits_for IN ('user', 'looks', 'release', 'reserved', 'try', 'purchase', 'order', 'seat',
                                              'approval', 'leader')),
    untold          boolean NOT NULL DEFAULT false,  -- ended by a caller; the worker has to notify
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz
) WITH (fillfactor = 70);
-- What counts or is open in a pool; and a user's open ones by either name.
-- The predicates of the latter leave the planner no choice: a plan made while
-- the table was empty must not use the wrong index ever after.
CREATE INDEX license_request_pool_idx ON license_request (customer_id, sku_id)
    WHERE waiting OR status IN ('queued', 'buying', 'provisioning', 'assigning');
CREATE INDEX license_request_user_idx ON license_request (user_id)
    WHERE user_id IS NOT NULL AND (finished_at IS NULL OR waiting);
CREATE INDEX license_request_upn_idx ON license_request (lower(upn))
    WHERE finished_at IS NULL AND upn IS NOT NULL;
-- For the worker
CREATE INDEX license_request_due_idx ON license_request (not_before)
    WHERE status IN ('queued', 'buying', 'provisioning', 'assigning');
CREATE INDEX license_request_operation_idx ON license_request (operation_id) WHERE operation_id IS NOT NULL;
CREATE INDEX license_request_buy_idx ON license_request (buy_operation) WHERE buy_operation IS NOT NULL;
CREATE INDEX license_request_follows_idx ON license_request (follows) WHERE follows IS NOT NULL;
CREATE INDEX license_request_untold_idx ON license_request (request_id) WHERE untold;
CREATE INDEX license_request_waits_idx ON license_request (customer_id, sku_id, waits_for, request_id)
    WHERE waits_for IS NOT NULL;
CREATE INDEX license_request_failed_idx ON license_request (finished_at) WHERE status = 'failed';
CREATE INDEX license_request_reference_idx ON license_request (reference) WHERE reference IS NOT NULL;
CREATE INDEX license_request_released_idx ON license_request (customer_id, sku_id, confirmed_at)
    WHERE kind = 'release' AND status = 'done';
COMMENT ON TABLE license_request IS 'assignments and releases asked for';
COMMENT ON COLUMN license_request.request_id IS 'id';
COMMENT ON COLUMN license_request.kind IS 'assign, release';
COMMENT ON COLUMN license_request.account_id IS 'the account that carries it out';
COMMENT ON COLUMN license_request.customer_id IS 'the customer';
COMMENT ON COLUMN license_request.user_id IS 'the user, once known';
COMMENT ON COLUMN license_request.upn IS 'userPrincipalName as asked for';
COMMENT ON COLUMN license_request.by_name IS 'asked for by upn: whoever has that name when it is carried out';
COMMENT ON COLUMN license_request.sku_id IS 'the SKU';
COMMENT ON COLUMN license_request.status IS 'queued, buying, provisioning, assigning, done, failed, cancelled';
COMMENT ON COLUMN license_request.seat_bought IS 'a seat was bought for it';
COMMENT ON COLUMN license_request.subscription_id IS 'in which subscription';
COMMENT ON COLUMN license_request.reference IS 'the caller''s own';
COMMENT ON COLUMN license_request.requested_by IS 'who asked';
COMMENT ON COLUMN license_request.error IS 'why it failed or was cancelled, for a person to act on; NULL while it is open and when it is done';
COMMENT ON COLUMN license_request.state_reason IS 'what an open request waits for, or how far it is';
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
COMMENT ON COLUMN license_request.buy_most IS 'a larger purchase was refused: its seat is bought together with fewer others';
COMMENT ON COLUMN license_request.stock_only IS 'its purchase under auto increment was refused: a seat of the stock will do';
COMMENT ON COLUMN license_request.attempts IS 'failed attempts';
COMMENT ON COLUMN license_request.not_before IS 'the next attempt';
COMMENT ON COLUMN license_request.waits_for IS 'the event that ends its waiting before not_before';
COMMENT ON COLUMN license_request.untold IS 'a caller ended it, and NOTIFY is still to be sent';
COMMENT ON COLUMN license_request.created_at IS 'when it was asked for';
COMMENT ON COLUMN license_request.finished_at IS 'when it ended';
