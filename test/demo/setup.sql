SELECT item, ok, detail FROM spinpanel.check_setup() WHERE item !~ 'pg_cron|night';
SELECT count(*) AS customers, (SELECT count(*) FROM spinpanel.subscription) AS subscriptions,
       (SELECT sum(owned_seats) FROM spinpanel.pool) AS our_seats, (SELECT sum(consumed_units) FROM spinpanel.pool) AS assigned
FROM spinpanel.customer;
