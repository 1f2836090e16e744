SELECT count(*) AS pools, sum(owned_seats) AS owned, sum(foreign_seats) AS "foreign", sum(consumed_seats) AS assigned,
       sum(excess_seats) AS excess, sum(reducible_now) AS reducible_now, sum(reducible_at_renewal) AS at_renewal
FROM spinpanel.excess_seats();
