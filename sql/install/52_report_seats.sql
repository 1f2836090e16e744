-- Reporting: seats --------------------------------------------------------------------------

CREATE VIEW spinpanel_report.subscription WITH (security_barrier) AS
SELECT s.subscription_id,
       s.customer_id,
       s.sku_id,
       s.account_id,
       y.name AS account_name,
       s.offer_key,
       s.offer_name,
       s.friendly_name,
       s.commerce,
       s.status,
       s.quantity AS seats,
       s.term_duration,
       s.billing_cycle,
       s.gone_at IS NULL AND s.status = 'active' AS is_active,
       s.is_trial OR coalesce(f.is_trial, false) AS is_trial,
       s.gone_at IS NULL AND s.status = 'active' AND s.commerce IN ('nce', 'legacy') AND NOT (s.is_trial OR coalesce(f.is_trial, false))
           AND y.status <> 'disconnected' AS is_owned,
       s.parent_subscription_id IS NOT NULL AS is_addon,
       s.auto_renew AS is_auto_renewing,
       s.gone_at IS NULL AND s.status = 'active' AND (NOT s.auto_renew OR s.cancel_at_term) AS is_ending,
       s.status = 'suspended' AND s.our_suspension AS is_suspended_by_us,
       s.created_at AS bought_at,
       (s.created_at AT TIME ZONE 'UTC')::date AS bought_on,
       s.effective_start AS term_start_at,
       (s.effective_start AT TIME ZONE 'UTC')::date AS term_start_on,
       s.term_end AS term_end_at,
       (s.term_end AT TIME ZONE 'UTC')::date AS term_end_on,
       s.cancellation_allowed_until AS cancellable_until_at,
       s.next_quantity AS next_term_seats,
       CASE WHEN s.refund_until = '{}' THEN 0
            ELSE coalesce((SELECT sum(q.seats)::int FROM unnest(s.refund_quantity, s.refund_until) AS q (seats, until)
                           WHERE q.until > (SELECT spinpanel._now())), 0) END AS refundable_seats,
       CASE WHEN s.refund_until <> '{}' THEN (SELECT max(u) FROM unnest(s.refund_until) u WHERE u > (SELECT spinpanel._now())) END AS refundable_until_at,
       s.first_seen_at,
       s.changed_at,
       s.gone_at,
       coalesce(b.unit_price, n.unit_price) AS unit_price,
       round(coalesce(b.unit_price, n.unit_price) / coalesce(b.term_months, n.term_months), 4) AS price_per_seat_month,
       CASE WHEN s.gone_at IS NULL AND s.status IN ('active', 'suspended') AND NOT (s.is_trial OR coalesce(f.is_trial, false))
            THEN round(s.quantity * coalesce(b.unit_price, n.unit_price) / coalesce(b.term_months, n.term_months), 2) END AS amount_month,
       coalesce(b.currency, n.currency) AS currency,
       b.offer_key IS NULL AND n.offer_key IS NOT NULL AS is_price_estimated,
       coalesce(o.price, d.price) AS sell_price_per_seat_month,
       CASE WHEN s.gone_at IS NULL AND s.status = 'active' AND NOT (s.is_trial OR coalesce(f.is_trial, false))
            THEN s.quantity * coalesce(o.price, d.price) END AS sell_amount_month,
       CASE WHEN o.price IS NULL THEN d.currency ELSE o.currency END AS sell_currency
FROM spinpanel.subscription s
JOIN spinpanel.account y USING (account_id)
LEFT JOIN spinpanel.offer f USING (offer_key)
LEFT JOIN spinpanel.customer c ON c.customer_id = s.customer_id
-- As in _subscription_price, without reading subscriptions twice
LEFT JOIN spinpanel.price b ON s.commerce = 'nce' AND b.offer_key = upper(s.offer_key) AND b.market = c.country AND b.is_chosen
    AND b.term_duration = s.term_duration AND b.billing_cycle = s.billing_cycle AND b.valid_from <= s.effective_start AND s.effective_start < b.valid_until
