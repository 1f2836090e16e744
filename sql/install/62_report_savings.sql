-- What was saved: a ledger --------------------------------------------------------------------
--
-- A row is written when money has come back, not when it was planned: when Partner Center has lowered a quantity that is
-- billed (a refund, or legacy commerce that is no longer billed), and when a renewal has taken place without seats that we
-- had scheduled to go.  Seats bought again in a pool where seats are saved are rows below 0, so that sums are net.  An
-- unknown price leaves the amount unknown.

CREATE TABLE saving (
    saving_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    basis              text NOT NULL CHECK (basis IN ('refund', 'renewal', 'legacy', 'bought again')),
    customer_id        uuid NOT NULL,
    sku_id             uuid,
    subscription_id    uuid,
    account_id         int,
    run_id             bigint,
    adjustment_id      bigint,
    operation_id       bigint,
    seats              int NOT NULL,
    open_seats         int NOT NULL DEFAULT 0,  -- of them, those not bought again
    unit_price         numeric,
    term_duration      text,
    amount             numeric,
    currency           text,
    is_price_estimated boolean NOT NULL DEFAULT false,
    period_from        date NOT NULL,
    period_until       date,
    explanation        text NOT NULL,
    created_at         timestamptz NOT NULL,
    ended_at           timestamptz,
    ended_by           text
);
CREATE INDEX saving_pool_idx ON saving (customer_id, sku_id) WHERE open_seats > 0;
CREATE INDEX saving_customer_idx ON saving (customer_id, created_at);
COMMENT ON TABLE saving IS 'money that came back, and seats bought again: a ledger';
COMMENT ON COLUMN saving.saving_id IS 'id';
COMMENT ON COLUMN saving.basis IS 'refund: Microsoft credited the rest of the term; renewal: a term began without these seats; legacy: seats of legacy commerce are no longer billed; bought again';
COMMENT ON COLUMN saving.customer_id IS 'the customer';
COMMENT ON COLUMN saving.sku_id IS 'the SKU';
COMMENT ON COLUMN saving.subscription_id IS 'the subscription';
COMMENT ON COLUMN saving.account_id IS 'the account';
COMMENT ON COLUMN saving.run_id IS 'the run that decided it';
COMMENT ON COLUMN saving.adjustment_id IS 'the adjustment';
COMMENT ON COLUMN saving.operation_id IS 'the change at Partner Center';
COMMENT ON COLUMN saving.seats IS 'seats no longer billed; below 0: bought again';
COMMENT ON COLUMN saving.open_seats IS 'of them, those not bought again since';
COMMENT ON COLUMN saving.unit_price IS 'of a seat for the whole term';
COMMENT ON COLUMN saving.term_duration IS 'the term';
COMMENT ON COLUMN saving.amount IS 'money saved; below 0: spent again; NULL: the price is not known';
COMMENT ON COLUMN saving.currency IS 'its currency';
COMMENT ON COLUMN saving.is_price_estimated IS 'the price is not that of the term''s start, which no sheet tells';
COMMENT ON COLUMN saving.period_from IS 'first day saved';
COMMENT ON COLUMN saving.period_until IS 'first day no longer counted: the end of the term; NULL: open';
COMMENT ON COLUMN saving.explanation IS 'how it was computed';
COMMENT ON COLUMN saving.created_at IS 'when it was seen';
COMMENT ON COLUMN saving.ended_at IS 'when all of its seats had been bought again';
COMMENT ON COLUMN saving.ended_by IS 'what ended it';

-- What an operation changed of the quantity that is billed
CREATE FUNCTION _save_operation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s      record;
    price  numeric;
    moment timestamptz := CASE WHEN NEW.attempts <= 1 THEN NEW.sent_at ELSE NEW.finished_at END;
    number int := abs(NEW.seats);
    money  numeric;
    kept   record;
    part   int;
