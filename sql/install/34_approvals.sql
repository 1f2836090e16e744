-- Decisions of people -------------------------------------------------------------------

CREATE FUNCTION _move_adjustments(ids bigint[], status text, why text) RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_sql_move_adjustments';
COMMENT ON FUNCTION _move_adjustments(bigint[], text, text) IS 'internal: adjustments change their status, with history and NOTIFY; see adjustment.h for the moves that there are';

CREATE FUNCTION _decide(adjustment_id bigint, approved boolean, reason text) RETURNS adjustment
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    decided spinpanel.adjustment;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_value(_decide.adjustment_id IS NOT NULL, 'adjustment_id');
    SELECT a.* INTO decided FROM spinpanel.adjustment a WHERE a.adjustment_id = _decide.adjustment_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002',
            MESSAGE = format('adjustment %s does not exist', _decide.adjustment_id),
            HINT = 'SELECT * FROM spinpanel.adjustment WHERE status = ''awaiting_approval'' lists those that wait.';
    END IF;
    IF decided.status <> 'awaiting_approval' THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format('adjustment %s does not await approval', _decide.adjustment_id),
            DETAIL = format('It is %s.', decided.status),
            HINT = CASE decided.status
                       WHEN 'planned' THEN 'It was planned by a dry run; SELECT spinpanel.adjust() plans in earnest.'
                       WHEN 'superseded' THEN 'A newer plan has replaced it; approve that one.'
                       ELSE 'SELECT * FROM spinpanel.adjustment WHERE status = ''awaiting_approval'' lists those that wait.'
                   END;
    END IF;

    -- A merge is one thing: who decides about a step of it decides about all of it.
    PERFORM spinpanel._move_adjustments(
        ARRAY(SELECT a.adjustment_id FROM spinpanel.adjustment a
              WHERE a.status = 'awaiting_approval' AND a.customer_id = decided.customer_id
                AND (a.adjustment_id = decided.adjustment_id OR a.run_id = decided.run_id AND a.merge = decided.merge)),
        CASE WHEN _decide.approved THEN 'queued' ELSE 'rejected' END, _decide.reason);

    SELECT a.* INTO decided FROM spinpanel.adjustment a WHERE a.adjustment_id = _decide.adjustment_id;
    RETURN decided;
END
$$;
COMMENT ON FUNCTION _decide(bigint, boolean, text) IS 'internal: approve() and reject()';

CREATE FUNCTION approve(adjustment_id bigint) RETURNS adjustment
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN spinpanel._decide(approve.adjustment_id, true, NULL);
END
$$;
COMMENT ON FUNCTION approve(bigint) IS
'Lets an adjustment that awaits approval be carried out, and returns its row. It is judged afresh before anything is sent, and never removes more than it showed. A step of a merge stands for the whole merge.
Errors: P0002 no such adjustment; 55000 it does not wait (the hint says what to do); 22004; 25006 on a standby.';

CREATE FUNCTION reject(adjustment_id bigint, reason text DEFAULT NULL) RETURNS adjustment
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN spinpanel._decide(reject.adjustment_id, false, reject.reason);
END
$$;
COMMENT ON FUNCTION reject(bigint, text) IS
'Ends an adjustment that awaits approval without carrying it out, and returns its row. reason: kept with it. A step of a merge stands for the whole merge. For 90 days no run removes seats of that subscription down to the quantity shown, or less far; what goes further waits for approval, whatever the limits say. A later approval about the subscription ends that.
Errors: P0002 no such adjustment; 55000 it does not wait; 22004; 25006 on a standby.';

CREATE FUNCTION _set_pause(only_id uuid, pausing boolean, reason text) RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    number int;
BEGIN
    PERFORM FROM spinpanel.relationship r WHERE only_id IS NULL OR r.customer_id = only_id
    ORDER BY r.customer_id FOR NO KEY UPDATE;
    WITH changed AS (
        UPDATE spinpanel.relationship r SET
            paused_at = CASE WHEN pausing THEN spinpanel._now() END,
            paused_by = CASE WHEN pausing THEN session_user END,
            pause_reason = CASE WHEN pausing THEN reason END
        WHERE (only_id IS NULL OR r.customer_id = only_id) AND (r.paused_at IS NULL) = pausing
        RETURNING r.customer_id
    )
    INSERT INTO spinpanel.history (at, event, customer_id, reason)
    SELECT spinpanel._now(), CASE WHEN pausing THEN 'paused' ELSE 'resumed' END, c.customer_id, reason
    FROM changed c;
    GET DIAGNOSTICS number = ROW_COUNT;
    RETURN number;
END
$$;
COMMENT ON FUNCTION _set_pause(uuid, boolean, text) IS 'internal: pause() and resume()';

CREATE FUNCTION pause(customer text DEFAULT '*', reason text DEFAULT NULL) RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM spinpanel._require_primary();
    RETURN spinpanel._set_pause(spinpanel._customer(pause.customer, true), true, pause.reason);
END
$$;
COMMENT ON FUNCTION pause(text, text) IS
'Pauses a customer (''*'': all customers known now) and returns how many were not paused before. While paused nothing is changed at Partner Center and requests wait; reading goes on, and what an earlier change wiped or took too much is still put right. reason: kept with the relationship.
Errors: P0002 or 22023 for the customer; 22004; 25006 on a standby.';

CREATE FUNCTION resume(customer text DEFAULT '*') RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM spinpanel._require_primary();
    RETURN spinpanel._set_pause(spinpanel._customer(resume.customer, true), false, NULL);
END
$$;
COMMENT ON FUNCTION resume(text) IS
'Ends the pause of a customer (''*'': of all) and returns how many were paused. What waited goes on at once.
Errors: P0002 or 22023 for the customer; 22004; 25006 on a standby.';
