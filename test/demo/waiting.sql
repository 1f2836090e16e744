SELECT a.adjustment_id AS id, c.name AS customer, k.part_number, a.action, a.seats, words(a.reason, 52) AS reason
FROM spinpanel.adjustment a JOIN spinpanel.customer c USING (customer_id) LEFT JOIN spinpanel.sku k USING (sku_id)
WHERE a.status = 'awaiting_approval' ORDER BY 1;