BEGIN
    SELECT x.commerce, x.effective_start, x.term_end, x.term_duration, p.unit_price, p.currency, coalesce(p.is_estimated, false) AS is_estimated
    INTO s FROM spinpanel.subscription x LEFT JOIN spinpanel._subscription_price p USING (subscription_id)
    WHERE x.subscription_id = NEW.subscription_id;
    IF NOT FOUND AND NEW.seats < 0 THEN
        RETURN NULL;
    END IF;
    moment := coalesce(moment, spinpanel._now());
    IF NEW.seats > 0 THEN
        -- A merge moves seats; all else is bought.  Only what was saved before counts.
        number := CASE WHEN NEW.purpose = 'merge' THEN number
                       ELSE least(number, (SELECT coalesce(sum(v.open_seats), 0) FROM spinpanel.saving v
                                           WHERE v.customer_id = NEW.customer_id AND v.sku_id = NEW.sku_id AND v.open_seats > 0
                                             AND coalesce(v.period_until, 'infinity') > (moment AT TIME ZONE 'UTC')::date)) END;
        IF number = 0 THEN
            RETURN NULL;
        END IF;
    END IF;
    money := CASE WHEN s.commerce = 'nce' THEN spinpanel._prorated(number, s.unit_price, s.effective_start, s.term_end, moment) END;
    INSERT INTO spinpanel.saving (basis, customer_id, sku_id, subscription_id, account_id, run_id, adjustment_id, operation_id, seats, open_seats,
                                  unit_price, term_duration, amount, currency, is_price_estimated, period_from, period_until, explanation, created_at)
    VALUES (CASE WHEN s.commerce = 'legacy' THEN 'legacy' WHEN NEW.seats < 0 THEN 'refund' ELSE 'bought again' END,
            NEW.customer_id, NEW.sku_id, NEW.subscription_id, NEW.account_id, NEW.run_id, NEW.adjustment_id, NEW.operation_id,
            CASE WHEN NEW.seats < 0 THEN number ELSE -number END, CASE WHEN NEW.seats < 0 THEN number ELSE 0 END,
            s.unit_price, s.term_duration, CASE WHEN NEW.seats < 0 THEN money ELSE -money END,
            CASE WHEN money IS NOT NULL THEN s.currency END, coalesce(s.is_estimated, false), (moment AT TIME ZONE 'UTC')::date,
            CASE WHEN s.commerce = 'nce' THEN (s.term_end AT TIME ZONE 'UTC')::date END,
            CASE WHEN s.commerce = 'legacy' THEN format('%s seats of legacy commerce, billed by the day; no price sheet tells its prices', number)
                 WHEN money IS NULL THEN format('%s seats; the price is not known', number)
                 ELSE format('%s seats at %s %s a term (%s), %s of %s days left', number, s.unit_price, s.currency, s.term_duration,
                             (s.term_end AT TIME ZONE 'UTC')::date - (moment AT TIME ZONE 'UTC')::date,
                             (s.term_end AT TIME ZONE 'UTC')::date - (s.effective_start AT TIME ZONE 'UTC')::date) END,
            spinpanel._now());
    IF NEW.seats > 0 THEN
        FOR kept IN
            SELECT v.saving_id, v.open_seats FROM spinpanel.saving v
            WHERE v.customer_id = NEW.customer_id AND v.sku_id = NEW.sku_id AND v.open_seats > 0
            ORDER BY v.saving_id DESC
        LOOP
            part := least(number, kept.open_seats);
            UPDATE spinpanel.saving v SET open_seats = v.open_seats - part,
                   ended_at = CASE WHEN v.open_seats = part THEN spinpanel._now() END,
                   ended_by = CASE WHEN v.open_seats = part THEN 'bought again' END
            WHERE v.saving_id = kept.saving_id;
            number := number - part;
            EXIT WHEN number = 0;
        END LOOP;
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    -- What is told later must not stop what is done now
    RAISE WARNING 'spinpanel could not write what was saved: %', SQLERRM;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION _save_operation() IS 'internal: what an operation saved or spent, for the ledger';
CREATE TRIGGER save AFTER UPDATE ON operation FOR EACH ROW
    WHEN (NEW.status = 'done' AND OLD.status <> 'done' AND NEW.seats <> 0) EXECUTE FUNCTION _save_operation();

-- A renewal that took place without seats that we had scheduled to go: the obligation has seen its effect
CREATE FUNCTION _save_renewal() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s      record;
    number int := NEW.seats - NEW.returned;
    began  date := (NEW.effective_at AT TIME ZONE 'UTC')::date;
BEGIN
    SELECT x.term_duration, p.unit_price, p.currency, p.term_months INTO s
    FROM spinpanel.subscription x JOIN spinpanel.customer c USING (customer_id)
    LEFT JOIN spinpanel.price p ON p.offer_key = upper(x.offer_key) AND p.market = c.country AND p.is_chosen AND x.commerce = 'nce'
        AND p.term_duration = x.term_duration AND p.billing_cycle = x.billing_cycle AND p.valid_from <= NEW.effective_at AND NEW.effective_at < p.valid_until
    WHERE x.subscription_id = NEW.subscription_id;
    IF NOT FOUND OR number <= 0 THEN
        RETURN NULL;
    END IF;
    INSERT INTO spinpanel.saving (basis, customer_id, sku_id, subscription_id, account_id, run_id, adjustment_id, operation_id, seats, open_seats,
                                  unit_price, term_duration, amount, currency, period_from, period_until, explanation, created_at)
    VALUES ('renewal', NEW.customer_id, NEW.sku_id, NEW.subscription_id, NEW.account_id, NEW.run_id, NEW.adjustment_id, NEW.operation_id, number, number,
            s.unit_price, s.term_duration, round(number * s.unit_price, 2), s.currency, began,
            (began + CASE WHEN s.term_duration ~ '^P[0-9]{1,3}[DMY]$' THEN s.term_duration::interval END)::date,
            CASE WHEN s.unit_price IS NULL THEN format('%s seats did not renew; the price is not known', number)
                 ELSE format('%s seats did not renew, at %s %s a term (%s)', number, s.unit_price, s.currency, s.term_duration) END,
            spinpanel._now());
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    -- What is told later must not stop what is done now
    RAISE WARNING 'spinpanel could not write what was saved: %', SQLERRM;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION _save_renewal() IS 'internal: what a renewal without seats saved, for the ledger';
