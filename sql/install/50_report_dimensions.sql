-- Reporting: what things are ----------------------------------------------------------------
--
-- The views of spinpanel_report are read by BI tools: their names, columns and types are a contract
-- (test/pgtap/report.sql).  Keys have the same name everywhere, flags begin with is_ or has_, each moment (..._at) that
-- people group by stands beside its UTC date (..._on), types are plain, money is numeric with its currency beside it.
-- What is not known is NULL, never 0.  Every view is a security barrier and shows a limited reader its customers only.

CREATE VIEW spinpanel_report.customer WITH (security_barrier) AS
SELECT c.customer_id,
       c.name AS customer_name,
       c.domain,
       c.country,
       a.accounts AS account_name,
       c.gone_at IS NULL AS is_active,
       c.first_seen_at,
       (c.first_seen_at AT TIME ZONE 'UTC')::date AS first_seen_on,
       c.gone_at AS left_at,
       (c.gone_at AT TIME ZONE 'UTC')::date AS left_on,
       coalesce(r.auto_license_adjustment, false) AS is_adjusted,
       coalesce(r.auto_increment, false) AS is_incremented,
       coalesce(r.partner_center_sync, true) AS is_synced,
       coalesce(r.purchases, true) AS is_buying,
       r.paused_at IS NOT NULL AS is_paused,
       r.paused_at,
       coalesce(r.spare_seats, 0) AS spare_seats,
       coalesce(a.access, false) AS has_license_access,
       a.read_at,
       a.error AS read_error
FROM spinpanel.customer c
LEFT JOIN spinpanel.relationship r USING (customer_id)
LEFT JOIN LATERAL (
    SELECT string_agg(y.name, ', ' ORDER BY y.name) AS accounts, bool_or(x.license_access) AS access,
           min(least(x.subscriptions_read_at, x.subscribed_skus_read_at)) AS read_at,
           string_agg(DISTINCT coalesce(x.subscriptions_error, x.subscribed_skus_error), '; ') AS error
    FROM spinpanel.customer_account x JOIN spinpanel.account y USING (account_id)
    WHERE x.customer_id = c.customer_id AND (x.gone_at IS NULL OR c.gone_at IS NOT NULL)) a ON true
WHERE (SELECT v.sees_all FROM spinpanel._reader v) OR c.customer_id IN (SELECT v.customer_id FROM spinpanel._visible_customer v);
COMMENT ON VIEW spinpanel_report.customer IS 'customers, those that left included: one row each';
COMMENT ON COLUMN spinpanel_report.customer.customer_id IS 'the customer''s tenant';
COMMENT ON COLUMN spinpanel_report.customer.customer_name IS 'company name';
COMMENT ON COLUMN spinpanel_report.customer.domain IS 'default domain';
COMMENT ON COLUMN spinpanel_report.customer.country IS 'two letters; also the market of its prices';
COMMENT ON COLUMN spinpanel_report.customer.account_name IS 'our accounts that sell to it';
COMMENT ON COLUMN spinpanel_report.customer.is_active IS 'an account of ours lists it';
COMMENT ON COLUMN spinpanel_report.customer.first_seen_at IS 'first listed';
COMMENT ON COLUMN spinpanel_report.customer.first_seen_on IS 'first listed, UTC date';
COMMENT ON COLUMN spinpanel_report.customer.left_at IS 'no longer listed since';
COMMENT ON COLUMN spinpanel_report.customer.left_on IS 'no longer listed since, UTC date';
COMMENT ON COLUMN spinpanel_report.customer.is_adjusted IS 'auto license adjustment is on: unused seats are given back';
COMMENT ON COLUMN spinpanel_report.customer.is_incremented IS 'auto increment is on: each assignment orders a new seat';
COMMENT ON COLUMN spinpanel_report.customer.is_synced IS 'read in every run';
COMMENT ON COLUMN spinpanel_report.customer.is_buying IS 'seats may be bought';
COMMENT ON COLUMN spinpanel_report.customer.is_paused IS 'nothing is changed until resume()';
COMMENT ON COLUMN spinpanel_report.customer.paused_at IS 'since when';
COMMENT ON COLUMN spinpanel_report.customer.spare_seats IS 'unused seats to keep per product, where no rule says otherwise';
COMMENT ON COLUMN spinpanel_report.customer.has_license_access IS 'how many licences are assigned can be read';
COMMENT ON COLUMN spinpanel_report.customer.read_at IS 'as of when its figures are; NULL: not all of it was read yet';
COMMENT ON COLUMN spinpanel_report.customer.read_error IS 'why the last reading failed; NULL: it did not';

