SELECT run_id, kind, night, status, customers, customers_failed AS failed, requests, seats_removed,
       date_trunc('milliseconds', finished_at - started_at) AS took
FROM spinpanel.run WHERE kind = 'nightly';
SELECT a.action, a.status, count(*), sum(a.seats) AS seats FROM spinpanel.adjustment a JOIN spinpanel.run USING (run_id)
WHERE kind = 'nightly' GROUP BY 1, 2 ORDER BY 1, 2;
\echo Some that were left alone, and why:
SELECT c.name AS customer, k.part_number, left(a.reason, 100) AS reason
FROM spinpanel.adjustment a JOIN spinpanel.run USING (run_id) JOIN spinpanel.customer c ON c.customer_id = a.customer_id
LEFT JOIN spinpanel.sku k ON k.sku_id = a.sku_id
WHERE kind = 'nightly' AND a.action = 'none' ORDER BY length(a.reason) DESC LIMIT 6;
