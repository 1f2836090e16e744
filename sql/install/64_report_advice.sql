-- Advice: what a person may want to do.  Rows, never actions ---------------------------------------

CREATE VIEW spinpanel_report.advice WITH (security_barrier) AS
WITH core AS (
    -- Assigned seats that were there all the time of the last 90 days, of pools known that long
    SELECT h.customer_id, h.sku_id, min(h.consumed_units) AS stable_seats, max(h.consumed_units) AS most_seats
    FROM (SELECT x.customer_id, x.sku_id, x.consumed_units, x.read_at, lead(x.read_at) OVER w AS until, min(x.read_at) OVER (PARTITION BY x.customer_id, x.sku_id) AS since
          FROM spinpanel.seat_history x WINDOW w AS (PARTITION BY x.customer_id, x.sku_id ORDER BY x.read_at)) h
    WHERE coalesce(h.until, 'infinity') > (SELECT spinpanel._now()) - interval '90 days' AND h.since <= (SELECT spinpanel._now()) - interval '90 days'
    GROUP BY 1, 2),
term AS (
    SELECT s.customer_id, s.sku_id,
           coalesce(sum(s.quantity) FILTER (WHERE s.term_duration = 'P1M'), 0)::int AS monthly_seats,
           coalesce(sum(s.quantity) FILTER (WHERE s.term_duration <> 'P1M'), 0)::int AS committed_seats,
           min(x.next_unit_price) FILTER (WHERE s.term_duration = 'P1M') AS monthly_price,
           min(x.next_currency) FILTER (WHERE s.term_duration = 'P1M') AS currency,
           min(y.unit_price / 12) AS yearly_price
    FROM spinpanel.subscription s
    JOIN spinpanel.customer c USING (customer_id)
    LEFT JOIN spinpanel.offer f USING (offer_key)
    LEFT JOIN spinpanel._subscription_price x USING (subscription_id)
    LEFT JOIN spinpanel.price y ON y.offer_key = upper(s.offer_key) AND y.market = c.country AND y.is_chosen AND y.term_duration = 'P1Y' AND y.billing_cycle = 'monthly'
        AND y.currency = x.next_currency AND y.valid_from <= (SELECT spinpanel._now()) AND (SELECT spinpanel._now()) < y.valid_until
    WHERE s.gone_at IS NULL AND s.status = 'active' AND s.commerce = 'nce' AND NOT (s.is_trial OR coalesce(f.is_trial, false)) AND s.sku_id IS NOT NULL
    GROUP BY 1, 2),
found AS (
    SELECT t.customer_id, t.sku_id, 'commit for a year' AS kind, least(k.stable_seats - t.committed_seats, t.monthly_seats) AS seats,
           round(least(k.stable_seats - t.committed_seats, t.monthly_seats) * (t.monthly_price - t.yearly_price), 2) AS amount_month, t.currency,
           format('%s seats were in use all through the last 90 days; %s are bought by the month', k.stable_seats, t.monthly_seats) AS advice
    FROM core k JOIN term t USING (customer_id, sku_id)
    WHERE least(k.stable_seats - t.committed_seats, t.monthly_seats) > 0
    UNION ALL
    SELECT t.customer_id, t.sku_id, 'buy by the month', t.committed_seats - k.stable_seats, NULL, NULL,
           format('between %s and %s seats were in use in the last 90 days; all %s are committed for a year or more', k.stable_seats, k.most_seats, t.committed_seats)
    FROM core k JOIN term t USING (customer_id, sku_id)
    WHERE t.monthly_seats = 0 AND k.most_seats - k.stable_seats >= 3 AND t.committed_seats > k.stable_seats
    UNION ALL
    SELECT p.customer_id, p.sku_id, 'foreign seats', p.active_units - p.owned_seats, NULL, NULL,
           format('%s of %s assignable seats are of another supplier or a trial', p.active_units - p.owned_seats, p.active_units)
    FROM spinpanel.pool p WHERE p.active_units > p.owned_seats AND p.owned_seats > 0
    UNION ALL
    SELECT e.customer_id, e.sku_id, 'switch adjustment on', e.reducible_now_seats + e.reducible_at_renewal_seats,
           e.reducible_now_amount_month + e.reducible_at_renewal_amount_month, e.currency,
           format('auto license adjustment is off; it would give back %s seats now and %s at renewals', e.reducible_now_seats, e.reducible_at_renewal_seats)
    FROM spinpanel_report.excess e WHERE NOT e.is_adjusted AND e.is_counted AND e.reducible_now_seats + e.reducible_at_renewal_seats > 0)
SELECT f.customer_id, f.sku_id, f.kind, f.advice, f.seats, f.amount_month, f.currency
FROM found f
WHERE (SELECT v.sees_all FROM spinpanel._reader v) OR f.customer_id IN (SELECT v.customer_id FROM spinpanel._visible_customer v);
COMMENT ON VIEW spinpanel_report.advice IS 'what a person may want to do: one row per customer, product and kind of advice';
COMMENT ON COLUMN spinpanel_report.advice.customer_id IS 'the customer';
COMMENT ON COLUMN spinpanel_report.advice.sku_id IS 'the product';
COMMENT ON COLUMN spinpanel_report.advice.kind IS 'commit for a year, buy by the month, foreign seats, switch adjustment on';
COMMENT ON COLUMN spinpanel_report.advice.advice IS 'in words and numbers';
COMMENT ON COLUMN spinpanel_report.advice.seats IS 'seats concerned';
COMMENT ON COLUMN spinpanel_report.advice.amount_month IS 'what it would save a month; NULL: not known';
COMMENT ON COLUMN spinpanel_report.advice.currency IS 'of the amount';