CREATE VIEW spinpanel_report.product WITH (security_barrier) AS
SELECT s.sku_id,
       s.part_number,
       coalesce(nullif(s.name, ''), s.part_number) AS product_name,
       coalesce(n.never_assigned, d.part_number IS NOT NULL) AS is_never_assigned,
       CASE WHEN coalesce(n.never_assigned, d.part_number IS NOT NULL) THEN coalesce(n.reason, d.reason) END AS never_assigned_reason,
       s.sku_id IN (SELECT k.sku_id FROM spinpanel.subscribed_sku k WHERE k.target_type = 'Tenant') AS is_tenant_wide
FROM spinpanel.sku s
LEFT JOIN spinpanel.never_assigned_sku_shipped d ON d.part_number = upper(s.part_number)
LEFT JOIN spinpanel.never_assigned_sku n ON n.part_number = upper(s.part_number)
WHERE (SELECT v.sees_all FROM spinpanel._reader v)
   OR s.sku_id IN (SELECT k.sku_id FROM spinpanel.subscribed_sku k JOIN spinpanel._visible_customer v USING (customer_id));
COMMENT ON VIEW spinpanel_report.product IS 'products that customers have seats of: one row per SKU';
COMMENT ON COLUMN spinpanel_report.product.sku_id IS 'Entra SKU';
COMMENT ON COLUMN spinpanel_report.product.part_number IS 'e.g. SPE_E3';
COMMENT ON COLUMN spinpanel_report.product.product_name IS 'Microsoft''s name';
COMMENT ON COLUMN spinpanel_report.product.is_never_assigned IS 'device, server, room or capacity product: its seats are not assigned to users, so none counts as unused';
COMMENT ON COLUMN spinpanel_report.product.never_assigned_reason IS 'why not';
COMMENT ON COLUMN spinpanel_report.product.is_tenant_wide IS 'holds for a whole tenant: not assigned to users';

CREATE VIEW spinpanel_report.calendar WITH (security_barrier) AS
SELECT d::date AS day,
       extract(isoyear FROM d)::int AS iso_year,
       extract(week FROM d)::int AS iso_week,
       to_char(d, 'IYYY-"W"IW') AS iso_week_name,
       extract(isodow FROM d)::int AS weekday,
       extract(year FROM d)::int AS year,
       extract(quarter FROM d)::int AS quarter,
       to_char(d, 'YYYY-"Q"Q') AS quarter_name,
       extract(month FROM d)::int AS month,
       to_char(d, 'YYYY-MM') AS month_name,
       date_trunc('month', d)::date AS month_start,
       (date_trunc('month', d) + interval '1 month - 1 day')::date AS month_end,
       d = date_trunc('month', d) + interval '1 month - 1 day' AS is_month_end,
       extract(isodow FROM d) > 5 AS is_weekend
FROM generate_series(timestamp '2015-01-01', timestamp '2044-12-31', interval '1 day') d;
COMMENT ON VIEW spinpanel_report.calendar IS 'a row a day, 2015 to 2044, to join dates with';
COMMENT ON COLUMN spinpanel_report.calendar.day IS 'the day';
COMMENT ON COLUMN spinpanel_report.calendar.iso_year IS 'year of the ISO week';
COMMENT ON COLUMN spinpanel_report.calendar.iso_week IS 'ISO week, 1 to 53';
COMMENT ON COLUMN spinpanel_report.calendar.iso_week_name IS 'e.g. 2026-W05';
COMMENT ON COLUMN spinpanel_report.calendar.weekday IS '1 Monday to 7 Sunday';
COMMENT ON COLUMN spinpanel_report.calendar.year IS 'year';
COMMENT ON COLUMN spinpanel_report.calendar.quarter IS '1 to 4';
COMMENT ON COLUMN spinpanel_report.calendar.quarter_name IS 'e.g. 2026-Q1';
COMMENT ON COLUMN spinpanel_report.calendar.month IS '1 to 12';
COMMENT ON COLUMN spinpanel_report.calendar.month_name IS 'e.g. 2026-01';
COMMENT ON COLUMN spinpanel_report.calendar.month_start IS 'first day of the month';
COMMENT ON COLUMN spinpanel_report.calendar.month_end IS 'last day of the month';
COMMENT ON COLUMN spinpanel_report.calendar.is_month_end IS 'it is that day';
COMMENT ON COLUMN spinpanel_report.calendar.is_weekend IS 'Saturday or Sunday';