CREATE TRIGGER save AFTER UPDATE ON obligation FOR EACH ROW
    WHEN (NEW.stage = 'after' AND OLD.stage <> 'after' AND NEW.kind IN ('scheduled', 'ended')) EXECUTE FUNCTION _save_renewal();

CREATE VIEW spinpanel_report.saving WITH (security_barrier) AS
SELECT v.saving_id,
       v.basis,
       v.customer_id,
       v.sku_id,
       v.subscription_id,
       v.account_id,
       v.run_id,
       v.adjustment_id,
       v.seats,
       v.unit_price,
       v.term_duration,
       v.amount,
       v.currency,
       v.amount IS NOT NULL AS is_amount_known,
       v.is_price_estimated,
       v.period_from AS period_from_on,
       v.period_until AS period_until_on,
       v.explanation,
       v.created_at AS saved_at,
       (v.created_at AT TIME ZONE 'UTC')::date AS saved_on,
       v.seats > 0 AND v.ended_at IS NULL AND coalesce(v.period_until, 'infinity') > ((SELECT spinpanel._now()) AT TIME ZONE 'UTC')::date AS is_running,
       coalesce((v.ended_at AT TIME ZONE 'UTC')::date, CASE WHEN v.period_until <= ((SELECT spinpanel._now()) AT TIME ZONE 'UTC')::date THEN v.period_until END) AS ended_on,
       coalesce(v.ended_by, CASE WHEN v.period_until <= ((SELECT spinpanel._now()) AT TIME ZONE 'UTC')::date THEN 'term over' END) AS ended_by
FROM spinpanel.saving v
WHERE (SELECT r.sees_all FROM spinpanel._reader r) OR v.customer_id IN (SELECT c.customer_id FROM spinpanel._visible_customer c);
COMMENT ON VIEW spinpanel_report.saving IS 'money that came back, a row for each change that brought it, and rows below 0 for seats bought again: sums are net. Sum by currency';
COMMENT ON COLUMN spinpanel_report.saving.saving_id IS 'id of the saving';
COMMENT ON COLUMN spinpanel_report.saving.basis IS 'refund: Microsoft credited the rest of the term; renewal: a term began without these seats; legacy: seats of legacy commerce are no longer billed; bought again';
COMMENT ON COLUMN spinpanel_report.saving.customer_id IS 'the customer';
COMMENT ON COLUMN spinpanel_report.saving.sku_id IS 'the product';
COMMENT ON COLUMN spinpanel_report.saving.subscription_id IS 'the subscription';
COMMENT ON COLUMN spinpanel_report.saving.account_id IS 'our account';
COMMENT ON COLUMN spinpanel_report.saving.run_id IS 'the run that decided it';
COMMENT ON COLUMN spinpanel_report.saving.adjustment_id IS 'the decision, with its reason';
COMMENT ON COLUMN spinpanel_report.saving.seats IS 'seats no longer billed; below 0: bought again';
COMMENT ON COLUMN spinpanel_report.saving.unit_price IS 'of a seat for the whole term';
COMMENT ON COLUMN spinpanel_report.saving.term_duration IS 'the term';
COMMENT ON COLUMN spinpanel_report.saving.amount IS 'money saved to the end of the term; below 0: spent again; NULL: the price is not known';
COMMENT ON COLUMN spinpanel_report.saving.currency IS 'of the amount';
COMMENT ON COLUMN spinpanel_report.saving.is_amount_known IS 'the price was known';
COMMENT ON COLUMN spinpanel_report.saving.is_price_estimated IS 'no price sheet tells the price of the term''s start: it was that of the day';
COMMENT ON COLUMN spinpanel_report.saving.period_from_on IS 'first day saved';
COMMENT ON COLUMN spinpanel_report.saving.period_until_on IS 'first day that does not count any more; NULL: open';
COMMENT ON COLUMN spinpanel_report.saving.explanation IS 'how it was computed';
COMMENT ON COLUMN spinpanel_report.saving.saved_at IS 'when it was seen';
COMMENT ON COLUMN spinpanel_report.saving.saved_on IS 'when it was seen, UTC date';
COMMENT ON COLUMN spinpanel_report.saving.is_running IS 'its period is not over and its seats were not bought again';
COMMENT ON COLUMN spinpanel_report.saving.ended_on IS 'when it ended';
COMMENT ON COLUMN spinpanel_report.saving.ended_by IS 'what ended it: bought again, or term over';
