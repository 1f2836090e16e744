SELECT c.name AS customer, k.part_number, words(a.reason, 66) AS why
FROM spinpanel.adjustment a JOIN spinpanel.run USING (run_id) JOIN spinpanel.customer c ON c.customer_id = a.customer_id
LEFT JOIN spinpanel.sku k ON k.sku_id = a.sku_id
WHERE kind = 'nightly' AND a.action = 'none'
ORDER BY a.reason ~ 'person|needed|access|never' DESC, length(a.reason) DESC, c.name LIMIT 8;
