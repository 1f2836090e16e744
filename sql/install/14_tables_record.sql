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
    amount          numeric,                    -- what it gives back, saves or costs; NULL: not known
    currency        text,
    reason          text NOT NULL,
    status          text NOT NULL CHECK (status IN ('planned', 'awaiting_approval', 'queued', 'done', 'failed',
                                                    'skipped', 'rejected', 'superseded')),
    counted         int NOT NULL DEFAULT 0,     -- towards the removal limit
    merge           int,                        -- same number in a run = one merge
    approved        boolean NOT NULL DEFAULT false,
    decided_by      name,
    decided_at      timestamptz,
    decision_reason text,
    error           text,
    announced       boolean NOT NULL DEFAULT true,  -- NOTIFY of its final state was sent
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz
) WITH (fillfactor = 80);
CREATE INDEX adjustment_run_idx ON adjustment (run_id);
CREATE INDEX adjustment_customer_idx ON adjustment (customer_id, sku_id, created_at);
CREATE UNIQUE INDEX adjustment_open_approval_idx ON adjustment (subscription_id) WHERE status = 'awaiting_approval';
CREATE INDEX adjustment_open_idx ON adjustment (customer_id) WHERE status IN ('queued', 'awaiting_approval');
CREATE INDEX adjustment_approved_idx ON adjustment (run_id, customer_id) WHERE status = 'queued' AND approved;
CREATE INDEX adjustment_rejected_idx ON adjustment (customer_id) WHERE decided_at IS NOT NULL;
CREATE INDEX adjustment_announce_idx ON adjustment (adjustment_id) WHERE NOT announced;
COMMENT ON TABLE adjustment IS 'decisions of runs, each with its reason';
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
COMMENT ON COLUMN adjustment.counted IS 'seats that count towards the removal limit: what a schedule takes counts once; the raise of a merge counts below zero';
COMMENT ON COLUMN adjustment.effective_on IS 'UTC date on which the seats go';
COMMENT ON COLUMN adjustment.amount IS 'money that it gives back at once, saves per term or, of a raise, costs to the end of the term; NULL: no price is known';
COMMENT ON COLUMN adjustment.currency IS 'its currency';
COMMENT ON COLUMN adjustment.reason IS 'in words and numbers';
COMMENT ON COLUMN adjustment.status IS 'planned (dry run), awaiting_approval, queued, done, failed, skipped, rejected, superseded';
COMMENT ON COLUMN adjustment.merge IS 'the same number in a run: steps of one merge';
COMMENT ON COLUMN adjustment.approved IS 'a person let it pass';
COMMENT ON COLUMN adjustment.decided_by IS 'who';
COMMENT ON COLUMN adjustment.decided_at IS 'when';
COMMENT ON COLUMN adjustment.decision_reason IS 'what they said';
COMMENT ON COLUMN adjustment.error IS 'why it was not carried out';
COMMENT ON COLUMN adjustment.announced IS 'false until the worker has sent NOTIFY of a final state that somebody else caused';
COMMENT ON COLUMN adjustment.created_at IS 'when it was decided';
COMMENT ON COLUMN adjustment.finished_at IS 'when it reached a final state';

CREATE TABLE operation (
    operation_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            text NOT NULL CHECK (kind IN ('set_quantity', 'suspend', 'reactivate', 'cancel', 'set_auto_renew',
                                                  'set_schedule', 'set_actions', 'create_cart', 'checkout',
                                                  'set_usage_location', 'assign', 'unassign')),
    purpose         text NOT NULL CHECK (purpose IN ('remove', 'merge', 'schedule', 'restore', 'put_back', 'buy_back', 'buy',
                                                     'assign', 'release', 'give_back')),
    account_id      int NOT NULL,
    customer_id     uuid NOT NULL,
    sku_id          uuid,
    subscription_id uuid,
    run_id          bigint,
    adjustment_id   bigint,
    request_id      bigint,
    obligation_id   bigint,                     -- what it puts back or buys back for
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
    troubled_at     timestamptz,                -- patience counts from here
    seats           int NOT NULL DEFAULT 0,     -- by which the billed quantity changed: + raised, - removed
    parked          boolean NOT NULL DEFAULT false,   -- another change of its pool is under way
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);
CREATE INDEX operation_open_idx ON operation (operation_id) WHERE status IN ('queued', 'sending', 'unknown');
CREATE INDEX operation_in_flight_idx ON operation (customer_id, sku_id) WHERE status IN ('sending', 'unknown');
CREATE INDEX operation_parked_idx ON operation (customer_id, sku_id) WHERE parked;
CREATE INDEX operation_restore_idx ON operation (subscription_id) WHERE status = 'queued' AND purpose = 'restore';
CREATE INDEX operation_obligation_idx ON operation (obligation_id) WHERE obligation_id IS NOT NULL;
CREATE INDEX operation_customer_idx ON operation (customer_id, sku_id);
CREATE INDEX operation_seats_idx ON operation (customer_id, sku_id)
    WHERE purpose IN ('buy', 'remove', 'merge', 'give_back');
