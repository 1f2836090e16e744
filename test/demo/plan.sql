SELECT c.name AS customer, k.part_number, a.action, a.from_quantity AS "from", a.to_quantity AS "to", why(a.reason, 34) AS why
FROM spinpanel.plan_adjustment() a JOIN spinpanel.customer c USING (customer_id) LEFT JOIN spinpanel.sku k USING (sku_id)
WHERE a.action <> 'none' ORDER BY a.effective_on, c.name, a.merge, a.action, a.from_quantity DESC;
