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
    settle_owned     int,
    settle_at        timestamptz,
    PRIMARY KEY (customer_id, sku_id)
) WITH (fillfactor = 80);
COMMENT ON TABLE pool IS 'figures of all seats of one SKU at one customer, kept in the transactions that change the mirror';
COMMENT ON COLUMN pool.customer_id IS 'the customer';
COMMENT ON COLUMN pool.sku_id IS 'the SKU';
COMMENT ON COLUMN pool.owned_seats IS 'seats of our own active, paid subscriptions';
COMMENT ON COLUMN pool.active_units IS 'seats that can be assigned, as last believed';
COMMENT ON COLUMN pool.consumed_units IS 'seats assigned, as last believed';
COMMENT ON COLUMN pool.holders IS 'users known to hold it';
COMMENT ON COLUMN pool.holders_read_at IS 'as of when';
COMMENT ON COLUMN pool.consumption_seen IS 'this customer was seen to consume it';
COMMENT ON COLUMN pool.doubt IS 'why the numbers reported last are not believed yet';
COMMENT ON COLUMN pool.doubt_at IS 'since when';
COMMENT ON COLUMN pool.doubt_consumed IS 'the number that is doubted';
COMMENT ON COLUMN pool.settle_active IS 'after a removal: active units that must show before the next one, plus the seats added since';
COMMENT ON COLUMN pool.settle_owned IS 'seats owned right after that removal: what is owned beyond these was added since';
COMMENT ON COLUMN pool.settle_at IS 'since when settle_active is waited for';

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
COMMENT ON TABLE pool_reading IS 'seats and consumed units over time, for the cool-down';
COMMENT ON COLUMN pool_reading.customer_id IS 'the customer';
COMMENT ON COLUMN pool_reading.sku_id IS 'the SKU';
COMMENT ON COLUMN pool_reading.read_at IS 'stands from';
COMMENT ON COLUMN pool_reading.until IS 'to; NULL: still stands';
COMMENT ON COLUMN pool_reading.seats IS 'seats then';
COMMENT ON COLUMN pool_reading.consumed IS 'consumed units then';

-- The self-check of these figures: the worker compares some pools every ten minutes.
CREATE TABLE counter_check (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    compared    bigint NOT NULL DEFAULT 0,
    compared_at timestamptz,
    wrong       bigint NOT NULL DEFAULT 0,
    wrong_at    timestamptz
);
INSERT INTO counter_check DEFAULT VALUES;
COMMENT ON TABLE counter_check IS 'what the self-check of pool.owned_seats found: one row';
COMMENT ON COLUMN counter_check.only_row IS 'true';
COMMENT ON COLUMN counter_check.compared IS 'pools compared so far';
COMMENT ON COLUMN counter_check.compared_at IS 'when the last ones were';
COMMENT ON COLUMN counter_check.wrong IS 'how many were wrong, and were put right; history tells which';
COMMENT ON COLUMN counter_check.wrong_at IS 'when the last one was';
