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
    troubled_at     timestamptz,                -- patience counts from here
    seats           int NOT NULL DEFAULT 0,     -- by which the billed quantity changed: + raised, - removed
    verify_at       timestamptz,                -- look again for seats taken meanwhile
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);
CREATE INDEX operation_open_idx ON operation (operation_id) WHERE status IN ('queued', 'sending', 'unknown');
CREATE INDEX operation_verify_idx ON operation (verify_at) WHERE verify_at IS NOT NULL;
CREATE INDEX operation_customer_idx ON operation (customer_id, sku_id);
CREATE INDEX operation_seats_idx ON operation (customer_id, sku_id)
    WHERE purpose IN ('buy', 'remove', 'merge', 'give_back');
CREATE INDEX operation_after_idx ON operation (after_operation) WHERE after_operation IS NOT NULL;
CREATE INDEX operation_user_idx ON operation (customer_id, (wanted ->> 'userId'))
    WHERE status IN ('queued', 'sending', 'unknown') AND (wanted ->> 'userId') IS NOT NULL;
CREATE UNIQUE INDEX operation_one_in_flight_idx ON operation (subscription_id)
    WHERE status IN ('sending', 'unknown') AND subscription_id IS NOT NULL;
COMMENT ON TABLE operation IS 'changes at Partner Center, written down before they are sent';
COMMENT ON COLUMN operation.operation_id IS 'id';
COMMENT ON COLUMN operation.kind IS 'which call';
COMMENT ON COLUMN operation.purpose IS 'remove, merge, schedule; restore and buy_back: what follows from a change of ours; give_back';
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
COMMENT ON COLUMN operation.verify_at IS 'when it will be looked at again for seats taken meanwhile';
COMMENT ON COLUMN operation.created_at IS 'when it was written down';
COMMENT ON COLUMN operation.finished_at IS 'when it reached a final state';

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