LEFT JOIN spinpanel.price n ON s.commerce = 'nce' AND n.offer_key = upper(s.offer_key) AND n.market = c.country AND n.is_chosen
    AND n.term_duration = s.term_duration AND n.billing_cycle = s.billing_cycle AND n.valid_from <= (SELECT spinpanel._now()) AND (SELECT spinpanel._now()) < n.valid_until
LEFT JOIN spinpanel._sell_price_now o ON o.customer_id = s.customer_id AND o.sku_id = s.sku_id
LEFT JOIN spinpanel._sell_price_now d ON d.customer_id IS NULL AND d.sku_id = s.sku_id
WHERE (SELECT v.sees_all FROM spinpanel._reader v) OR s.customer_id IN (SELECT v.customer_id FROM spinpanel._visible_customer v);
COMMENT ON VIEW spinpanel_report.subscription IS 'subscriptions as Partner Center said last: one row each, ended ones included';
COMMENT ON COLUMN spinpanel_report.subscription.subscription_id IS 'id at Partner Center';
COMMENT ON COLUMN spinpanel_report.subscription.customer_id IS 'the customer';
COMMENT ON COLUMN spinpanel_report.subscription.sku_id IS 'the product; NULL: not known yet';
COMMENT ON COLUMN spinpanel_report.subscription.account_id IS 'our account that sells it';
COMMENT ON COLUMN spinpanel_report.subscription.account_name IS 'its name';
COMMENT ON COLUMN spinpanel_report.subscription.offer_key IS 'productId:skuId (New Commerce) or the offer''s GUID (legacy)';
COMMENT ON COLUMN spinpanel_report.subscription.offer_name IS 'Microsoft''s name of the offer';
COMMENT ON COLUMN spinpanel_report.subscription.friendly_name IS 'the partner''s or customer''s name';
COMMENT ON COLUMN spinpanel_report.subscription.commerce IS 'nce, legacy, or other: never touched';
COMMENT ON COLUMN spinpanel_report.subscription.status IS 'active, suspended, deleted, expired, ...';
COMMENT ON COLUMN spinpanel_report.subscription.seats IS 'quantity';
COMMENT ON COLUMN spinpanel_report.subscription.term_duration IS 'P1M, P1Y, P3Y';
COMMENT ON COLUMN spinpanel_report.subscription.billing_cycle IS 'monthly, annual, ...';
COMMENT ON COLUMN spinpanel_report.subscription.is_active IS 'listed and active';
COMMENT ON COLUMN spinpanel_report.subscription.is_trial IS 'a trial';
COMMENT ON COLUMN spinpanel_report.subscription.is_owned IS 'its seats are ours to give back: active, paid, no trial';
COMMENT ON COLUMN spinpanel_report.subscription.is_addon IS 'an add-on of another subscription';
COMMENT ON COLUMN spinpanel_report.subscription.is_auto_renewing IS 'renews by itself';
COMMENT ON COLUMN spinpanel_report.subscription.is_ending IS 'active, and ends with its term';
COMMENT ON COLUMN spinpanel_report.subscription.is_suspended_by_us IS 'suspended by spinpanel';
COMMENT ON COLUMN spinpanel_report.subscription.bought_at IS 'when it was bought';
COMMENT ON COLUMN spinpanel_report.subscription.bought_on IS 'when it was bought, UTC date';
COMMENT ON COLUMN spinpanel_report.subscription.term_start_at IS 'begin of the term';
COMMENT ON COLUMN spinpanel_report.subscription.term_start_on IS 'begin of the term, UTC date';
COMMENT ON COLUMN spinpanel_report.subscription.term_end_at IS 'first moment of the next term';
COMMENT ON COLUMN spinpanel_report.subscription.term_end_on IS 'first day of the next term, UTC';
COMMENT ON COLUMN spinpanel_report.subscription.cancellable_until_at IS 'can be cancelled whole until then';
COMMENT ON COLUMN spinpanel_report.subscription.next_term_seats IS 'seats scheduled for the next term; NULL: as they are';
COMMENT ON COLUMN spinpanel_report.subscription.refundable_seats IS 'seats that Microsoft takes back today';
COMMENT ON COLUMN spinpanel_report.subscription.refundable_until_at IS 'until when the last of them can go; NULL: none can';
COMMENT ON COLUMN spinpanel_report.subscription.first_seen_at IS 'first read';
COMMENT ON COLUMN spinpanel_report.subscription.changed_at IS 'last read that differed';
COMMENT ON COLUMN spinpanel_report.subscription.gone_at IS 'no longer listed since';
COMMENT ON COLUMN spinpanel_report.subscription.unit_price IS 'what Microsoft asks for a seat and the whole running term; NULL: not known (legacy commerce never is)';
COMMENT ON COLUMN spinpanel_report.subscription.price_per_seat_month IS 'the same for a month';
COMMENT ON COLUMN spinpanel_report.subscription.amount_month IS 'what Microsoft asks for all of its seats and a month; NULL: not known, a trial, or no longer billed';
COMMENT ON COLUMN spinpanel_report.subscription.currency IS 'of these';
COMMENT ON COLUMN spinpanel_report.subscription.is_price_estimated IS 'no price sheet tells the price of the term''s start: it is today''s';
COMMENT ON COLUMN spinpanel_report.subscription.sell_price_per_seat_month IS 'what the partner asks for a seat and month (set_sell_price())';
COMMENT ON COLUMN spinpanel_report.subscription.sell_amount_month IS 'the same for all of its seats';
COMMENT ON COLUMN spinpanel_report.subscription.sell_currency IS 'of what the partner asks';

