-- Reporting: what was decided, asked for and done -----------------------------------------------

CREATE VIEW spinpanel_report.adjustment WITH (security_barrier) AS
SELECT a.adjustment_id,
       a.run_id,
       a.customer_id,
       a.sku_id,
       a.subscription_id,
       a.account_id,
       a.action,
       a.from_quantity AS from_seats,
       a.to_quantity AS to_seats,
       a.seats,
       a.effective_on,
       a.amount,
       a.currency,
       a.reason,
       a.status,
       a.action <> 'none' AS is_change,
       a.status = 'done' AND a.action <> 'none' AS is_done,
       a.status = 'awaiting_approval' AS is_awaiting_approval,
       a.approved AS is_approved,
       a.decided_by::text AS decided_by,
       a.decided_at,
       a.decision_reason,
       a.error,
       a.created_at,
       (a.created_at AT TIME ZONE 'UTC')::date AS created_on,
       a.finished_at,
       (a.finished_at AT TIME ZONE 'UTC')::date AS finished_on
FROM spinpanel.adjustment a
WHERE (SELECT v.sees_all FROM spinpanel._reader v) OR a.customer_id IN (SELECT v.customer_id FROM spinpanel._visible_customer v);
COMMENT ON VIEW spinpanel_report.adjustment IS 'decisions of runs, each with its reason: one row each, decisions to leave things alone included';
COMMENT ON COLUMN spinpanel_report.adjustment.adjustment_id IS 'id, for approve() and reject()';
COMMENT ON COLUMN spinpanel_report.adjustment.run_id IS 'the run; NULL: a purchase for requests';
COMMENT ON COLUMN spinpanel_report.adjustment.customer_id IS 'the customer';
COMMENT ON COLUMN spinpanel_report.adjustment.sku_id IS 'the product; NULL: none in particular';
COMMENT ON COLUMN spinpanel_report.adjustment.subscription_id IS 'the subscription to change';
COMMENT ON COLUMN spinpanel_report.adjustment.account_id IS 'our account';
COMMENT ON COLUMN spinpanel_report.adjustment.action IS 'reduce, suspend, cancel, reduce_at_renewal, end_at_term, raise, reactivate, none';
COMMENT ON COLUMN spinpanel_report.adjustment.from_seats IS 'seats when it was decided';
COMMENT ON COLUMN spinpanel_report.adjustment.to_seats IS 'seats wanted';
COMMENT ON COLUMN spinpanel_report.adjustment.seats IS 'seats given back (or, of a raise, added)';
COMMENT ON COLUMN spinpanel_report.adjustment.effective_on IS 'UTC date on which the seats go';
COMMENT ON COLUMN spinpanel_report.adjustment.amount IS 'money that it gives back at once, saves per term or, of a raise, costs to the end of the term; NULL: no price was known';
COMMENT ON COLUMN spinpanel_report.adjustment.currency IS 'of the amount';
COMMENT ON COLUMN spinpanel_report.adjustment.reason IS 'in words and numbers';
COMMENT ON COLUMN spinpanel_report.adjustment.status IS 'planned (dry run), awaiting_approval, queued, done, failed, skipped, rejected, superseded';
COMMENT ON COLUMN spinpanel_report.adjustment.is_change IS 'something is to change; false: the row says why nothing does';
COMMENT ON COLUMN spinpanel_report.adjustment.is_done IS 'it was carried out';
COMMENT ON COLUMN spinpanel_report.adjustment.is_awaiting_approval IS 'it waits for a person';
COMMENT ON COLUMN spinpanel_report.adjustment.is_approved IS 'a person let it pass';
COMMENT ON COLUMN spinpanel_report.adjustment.decided_by IS 'who decided';
COMMENT ON COLUMN spinpanel_report.adjustment.decided_at IS 'when';
COMMENT ON COLUMN spinpanel_report.adjustment.decision_reason IS 'what they said';
COMMENT ON COLUMN spinpanel_report.adjustment.error IS 'why it was not carried out';
COMMENT ON COLUMN spinpanel_report.adjustment.created_at IS 'when it was planned';
COMMENT ON COLUMN spinpanel_report.adjustment.created_on IS 'when it was planned, UTC date';
COMMENT ON COLUMN spinpanel_report.adjustment.finished_at IS 'when it ended';
COMMENT ON COLUMN spinpanel_report.adjustment.finished_on IS 'when it ended, UTC date';

CREATE VIEW spinpanel_report.request WITH (security_barrier) AS
SELECT q.request_id,
       q.kind,
       q.customer_id,
       q.sku_id,
       q.user_id,
       q.upn AS user_name,
       q.account_id,
       q.subscription_id,
       q.status,
       q.finished_at IS NULL AS is_open,
       q.status = 'done' AS is_done,
       q.status = 'failed' AS is_failed,
       q.seat_bought AS has_bought_seat,
       q.waits_for IS NOT DISTINCT FROM 'approval' AND q.finished_at IS NULL AS is_awaiting_approval,
       q.reference,
       q.requested_by::text AS requested_by,
       CASE WHEN q.finished_at IS NULL THEN q.state_reason ELSE q.error END AS reason,
       q.created_at,
       (q.created_at AT TIME ZONE 'UTC')::date AS created_on,
       q.finished_at,
       (q.finished_at AT TIME ZONE 'UTC')::date AS finished_on,
       round(extract(epoch FROM coalesce(q.finished_at, (SELECT spinpanel._now())) - q.created_at), 3) AS duration_seconds
