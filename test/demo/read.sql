SELECT count(*) AS customers,
       (SELECT count(*) FROM spinpanel.subscription) AS subscriptions,
       (SELECT count(*) FROM spinpanel.pool) AS pools,
       (SELECT sum(owned_seats) FROM spinpanel.pool) AS our_seats,
       (SELECT sum(consumed_units) FROM spinpanel.pool) AS assigned
FROM spinpanel.customer;
