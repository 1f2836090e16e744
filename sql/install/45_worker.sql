-- Numbers for monitoring ------------------------------------------------------------------------

CREATE VIEW spinpanel_report.worker WITH (security_barrier) AS
SELECT facts.pid IS NOT NULL AND facts.enabled AND NOT facts.idles AND facts.failures < 3
           AND facts.database = current_database() AS is_working,
       facts.enabled AS is_enabled,
       facts.pid AS process_id,
       facts.started_at,
       facts.last_success_at,
       facts.failures AS failures_in_a_row,
       facts.last_error_at,
       facts.last_error,
       facts.requests_last_minute,
       (SELECT coalesce(sum(a.requests_per_minute), 0) FROM spinpanel.account a WHERE a.status = 'active') AS requests_per_minute_limit,
       (SELECT count(*) FROM spinpanel.account a WHERE a.status = 'stopped') AS accounts_stopped,
       request.open AS requests_open,
       request.oldest AS oldest_open_request_at,
       request.failed AS requests_failed_last_day,
       operation.open AS operations_open,
       operation.unknown AS operations_unknown,
       operation.oldest_unknown AS oldest_unknown_operation_at,
       obligation.open AS obligations_open,
       obligation.late AS obligations_late,
       (SELECT count(*) FROM spinpanel.adjustment a WHERE a.status = 'awaiting_approval') AS approvals_open,
       relationship.customers,
       relationship.paused AS customers_paused,
       reading.stale AS customers_stale,
       nullif(reading.oldest, '-infinity') AS oldest_read_at,
       run.run_id AS last_run_id,
       run.kind AS last_run_kind,
       run.status AS last_run_status,
       run.finished_at AS last_run_finished_at,
       (SELECT spinpanel._cron_next(i.schedule, spinpanel._now()) FROM spinpanel.installation i) AS next_run_at
FROM spinpanel._worker_facts() facts
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE q.status IN ('queued', 'buying', 'provisioning', 'assigning')) AS open,
           min(q.created_at) FILTER (WHERE q.status IN ('queued', 'buying', 'provisioning', 'assigning')) AS oldest,
           count(*) FILTER (WHERE q.status = 'failed' AND q.finished_at > spinpanel._now() - interval '1 day') AS failed
    FROM spinpanel.license_request q
    WHERE q.status IN ('queued', 'buying', 'provisioning', 'assigning') OR q.status = 'failed') request
CROSS JOIN LATERAL (
    SELECT count(*) AS open, count(*) FILTER (WHERE o.status = 'unknown') AS unknown,
           min(o.created_at) FILTER (WHERE o.status = 'unknown') AS oldest_unknown
    FROM spinpanel.operation o WHERE o.status IN ('queued', 'sending', 'unknown')) operation
CROSS JOIN LATERAL (
    SELECT count(*) AS open, count(*) FILTER (WHERE s.late) AS late FROM spinpanel._obligation_state s) obligation
CROSS JOIN LATERAL (
    SELECT count(*) AS customers, count(*) FILTER (WHERE r.paused_at IS NOT NULL) AS paused
    FROM spinpanel.relationship r JOIN spinpanel.customer c ON c.customer_id = r.customer_id AND c.gone_at IS NULL) relationship
CROSS JOIN LATERAL (
    SELECT min(x.read_at) AS oldest,
           count(*) FILTER (WHERE x.read_at < spinpanel._now() - current_setting('spinpanel.max_data_age')::interval) AS stale
    FROM (SELECT least(coalesce(ca.subscriptions_read_at, '-infinity'),
                       CASE WHEN ca.license_access IS FALSE THEN 'infinity'
                            ELSE coalesce(ca.subscribed_skus_read_at, '-infinity') END) AS read_at
          FROM spinpanel.customer_account ca
          JOIN spinpanel.account a ON a.account_id = ca.account_id AND a.status <> 'disconnected'
          JOIN spinpanel.relationship r ON r.customer_id = ca.customer_id AND r.partner_center_sync
          WHERE ca.gone_at IS NULL) x) reading
