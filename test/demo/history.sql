SELECT to_char(h.at, 'HH24:MI:SS.MS') AS at, h.event, left(h.subscription_id::text, 8) AS subscription,
       h.before -> 'quantity' AS was, coalesce(h.after ->> 'quantity', h.after ->> 'status') AS wanted, left(h.reason, 60) AS reason
FROM spinpanel.history h JOIN spinpanel.customer c USING (customer_id)
WHERE c.name = 'Fabrikam Dental' AND h.event ~ 'operation|adjustment' ORDER BY h.history_id LIMIT 24;