CREATE INDEX operation_after_idx ON operation (after_operation) WHERE after_operation IS NOT NULL;
CREATE INDEX operation_user_idx ON operation ((wanted ->> 'userId'))
    WHERE status IN ('queued', 'sending', 'unknown') AND (wanted ->> 'userId') IS NOT NULL;
CREATE UNIQUE INDEX operation_one_in_flight_idx ON operation (subscription_id)
    WHERE status IN ('sending', 'unknown') AND subscription_id IS NOT NULL;
COMMENT ON TABLE operation IS 'changes at Partner Center, written down before they are sent';
COMMENT ON COLUMN operation.operation_id IS 'id';
COMMENT ON COLUMN operation.kind IS 'which call';
COMMENT ON COLUMN operation.purpose IS 'remove, merge, schedule; restore: sets again what a change of ours wiped; put_back, buy_back: gives seats that a change of ours takes or took to those who need them; buy, give_back, assign, release: for requests';
COMMENT ON COLUMN operation.account_id IS 'the account';
COMMENT ON COLUMN operation.customer_id IS 'the customer';
COMMENT ON COLUMN operation.sku_id IS 'the pool';
COMMENT ON COLUMN operation.subscription_id IS 'the subscription';
COMMENT ON COLUMN operation.run_id IS 'the run that caused it';
COMMENT ON COLUMN operation.adjustment_id IS 'the adjustment that it carries out';
COMMENT ON COLUMN operation.request_id IS 'the request that it serves';
COMMENT ON COLUMN operation.obligation_id IS 'the obligation for which it puts back or buys back';
COMMENT ON COLUMN operation.after_operation IS 'starts only when that one is done';
COMMENT ON COLUMN operation.wait_active IS 'and active units show this many';
COMMENT ON COLUMN operation.wanted IS 'member(s) to set and their values';
COMMENT ON COLUMN operation.status IS 'queued, sending, unknown (outcome: it will be read), done, refused (Partner Center said no), failed (given up), cancelled (not sent)';
COMMENT ON COLUMN operation.base IS 'what was read right before it was sent';
COMMENT ON COLUMN operation.body IS 'what is sent; gone when it is over';
COMMENT ON COLUMN operation.ms_request_id IS 'MS-RequestId, the same at each attempt';
COMMENT ON COLUMN operation.correlation_id IS 'MS-CorrelationId';
COMMENT ON COLUMN operation.sent_at IS 'first time it was sent';
COMMENT ON COLUMN operation.attempts IS 'times it was sent';
COMMENT ON COLUMN operation.not_before IS 'the next attempt';
COMMENT ON COLUMN operation.http_status IS 'of the last answer';
COMMENT ON COLUMN operation.error_code IS 'Partner Center''s';
COMMENT ON COLUMN operation.error IS 'in words';
COMMENT ON COLUMN operation.troubled_at IS 'since when it is tried in vain; NULL: it is not';
COMMENT ON COLUMN operation.seats IS 'by which the billed quantity changed: + raised, - removed';
COMMENT ON COLUMN operation.parked IS 'it waits for the change of its pool that is under way, and is woken when that ends';
COMMENT ON COLUMN operation.created_at IS 'when it was written down';
COMMENT ON COLUMN operation.finished_at IS 'when it reached a final state';