LEFT JOIN LATERAL (
    SELECT r.run_id, r.kind, r.status, r.finished_at FROM spinpanel.run r
    WHERE r.status IN ('done', 'failed') ORDER BY r.run_id DESC LIMIT 1) run ON true
-- Its numbers are those of all customers
WHERE (SELECT v.sees_all FROM spinpanel._reader v);
COMMENT ON VIEW spinpanel_report.worker IS 'one row for monitoring: whether the worker works, what is open and for how long, how old the data is; none for a limited reader';
COMMENT ON COLUMN spinpanel_report.worker.is_working IS 'the worker runs in this database, is enabled, and its units of work succeed';
COMMENT ON COLUMN spinpanel_report.worker.is_enabled IS 'the setting spinpanel.enabled';
COMMENT ON COLUMN spinpanel_report.worker.process_id IS 'its process on the server; NULL: it does not run';
COMMENT ON COLUMN spinpanel_report.worker.started_at IS 'when that process started';
COMMENT ON COLUMN spinpanel_report.worker.last_success_at IS 'when a unit of work was last committed, since the server started';
COMMENT ON COLUMN spinpanel_report.worker.failures_in_a_row IS 'how often in a row a unit of work failed, of the kind that fails most';
COMMENT ON COLUMN spinpanel_report.worker.last_error_at IS 'when a unit of work last failed, since the server started';
COMMENT ON COLUMN spinpanel_report.worker.last_error IS 'what it said, or why the worker idles';
COMMENT ON COLUMN spinpanel_report.worker.requests_last_minute IS 'requests sent to Partner Center and the token endpoint in the last minute';
COMMENT ON COLUMN spinpanel_report.worker.requests_per_minute_limit IS 'how many it may send a minute, over all active accounts';
COMMENT ON COLUMN spinpanel_report.worker.accounts_stopped IS 'accounts whose credentials Microsoft refused';
COMMENT ON COLUMN spinpanel_report.worker.requests_open IS 'licence requests that have not ended';
COMMENT ON COLUMN spinpanel_report.worker.oldest_open_request_at IS 'when the oldest of them was asked for';
COMMENT ON COLUMN spinpanel_report.worker.requests_failed_last_day IS 'licence requests that failed in the last 24 hours';
COMMENT ON COLUMN spinpanel_report.worker.operations_open IS 'changes at Partner Center that are queued, being sent or of unknown outcome';
COMMENT ON COLUMN spinpanel_report.worker.operations_unknown IS 'changes that were sent, of unknown outcome';
COMMENT ON COLUMN spinpanel_report.worker.oldest_unknown_operation_at IS 'when the oldest of these was decided';
COMMENT ON COLUMN spinpanel_report.worker.obligations_open IS 'changes of ours that are watched until they have settled';
COMMENT ON COLUMN spinpanel_report.worker.obligations_late IS 'those that could not be looked at, or whose seats could not be given back, for two hours: seats may be missing there';
COMMENT ON COLUMN spinpanel_report.worker.approvals_open IS 'adjustments that wait for approve() or reject()';
COMMENT ON COLUMN spinpanel_report.worker.customers IS 'customers that an account of ours lists';
COMMENT ON COLUMN spinpanel_report.worker.customers_paused IS 'customers for whom nothing is changed until resume()';
COMMENT ON COLUMN spinpanel_report.worker.customers_stale IS 'customers whose data is older than spinpanel.max_data_age, so that nothing is removed';
COMMENT ON COLUMN spinpanel_report.worker.oldest_read_at IS 'when the customer that waits longest was last read; NULL: one was never read';
COMMENT ON COLUMN spinpanel_report.worker.last_run_id IS 'the run that ended last';
COMMENT ON COLUMN spinpanel_report.worker.last_run_kind IS 'sync, adjust or nightly';
COMMENT ON COLUMN spinpanel_report.worker.last_run_status IS 'done or failed';
COMMENT ON COLUMN spinpanel_report.worker.last_run_finished_at IS 'when it ended';
COMMENT ON COLUMN spinpanel_report.worker.next_run_at IS 'when the next night is due; NULL: none is scheduled';