CREATE VIEW spinpanel_report.seat_balance WITH (security_barrier) AS
SELECT p.customer_id,
       p.sku_id,
       p.owned_seats,
       greatest(p.active_units - p.owned_seats, 0) AS foreign_seats,
       p.active_units AS assignable_seats,
       p.consumed_units AS assigned_seats,
       coalesce(w.seats, 0)::int AS waiting_seats,
       greatest(p.active_units - p.consumed_units, 0) AS unused_seats,
       greatest(p.consumed_units - p.active_units, 0) AS lacking_seats,
       coalesce(k.warning_units, 0) AS grace_seats,
       coalesce(k.suspended_units, 0) AS suspended_seats,
       p.holders AS known_holders,
       p.holders_read_at,
       coalesce(k.target_type = 'Tenant', false) AS is_tenant_wide,
       p.doubt IS NOT NULL AS is_doubted,
       p.doubt,
       k.gone_at IS NULL AND k.sku_id IS NOT NULL AS is_reported
FROM spinpanel.pool p
LEFT JOIN spinpanel.subscribed_sku k USING (customer_id, sku_id)
LEFT JOIN (
    SELECT q.customer_id, q.sku_id, count(*) AS seats FROM spinpanel.license_request q
    WHERE q.waiting AND q.kind = 'assign' GROUP BY 1, 2) w USING (customer_id, sku_id)
