-- Settings, rules, pausing and deciding do what they say, and say it in the history.
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS spinpanel;
BEGIN;
INSERT INTO spinpanel.customer (customer_id, name, domain, first_seen_at) VALUES
    ('00000000-0000-4000-8000-000000000001', 'Contoso', 'contoso.example', '2030-01-01'),
    ('00000000-0000-4000-8000-000000000002', 'Fabrikam', 'fabrikam.example', '2030-01-01');
INSERT INTO spinpanel.relationship (customer_id) SELECT customer_id FROM spinpanel.customer;
INSERT INTO spinpanel.sku (sku_id, part_number) VALUES ('00000000-0000-4000-9000-000000000001', 'SPB');

-- defaults
SELECT auto_license_adjustment, auto_increment, partner_center_sync, purchases, spare_seats, cooldown, renewal_lead,
       removal_limit_percent, removal_limit_seats, purchase_limit_percent, purchase_limit_seats, usage_location
FROM spinpanel.relationship WHERE customer_id = '00000000-0000-4000-8000-000000000001';

-- NULL leaves a setting as it is; case does not matter
SELECT spare_seats, cooldown, usage_location FROM spinpanel.set_relationship('CONTOSO', spare_seats => 2, usage_location => 'de');
SELECT spare_seats, cooldown, usage_location FROM spinpanel.set_relationship('contoso.example', cooldown => '3 days');
SELECT spare_seats, cooldown, usage_location FROM spinpanel.set_relationship('Contoso', reset => '{spare_seats,usage_location}');
SELECT customer_id, spare_seats FROM spinpanel.set_relationship('*', spare_seats => 1) ORDER BY 1;

-- rules
SELECT customer_id, sku_id, excluded, spare_seats FROM spinpanel.set_license_rule('*', 'spb', excluded => true);
SELECT customer_id, sku_id, excluded, spare_seats FROM spinpanel.set_license_rule('*', 'SPB', spare_seats => 3);
SELECT customer_id, sku_id, excluded, spare_seats FROM spinpanel.set_license_rule('*', 'SPB', reset => '{excluded}');
SELECT customer_id, sku_id, min_seats FROM spinpanel.set_license_rule('Contoso', '*', min_seats => 7);
SELECT count(*) FROM spinpanel.license_rule;
SELECT spare_seats FROM spinpanel.drop_license_rule('*', 'SPB');
SELECT count(*) FROM spinpanel.license_rule;

-- pausing
SELECT spinpanel.pause('Contoso', 'month-end closing'), spinpanel.pause('Contoso');
SELECT spinpanel.pause();
SELECT name, paused_by = session_user AS by_me, pause_reason FROM spinpanel.relationship JOIN spinpanel.customer USING (customer_id) ORDER BY 1;
SELECT spinpanel.resume('*'), spinpanel.resume();

-- deciding
INSERT INTO spinpanel.adjustment (run_id, customer_id, subscription_id, action, from_quantity, to_quantity, seats, reason, status, created_at)
VALUES (1, '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-a000-000000000001', 'reduce', 9, 5, 4, 'nobody uses them', 'awaiting_approval', now()),
       (1, '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-a000-000000000002', 'reduce', 9, 5, 4, 'nobody uses them', 'awaiting_approval', now());
SELECT status, approved, decided_by = session_user AS by_me FROM spinpanel.approve((SELECT min(adjustment_id) FROM spinpanel.adjustment));
SELECT status, approved, decision_reason FROM spinpanel.reject((SELECT max(adjustment_id) FROM spinpanel.adjustment), 'they hire in May');

-- nights
SELECT spinpanel.nightly() = spinpanel.nightly() AS one_a_day;
UPDATE spinpanel.run SET status = 'failed';
SELECT spinpanel.nightly() IS NOT NULL AS again;
SELECT kind, status, night = (now() AT TIME ZONE 'UTC')::date AS today FROM spinpanel.run;

SELECT event, count(*) FROM spinpanel.history WHERE actor = session_user GROUP BY 1 ORDER BY 1;
ROLLBACK;
