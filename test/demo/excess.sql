SELECT count(*) AS pools, sum(owned_seats) AS owned, sum(consumed_seats) AS assigned, sum(excess_seats) AS excess,
       sum(reducible_now) AS reducible_now, sum(reducible_at_renewal) AS at_renewal
FROM spinpanel.excess_seats();
\echo The largest:
SELECT customer_name, part_number, owned_seats AS owned, consumed_seats AS assigned, excess_seats AS excess,
       reducible_now AS now, reducible_at_renewal AS later, next_renewal::date
FROM spinpanel.excess_seats() WHERE excess_seats > 0 AND reducible_now + reducible_at_renewal > 0
ORDER BY excess_seats DESC, customer_name LIMIT 12;
\echo What must not be touched, and why:
SELECT customer_name, part_number, owned_seats AS owned, consumed_seats AS assigned, blocked_by
FROM spinpanel.excess_seats() WHERE blocked_by IS NOT NULL AND blocked_by !~ 'switched off|adjustment is off' ORDER BY 1, 2;