-- What our changes took, or will take: watched until the effect was seen and
-- has settled.  A row that is over is deleted; history has each step.
CREATE TABLE obligation (
    obligation_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            text NOT NULL CHECK (kind IN ('removed', 'scheduled', 'ended', 'raised')),
    stage           text NOT NULL CHECK (stage IN ('settle', 'before', 'effect', 'after')),
    operation_id    bigint NOT NULL,
    adjustment_id   bigint,
    run_id          bigint,
    account_id      int NOT NULL,
    customer_id     uuid NOT NULL,
    sku_id          uuid NOT NULL,
    subscription_id uuid NOT NULL,
    seats           int NOT NULL CHECK (seats >= 0),
    leaves          int NOT NULL CHECK (leaves >= 0),
    owed            int NOT NULL DEFAULT 0 CHECK (owed >= 0),
    returned        int NOT NULL DEFAULT 0 CHECK (returned >= 0),
    audit           boolean NOT NULL DEFAULT false,
    effective_at    timestamptz NOT NULL,
    look_at         timestamptz NOT NULL,
    overdue_since   timestamptz,
    problem         text,
    created_at      timestamptz NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX obligation_look_idx ON obligation (look_at);
CREATE INDEX obligation_pool_idx ON obligation (customer_id, sku_id);
CREATE UNIQUE INDEX obligation_next_term_idx ON obligation (subscription_id) WHERE kind IN ('scheduled', 'ended');
COMMENT ON TABLE obligation IS 'seats that changes of ours took or will take, until that was seen and has settled';
COMMENT ON COLUMN obligation.obligation_id IS 'id';
COMMENT ON COLUMN obligation.kind IS 'removed: seats were taken; scheduled: fewer renew; ended: the subscription ends with its term; raised: nothing was taken, but its audit record is to be seen';
COMMENT ON COLUMN obligation.stage IS 'what the next look is for: settle (settle_time after the change), before (within the last hour before it takes effect), effect (does the renewal show?), after (settle_time after that)';
COMMENT ON COLUMN obligation.operation_id IS 'the change';
COMMENT ON COLUMN obligation.adjustment_id IS 'the adjustment that it carried out';
COMMENT ON COLUMN obligation.run_id IS 'the run that decided it';
COMMENT ON COLUMN obligation.account_id IS 'the account';
COMMENT ON COLUMN obligation.customer_id IS 'the customer';
COMMENT ON COLUMN obligation.sku_id IS 'the pool';
COMMENT ON COLUMN obligation.subscription_id IS 'from which subscription';
COMMENT ON COLUMN obligation.seats IS 'so many seats: at most as many are put back or bought back';
COMMENT ON COLUMN obligation.leaves IS 'what the change leaves, or the schedule says for the next term: by this it is known as ours';
COMMENT ON COLUMN obligation.owed IS 'seats that somebody added and our change undid: these are bought whoever needs them';
COMMENT ON COLUMN obligation.returned IS 'seats bought back so far';
COMMENT ON COLUMN obligation.audit IS 'the audit record of the change is still to be seen';
COMMENT ON COLUMN obligation.effective_at IS 'when the seats go';
COMMENT ON COLUMN obligation.look_at IS 'when subscriptions and subscribed SKUs are read for it next';
COMMENT ON COLUMN obligation.overdue_since IS 'since when it is tried to look, or to give the seats back';
COMMENT ON COLUMN obligation.problem IS 'why that did not succeed';
COMMENT ON COLUMN obligation.created_at IS 'when the change was made';

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
CREATE INDEX history_request_idx ON history (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX history_operation_idx ON history (operation_id) WHERE operation_id IS NOT NULL;
CREATE INDEX history_ms_request_idx ON history (ms_request_id) WHERE ms_request_id IS NOT NULL;
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

-- One row at most: what the database as a whole was told.  The install script
-- writes none: a restored dump would collide with it.
CREATE TABLE installation (
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    schedule        text,                       -- cron line, NULL = not scheduled
    scheduled_at    timestamptz,
    scheduled_by    name
);
COMMENT ON TABLE installation IS 'the night''s schedule: one row at most';
COMMENT ON COLUMN installation.only_row IS 'true';
COMMENT ON COLUMN installation.schedule IS 'cron line of the night, UTC; NULL: not scheduled';
COMMENT ON COLUMN installation.scheduled_at IS 'nights are looked for from then on';
COMMENT ON COLUMN installation.scheduled_by IS 'who called schedule()';
