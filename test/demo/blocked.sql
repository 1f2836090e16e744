SELECT customer_name AS customer, part_number, owned_seats AS owned, foreign_seats AS "foreign", consumed_seats AS assigned,
       words(blocked_by, 40) AS blocked_by
FROM spinpanel.excess_seats() WHERE blocked_by <> 'switched off' ORDER BY 1, 2;