WHERE (SELECT v.sees_all FROM spinpanel._reader v) OR p.customer_id IN (SELECT v.customer_id FROM spinpanel._visible_customer v);
COMMENT ON VIEW spinpanel_report.seat_balance IS 'seats of each product at each customer, as last read: one row per customer and SKU';
COMMENT ON COLUMN spinpanel_report.seat_balance.customer_id IS 'the customer';
COMMENT ON COLUMN spinpanel_report.seat_balance.sku_id IS 'the product';
COMMENT ON COLUMN spinpanel_report.seat_balance.owned_seats IS 'seats of our own active, paid subscriptions';
COMMENT ON COLUMN spinpanel_report.seat_balance.foreign_seats IS 'assignable seats beyond these: of other suppliers, trials';
COMMENT ON COLUMN spinpanel_report.seat_balance.assignable_seats IS 'seats that can be assigned';
COMMENT ON COLUMN spinpanel_report.seat_balance.assigned_seats IS 'seats assigned, as Microsoft reports';
COMMENT ON COLUMN spinpanel_report.seat_balance.waiting_seats IS 'assignments asked for that the report does not show yet';
COMMENT ON COLUMN spinpanel_report.seat_balance.unused_seats IS 'assignable seats that nobody has';
COMMENT ON COLUMN spinpanel_report.seat_balance.lacking_seats IS 'more seats assigned than there are';
COMMENT ON COLUMN spinpanel_report.seat_balance.grace_seats IS 'seats of subscriptions past their end, in grace';
COMMENT ON COLUMN spinpanel_report.seat_balance.suspended_seats IS 'seats of suspended subscriptions';
COMMENT ON COLUMN spinpanel_report.seat_balance.known_holders IS 'users known to hold it';
COMMENT ON COLUMN spinpanel_report.seat_balance.holders_read_at IS 'as of when; NULL: not read';
COMMENT ON COLUMN spinpanel_report.seat_balance.is_tenant_wide IS 'holds for the whole tenant: not assigned to users';
COMMENT ON COLUMN spinpanel_report.seat_balance.is_doubted IS 'the numbers reported last are not believed until a second reading agrees';
COMMENT ON COLUMN spinpanel_report.seat_balance.doubt IS 'why not';
COMMENT ON COLUMN spinpanel_report.seat_balance.is_reported IS 'Microsoft still lists the product for the customer';

