-- What nobody uses, and what a run would do about it ----------------------------
--
-- Both only read, so they are STABLE: they show the snapshot of the query that
-- calls them.

CREATE FUNCTION excess_seats(customer text DEFAULT '*')
RETURNS TABLE (customer_id uuid, customer_name text, sku_id uuid, part_number text,
               owned_seats int, foreign_seats int, consumed_seats int, waiting_seats int,
               spare_seats int, excess_seats int, reducible_now int,
               reducible_at_renewal int, next_renewal timestamptz, blocked_by text)
LANGUAGE C STABLE PARALLEL RESTRICTED SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_excess_seats';
COMMENT ON FUNCTION excess_seats(text) IS
'per pool of a customer (''*'': all): owned, assigned and unused seats, how many can go now and at a renewal, or what forbids it';

CREATE FUNCTION plan_adjustment(customer text DEFAULT '*', as_of timestamptz DEFAULT now())
RETURNS SETOF adjustment
LANGUAGE C STABLE PARALLEL RESTRICTED SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_plan_adjustment';
COMMENT ON FUNCTION plan_adjustment(text, timestamptz) IS
'the adjustments that a run would make at that moment, from what was read last, without any request; nothing is written down';
