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

-- What excess_seats() shows, kept from the last plan of each customer, so that a
-- distributor's 1.7 million pools are read and not planned.  The worker alone
-- writes it, rows that did not change are not written.
--
-- The first columns are those of excess_seats(), in its order: rows are handed
-- on as they are (sql/excess.c).  A customer's rows hold from
-- customer_excess.holds_from until holds_until, unless excess_void says that
-- something has changed since; else they are planned afresh by whoever reads.
CREATE TABLE pool_excess (
    customer_id          uuid NOT NULL,
    customer_name        text NOT NULL,
    sku_id               uuid,
    part_number          text,
    owned_seats          int NOT NULL,
    foreign_seats        int NOT NULL,
    consumed_seats       int NOT NULL,
    waiting_seats        int NOT NULL,
    spare_seats          int NOT NULL,
    excess_seats         int NOT NULL,
    reducible_now        int NOT NULL,
    reducible_at_renewal int NOT NULL,
    next_renewal         timestamptz,
    blocked_by           text,
    blocked_when_stale   text
) WITH (fillfactor = 90);
CREATE INDEX pool_excess_customer_idx ON pool_excess (customer_id);
-- No key (unmapped pools have none): a publication of all tables takes the whole row
ALTER TABLE pool_excess REPLICA IDENTITY FULL;
COMMENT ON TABLE pool_excess IS 'what the last plan said of each pool; for the present answer, whatever changed since, call excess_seats()';
COMMENT ON COLUMN pool_excess.customer_id IS 'the customer';
COMMENT ON COLUMN pool_excess.customer_name IS 'company name';
COMMENT ON COLUMN pool_excess.sku_id IS 'the SKU; NULL: seats of an offer whose SKU is not known';
COMMENT ON COLUMN pool_excess.part_number IS 'e.g. SPE_E3; NULL: not known';
COMMENT ON COLUMN pool_excess.owned_seats IS 'seats of our own active, paid subscriptions';
COMMENT ON COLUMN pool_excess.foreign_seats IS 'other seats in the pool: of other suppliers, trials';
COMMENT ON COLUMN pool_excess.consumed_seats IS 'assigned: as reported, or the holders known, whichever is more';
COMMENT ON COLUMN pool_excess.waiting_seats IS 'assignments asked for that are not in consumed_seats yet';
COMMENT ON COLUMN pool_excess.spare_seats IS 'unused seats to keep';
COMMENT ON COLUMN pool_excess.excess_seats IS 'owned seats that nobody needs';
COMMENT ON COLUMN pool_excess.reducible_now IS 'of these, what Partner Center takes back now';
COMMENT ON COLUMN pool_excess.reducible_at_renewal IS 'of these, what a known renewal can take';
COMMENT ON COLUMN pool_excess.next_renewal IS 'next renewal of the pool; NULL: none is known';
COMMENT ON COLUMN pool_excess.blocked_by IS 'why nothing is given back, as long as the data is not too old; NULL: nothing forbids it';
COMMENT ON COLUMN pool_excess.blocked_when_stale IS 'why, once the data is too old (nothing is reducible then); NULL: for that very reason';

CREATE TABLE customer_excess (
    customer_id   uuid PRIMARY KEY,
    holds_from    timestamptz NOT NULL,
    holds_until   timestamptz NOT NULL,
    nothing_to_do boolean NOT NULL,
    written_down  boolean NOT NULL
) WITH (fillfactor = 90);
CREATE INDEX customer_excess_until_idx ON customer_excess (holds_until);
COMMENT ON TABLE customer_excess IS 'when a customer''s rows in pool_excess were planned, and until when they hold if nothing changes';
COMMENT ON COLUMN customer_excess.customer_id IS 'the customer';
COMMENT ON COLUMN customer_excess.holds_from IS 'planned for this moment';
COMMENT ON COLUMN customer_excess.holds_until IS 'up to this moment time alone changes nothing: no window, cool-down or term ends before; -infinity: they hold for that one moment only';
COMMENT ON COLUMN customer_excess.nothing_to_do IS 'a run would change nothing; all it has to say stands in pool_unmoved';
COMMENT ON COLUMN customer_excess.written_down IS 'a run has put that on record';

CREATE TABLE pool_unmoved (
    customer_id uuid NOT NULL,
    sku_id      uuid,
    rule        int NOT NULL,
    reason      text NOT NULL
) WITH (fillfactor = 90);
CREATE INDEX pool_unmoved_customer_idx ON pool_unmoved (customer_id);
ALTER TABLE pool_unmoved REPLICA IDENTITY FULL;
COMMENT ON TABLE pool_unmoved IS 'where a run would change nothing at a customer: why unused seats stay where they are, as it would say; holds as pool_excess does';
COMMENT ON COLUMN pool_unmoved.customer_id IS 'the customer';
COMMENT ON COLUMN pool_unmoved.sku_id IS 'the pool; NULL: of an offer whose SKU is not known';
COMMENT ON COLUMN pool_unmoved.rule IS 'number of the planner''s rule';
COMMENT ON COLUMN pool_unmoved.reason IS 'in words and numbers';

-- Only inserted into, by triggers on what a plan is made of, so that nobody
-- waits for anybody; the worker takes rows away when it plans.
CREATE TABLE excess_void (
    customer_id uuid,
    sku_id      uuid,
    offer_key   text,
    account_id  int
);
CREATE INDEX excess_void_customer_idx ON excess_void (customer_id);
ALTER TABLE excess_void REPLICA IDENTITY FULL;
COMMENT ON TABLE excess_void IS 'customers of whom something has changed since pool_excess was written';
COMMENT ON COLUMN excess_void.customer_id IS 'the customer; NULL: all that the other columns name, or everybody where they are empty';
COMMENT ON COLUMN excess_void.sku_id IS 'those that have a pool of this SKU';
COMMENT ON COLUMN excess_void.offer_key IS 'those that have a subscription of this offer';
COMMENT ON COLUMN excess_void.account_id IS 'those that this account sells to';
