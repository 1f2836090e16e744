SELECT a.action, a.status, count(*), sum(a.seats) AS seats FROM spinpanel.adjustment a JOIN spinpanel.run USING (run_id)
WHERE kind = 'nightly' GROUP BY 1, 2 ORDER BY 1, 2;