FROM spinpanel.license_request q
WHERE (SELECT v.sees_all FROM spinpanel._reader v) OR q.customer_id IN (SELECT v.customer_id FROM spinpanel._visible_customer v);
COMMENT ON VIEW spinpanel_report.request IS 'assignments and releases that were asked for, of the time that spinpanel.retention names: one row each';
COMMENT ON COLUMN spinpanel_report.request.request_id IS 'id of the request';
COMMENT ON COLUMN spinpanel_report.request.kind IS 'assign or release';
COMMENT ON COLUMN spinpanel_report.request.customer_id IS 'the customer';
COMMENT ON COLUMN spinpanel_report.request.sku_id IS 'the product';
COMMENT ON COLUMN spinpanel_report.request.user_id IS 'the user, once known';
COMMENT ON COLUMN spinpanel_report.request.user_name IS 'userPrincipalName as asked for';
COMMENT ON COLUMN spinpanel_report.request.account_id IS 'our account that carries it out';
COMMENT ON COLUMN spinpanel_report.request.subscription_id IS 'in which a seat was bought for it';
COMMENT ON COLUMN spinpanel_report.request.status IS 'queued, buying, provisioning, assigning, done, failed, cancelled';
COMMENT ON COLUMN spinpanel_report.request.is_open IS 'it has not ended';
COMMENT ON COLUMN spinpanel_report.request.is_done IS 'it was carried out';
COMMENT ON COLUMN spinpanel_report.request.is_failed IS 'it failed';
COMMENT ON COLUMN spinpanel_report.request.has_bought_seat IS 'a seat was bought for it';
COMMENT ON COLUMN spinpanel_report.request.is_awaiting_approval IS 'it waits for a person';
COMMENT ON COLUMN spinpanel_report.request.reference IS 'the caller''s own';
COMMENT ON COLUMN spinpanel_report.request.requested_by IS 'who asked';
COMMENT ON COLUMN spinpanel_report.request.reason IS 'what it waits for, or why it failed';
COMMENT ON COLUMN spinpanel_report.request.created_at IS 'when it was asked for';
COMMENT ON COLUMN spinpanel_report.request.created_on IS 'when it was asked for, UTC date';
COMMENT ON COLUMN spinpanel_report.request.finished_at IS 'when it ended';
COMMENT ON COLUMN spinpanel_report.request.finished_on IS 'when it ended, UTC date';
COMMENT ON COLUMN spinpanel_report.request.duration_seconds IS 'how long it took, or takes so far';

CREATE VIEW spinpanel_report.run WITH (security_barrier) AS
SELECT r.run_id,
       r.kind,
       r.status,
       r.customer_id,
       r.dry_run AS is_dry_run,
       r.made_up AS is_made_up,
       r.status = 'failed' AS is_failed,
       r.night AS night_on,
       r.requested_by::text AS requested_by,
       r.created_at,
       (r.created_at AT TIME ZONE 'UTC')::date AS created_on,
       r.started_at,
       r.finished_at,
       (r.finished_at AT TIME ZONE 'UTC')::date AS finished_on,
       round(extract(epoch FROM r.finished_at - r.started_at), 3) AS duration_seconds,
       r.customers,
       r.customers_failed,
       r.requests AS requests_sent,
       r.seats_removed,
       r.error
FROM spinpanel.run r
WHERE (SELECT v.sees_all FROM spinpanel._reader v) OR r.customer_id IN (SELECT v.customer_id FROM spinpanel._visible_customer v);
COMMENT ON VIEW spinpanel_report.run IS 'passes over customers: one row each';
COMMENT ON COLUMN spinpanel_report.run.run_id IS 'id of the run';
COMMENT ON COLUMN spinpanel_report.run.kind IS 'sync, adjust, nightly';
COMMENT ON COLUMN spinpanel_report.run.status IS 'queued, running, done, failed';
COMMENT ON COLUMN spinpanel_report.run.customer_id IS 'the customer named; NULL: all';
COMMENT ON COLUMN spinpanel_report.run.is_dry_run IS 'decisions were only written down';
COMMENT ON COLUMN spinpanel_report.run.is_made_up IS 'started late, because pg_cron did not start it';
COMMENT ON COLUMN spinpanel_report.run.is_failed IS 'it failed as a whole';
COMMENT ON COLUMN spinpanel_report.run.night_on IS 'UTC date of a nightly run';
COMMENT ON COLUMN spinpanel_report.run.requested_by IS 'who asked';
COMMENT ON COLUMN spinpanel_report.run.created_at IS 'when they asked';
COMMENT ON COLUMN spinpanel_report.run.created_on IS 'when they asked, UTC date';
COMMENT ON COLUMN spinpanel_report.run.started_at IS 'when it began';
COMMENT ON COLUMN spinpanel_report.run.finished_at IS 'when it ended';
COMMENT ON COLUMN spinpanel_report.run.finished_on IS 'when it ended, UTC date';
COMMENT ON COLUMN spinpanel_report.run.duration_seconds IS 'how long it took';
COMMENT ON COLUMN spinpanel_report.run.customers IS 'customers in scope';
COMMENT ON COLUMN spinpanel_report.run.customers_failed IS 'customers that could not be read';
COMMENT ON COLUMN spinpanel_report.run.requests_sent IS 'requests sent to Partner Center';
COMMENT ON COLUMN spinpanel_report.run.seats_removed IS 'by how many seats the quantities that are billed fell, net of raises';
COMMENT ON COLUMN spinpanel_report.run.error IS 'why it failed, or what went wrong on the way';
