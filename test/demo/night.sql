SELECT run_id, kind, night, status, customers, customers_failed AS failed, requests, seats_removed,
       date_trunc('milliseconds', finished_at - started_at) AS took
FROM spinpanel.run WHERE kind = 'nightly';
