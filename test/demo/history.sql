SELECT to_char(h.at, 'HH24:MI:SS.MS') AS at, h.event, left(h.subscription_id::text, 8) AS subscription,
       h.before -> 'quantity' AS was, coalesce(h.after ->> 'quantity', h.after ->> 'status') AS wanted, why(h.reason, 46) AS why
FROM spinpanel.history h JOIN spinpanel.customer c USING (customer_id)
WHERE c.name = 'Fabrikam Dental' AND h.event ~ 'adjustment decided|operation (sending|done)' ORDER BY h.history_id;
