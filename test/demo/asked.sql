SELECT r.request_id AS id, c.name AS customer, r.kind, split_part(r.upn, '@', 1) AS "user", k.part_number, r.status,
       r.seat_bought AS bought, date_trunc('milliseconds', r.finished_at - r.created_at) AS took
FROM spinpanel.license_request r JOIN spinpanel.customer c USING (customer_id) LEFT JOIN spinpanel.sku k USING (sku_id) ORDER BY 1;
