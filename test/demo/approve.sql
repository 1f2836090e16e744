SELECT c.name AS customer, k.part_number, a.action, a.seats, left(a.reason, 80) AS reason
FROM spinpanel.adjustment a JOIN spinpanel.customer c USING (customer_id) LEFT JOIN spinpanel.sku k USING (sku_id)
WHERE a.status = 'awaiting_approval' ORDER BY a.adjustment_id;
SELECT (spinpanel.approve(adjustment_id)).status AS approved FROM (SELECT adjustment_id FROM spinpanel.adjustment
WHERE status = 'awaiting_approval' ORDER BY adjustment_id LIMIT 2) a;