CREATE FUNCTION _excess(customer_id uuid)
RETURNS TABLE (sku_id uuid, owned_seats int, foreign_seats int, consumed_seats int, waiting_seats int, spare_seats int,
               excess_seats int, reducible_now int, reducible_at_renewal int, next_renewal timestamptz, blocked_by text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER COST 1000 ROWS 5
SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.sku_id, e.owned_seats, e.foreign_seats, e.consumed_seats, e.waiting_seats, e.spare_seats,
           e.excess_seats, e.reducible_now, e.reducible_at_renewal, e.next_renewal, e.blocked_by
    FROM spinpanel.excess_seats($1::text) e
$$;
COMMENT ON FUNCTION _excess(uuid) IS 'internal: excess_seats() of one customer, for the reporting views; who reads these cannot call it by name';

-- Customers whose kept plan is the present answer: as excess_seats() judges it, but that stale data is planned afresh here
CREATE VIEW _excess_kept AS
SELECT x.customer_id FROM spinpanel.customer_excess x
WHERE x.holds_from <= (SELECT spinpanel._now()) AND (SELECT spinpanel._now()) < x.holds_until
  AND NOT EXISTS (SELECT FROM spinpanel.excess_void v WHERE v.customer_id IS NULL)
  AND NOT EXISTS (SELECT FROM spinpanel.excess_void v WHERE v.customer_id = x.customer_id)
  AND NOT EXISTS (SELECT FROM spinpanel.operation o WHERE o.customer_id = x.customer_id AND o.status IN ('queued', 'sending', 'unknown'))
  AND NOT EXISTS (SELECT FROM spinpanel.license_request q WHERE q.customer_id = x.customer_id AND q.waiting AND q.kind = 'assign')
  AND NOT EXISTS (SELECT FROM spinpanel.customer_account a WHERE a.customer_id = x.customer_id AND a.gone_at IS NULL
                  AND least(a.subscriptions_read_at, a.subscribed_skus_read_at) < (SELECT spinpanel._now() - current_setting('spinpanel.max_data_age')::interval));
COMMENT ON VIEW _excess_kept IS 'internal: customers of whom pool_excess says what a plan would say now';
COMMENT ON COLUMN _excess_kept.customer_id IS 'the customer';

CREATE VIEW spinpanel_report.excess WITH (security_barrier) AS
SELECT e.customer_id,
       e.sku_id,
       e.owned_seats,
       e.consumed_seats AS assigned_seats,
       e.waiting_seats,
       e.spare_seats,
       e.excess_seats AS unused_seats,
       greatest(e.excess_seats - e.reducible_now - e.reducible_at_renewal, 0) AS reassignable_seats,
       e.reducible_now AS reducible_now_seats,
       e.reducible_at_renewal AS reducible_at_renewal_seats,
       e.next_renewal AS next_renewal_at,
       (e.next_renewal AT TIME ZONE 'UTC')::date AS next_renewal_on,
       coalesce(r.auto_license_adjustment, false) AS is_adjusted,
       e.blocked_by IS NOT NULL AS is_blocked,
       e.blocked_by,
       m.is_counted,
       round(p.price, 4) AS price_per_seat_month,
       CASE WHEN m.is_counted THEN round(e.excess_seats * p.price, 2) END AS unused_amount_month,
       CASE WHEN m.is_counted THEN round(e.reducible_now * p.price, 2) END AS reducible_now_amount_month,
       CASE WHEN m.is_counted THEN round(e.reducible_at_renewal * p.price, 2) END AS reducible_at_renewal_amount_month,
       p.currency
FROM (
    SELECT k.customer_id, k.sku_id, k.owned_seats, k.foreign_seats, k.consumed_seats, k.waiting_seats, k.spare_seats, k.excess_seats,
           k.reducible_now, k.reducible_at_renewal, k.next_renewal, k.blocked_by
    FROM spinpanel.pool_excess k WHERE k.customer_id IN (SELECT h.customer_id FROM spinpanel._excess_kept h)
    UNION ALL
    SELECT y.customer_id, f.sku_id, f.owned_seats, f.foreign_seats, f.consumed_seats, f.waiting_seats, f.spare_seats, f.excess_seats,
           f.reducible_now, f.reducible_at_renewal, f.next_renewal, f.blocked_by
    FROM spinpanel.customer y CROSS JOIN LATERAL spinpanel._excess(y.customer_id) f
    WHERE y.gone_at IS NULL AND NOT EXISTS (SELECT FROM spinpanel._excess_kept h WHERE h.customer_id = y.customer_id)) e
LEFT JOIN spinpanel.relationship r ON r.customer_id = e.customer_id
LEFT JOIN (
    SELECT s.customer_id, s.sku_id, sum(s.quantity * x.unit_price / x.term_months) / nullif(sum(s.quantity), 0) AS price, min(x.currency) AS currency
    FROM spinpanel.subscription s LEFT JOIN spinpanel._subscription_price x USING (subscription_id)
    LEFT JOIN spinpanel.offer f USING (offer_key)
    WHERE s.gone_at IS NULL AND s.status = 'active' AND NOT (s.is_trial OR coalesce(f.is_trial, false))
    GROUP BY s.customer_id, s.sku_id
    HAVING count(*) = count(x.unit_price / x.term_months) AND min(x.currency) = max(x.currency)) p ON p.customer_id = e.customer_id AND p.sku_id = e.sku_id
-- In the planner's words
CROSS JOIN LATERAL (SELECT e.blocked_by IS NULL OR e.blocked_by !~ '^(Tenant SKU|SKU that is never assigned|trial or free|excluded by a rule)' AS is_counted) m
WHERE e.sku_id IS NOT NULL
  AND ((SELECT v.sees_all FROM spinpanel._reader v) OR e.customer_id IN (SELECT v.customer_id FROM spinpanel._visible_customer v));
COMMENT ON VIEW spinpanel_report.excess IS 'what nobody uses, and what of it can be given back: one row per customer and SKU';
COMMENT ON COLUMN spinpanel_report.excess.customer_id IS 'the customer';
COMMENT ON COLUMN spinpanel_report.excess.sku_id IS 'the product';
COMMENT ON COLUMN spinpanel_report.excess.owned_seats IS 'seats of our own active, paid subscriptions';
COMMENT ON COLUMN spinpanel_report.excess.assigned_seats IS 'seats assigned, by the greater of what is reported and what is known';
COMMENT ON COLUMN spinpanel_report.excess.waiting_seats IS 'assignments asked for that the report does not show yet';
COMMENT ON COLUMN spinpanel_report.excess.spare_seats IS 'unused seats that are to be kept';
COMMENT ON COLUMN spinpanel_report.excess.unused_seats IS 'owned seats beyond these';
COMMENT ON COLUMN spinpanel_report.excess.reassignable_seats IS 'of them, those that no known date gives back: they can only be assigned to somebody';
COMMENT ON COLUMN spinpanel_report.excess.reducible_now_seats IS 'of them, those that Microsoft takes back today';
COMMENT ON COLUMN spinpanel_report.excess.reducible_at_renewal_seats IS 'of them, those that can go at a renewal that is known';
COMMENT ON COLUMN spinpanel_report.excess.next_renewal_at IS 'the next renewal';
COMMENT ON COLUMN spinpanel_report.excess.next_renewal_on IS 'the next renewal, UTC date';
COMMENT ON COLUMN spinpanel_report.excess.is_adjusted IS 'the night gives them back by itself';
COMMENT ON COLUMN spinpanel_report.excess.is_blocked IS 'something forbids it';
COMMENT ON COLUMN spinpanel_report.excess.blocked_by IS 'what; "switched off" is the customer''s switch';
COMMENT ON COLUMN spinpanel_report.excess.is_counted IS 'unused seats are a loss: no free, trial, device or tenant-wide product, and excluded by no rule';
COMMENT ON COLUMN spinpanel_report.excess.price_per_seat_month IS 'what Microsoft asks for a seat and month, on the average of the owned seats; NULL: not known of each of them';
COMMENT ON COLUMN spinpanel_report.excess.unused_amount_month IS 'what the unused seats cost a month';
COMMENT ON COLUMN spinpanel_report.excess.reducible_now_amount_month IS 'what those cost a month that can go today';
COMMENT ON COLUMN spinpanel_report.excess.reducible_at_renewal_amount_month IS 'what those cost a month that can go at a renewal';
COMMENT ON COLUMN spinpanel_report.excess.currency IS 'of these';

CREATE VIEW spinpanel_report.renewal WITH (security_barrier) AS
SELECT s.subscription_id,
       s.customer_id,
       s.sku_id,
       s.account_id,
       s.offer_name,
       s.term_end AS renews_at,
       (s.term_end AT TIME ZONE 'UTC')::date AS renews_on,
       s.commerce,
       s.term_duration,
       s.billing_cycle,
       s.quantity AS seats,
       CASE WHEN NOT s.auto_renew OR s.cancel_at_term THEN 0 ELSE coalesce(s.next_quantity, s.quantity) END AS next_term_seats,
       CASE WHEN NOT s.auto_renew OR s.cancel_at_term THEN 0 ELSE coalesce(s.next_quantity, s.quantity) END - s.quantity AS planned_change,
       s.auto_renew AND NOT s.cancel_at_term AS is_renewing,
       s.next_quantity IS NOT NULL OR NOT s.auto_renew OR s.cancel_at_term OR s.next_other_product AS is_changed_at_renewal,
       CASE WHEN s.our_end OR s.our_next_quantity IS NOT NULL AND s.our_next_quantity IS NOT DISTINCT FROM s.next_quantity THEN 'spinpanel'
            WHEN s.next_quantity IS NOT NULL OR NOT s.auto_renew OR s.cancel_at_term OR s.next_other_product THEN 'a person' END AS planned_by,
       coalesce(p.consumed_units, 0) AS pool_assigned_seats,
       greatest(coalesce(least(p.owned_seats, p.active_units) - p.consumed_units, 0), 0) AS pool_unused_seats,
       n.unit_price AS next_unit_price,
       CASE WHEN NOT s.auto_renew OR s.cancel_at_term THEN 0 ELSE coalesce(s.next_quantity, s.quantity) END * n.unit_price AS next_term_amount,
       (CASE WHEN NOT s.auto_renew OR s.cancel_at_term THEN 0 ELSE coalesce(s.next_quantity, s.quantity) END - s.quantity) * n.unit_price AS planned_change_amount,
       n.currency
FROM spinpanel.subscription s
LEFT JOIN spinpanel.offer f USING (offer_key)
LEFT JOIN spinpanel.customer c ON c.customer_id = s.customer_id
LEFT JOIN spinpanel.price n ON s.commerce = 'nce' AND n.offer_key = upper(s.offer_key) AND n.market = c.country AND n.is_chosen
    AND n.term_duration = s.term_duration AND n.billing_cycle = s.billing_cycle AND n.valid_from <= (SELECT spinpanel._now()) AND (SELECT spinpanel._now()) < n.valid_until
LEFT JOIN spinpanel.pool p ON p.customer_id = s.customer_id AND p.sku_id = s.sku_id
WHERE s.gone_at IS NULL AND s.status = 'active' AND s.term_end > (SELECT spinpanel._now()) AND NOT (s.is_trial OR coalesce(f.is_trial, false))
  AND ((SELECT v.sees_all FROM spinpanel._reader v) OR s.customer_id IN (SELECT v.customer_id FROM spinpanel._visible_customer v));
COMMENT ON VIEW spinpanel_report.renewal IS 'coming ends of terms, and what is planned for them: one row per active subscription';
COMMENT ON COLUMN spinpanel_report.renewal.subscription_id IS 'the subscription';
COMMENT ON COLUMN spinpanel_report.renewal.customer_id IS 'the customer';
COMMENT ON COLUMN spinpanel_report.renewal.sku_id IS 'the product';
COMMENT ON COLUMN spinpanel_report.renewal.account_id IS 'our account that sells it';
COMMENT ON COLUMN spinpanel_report.renewal.offer_name IS 'Microsoft''s name of the offer';
COMMENT ON COLUMN spinpanel_report.renewal.renews_at IS 'first moment of the next term';
COMMENT ON COLUMN spinpanel_report.renewal.renews_on IS 'first day of the next term, UTC';
COMMENT ON COLUMN spinpanel_report.renewal.commerce IS 'nce or legacy';
COMMENT ON COLUMN spinpanel_report.renewal.term_duration IS 'P1M, P1Y, P3Y';
COMMENT ON COLUMN spinpanel_report.renewal.billing_cycle IS 'monthly, annual, ...';
COMMENT ON COLUMN spinpanel_report.renewal.seats IS 'seats today';
COMMENT ON COLUMN spinpanel_report.renewal.next_term_seats IS 'seats from then on, as things stand scheduled; 0: it ends';
COMMENT ON COLUMN spinpanel_report.renewal.planned_change IS 'the difference; below 0: seats go';
COMMENT ON COLUMN spinpanel_report.renewal.is_renewing IS 'it goes on';
COMMENT ON COLUMN spinpanel_report.renewal.is_changed_at_renewal IS 'something is scheduled for that day';
COMMENT ON COLUMN spinpanel_report.renewal.planned_by IS 'who scheduled it: spinpanel or a person; NULL: nothing is scheduled';
COMMENT ON COLUMN spinpanel_report.renewal.pool_assigned_seats IS 'assigned seats of the product at the customer, over all subscriptions';
COMMENT ON COLUMN spinpanel_report.renewal.pool_unused_seats IS 'owned seats of the product that nobody has, over all subscriptions';
COMMENT ON COLUMN spinpanel_report.renewal.next_unit_price IS 'what Microsoft asks today for a seat and a whole term; NULL: not known';
COMMENT ON COLUMN spinpanel_report.renewal.next_term_amount IS 'what the next term will cost at that price';
COMMENT ON COLUMN spinpanel_report.renewal.planned_change_amount IS 'what the planned change makes of it; below 0: so much is saved a term';
COMMENT ON COLUMN spinpanel_report.renewal.currency IS 'of these';
