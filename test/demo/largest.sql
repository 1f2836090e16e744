SELECT customer_name AS customer, part_number, owned_seats AS owned, consumed_seats AS assigned, excess_seats AS excess,
       reducible_now AS now, reducible_at_renewal AS at_renewal, next_renewal::date
FROM spinpanel.excess_seats() WHERE reducible_now + reducible_at_renewal > 0
ORDER BY excess_seats DESC, customer_name LIMIT 12;
