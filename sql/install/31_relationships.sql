-- Settings of customers ----------------------------------------------------------------

CREATE FUNCTION set_relationship(
    customer                text,
    auto_license_adjustment boolean DEFAULT NULL,
    auto_increment          boolean DEFAULT NULL,
    partner_center_sync     boolean DEFAULT NULL,
    purchases               boolean DEFAULT NULL,
    spare_seats             int DEFAULT NULL,
    cooldown                interval DEFAULT NULL,
    renewal_lead            interval DEFAULT NULL,
    removal_limit_percent   int DEFAULT NULL,
    removal_limit_seats     int DEFAULT NULL,
    purchase_limit_percent  int DEFAULT NULL,
    purchase_limit_seats    int DEFAULT NULL,
    usage_location          text DEFAULT NULL,
    reset                   text[] DEFAULT NULL)
RETURNS SETOF relationship
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET intervalstyle = postgres
SET plan_cache_mode = force_custom_plan     -- one customer or all: never one plan for both
AS $$
#variable_conflict use_column
DECLARE
    settable constant text[] := ARRAY['auto_license_adjustment', 'auto_increment', 'partner_center_sync', 'purchases',
        'spare_seats', 'cooldown', 'renewal_lead', 'removal_limit_percent', 'removal_limit_seats',
        'purchase_limit_percent', 'purchase_limit_seats', 'usage_location'];
    only_id  uuid;
    wanted   jsonb;
    clashing text;
BEGIN
    PERFORM spinpanel._require_primary();
    only_id := spinpanel._customer(set_relationship.customer, true);

    PERFORM spinpanel._require_range(set_relationship.spare_seats::bigint, 0::bigint, 10000000::bigint, 'spare_seats'::text);
    PERFORM spinpanel._require_range(set_relationship.removal_limit_percent::bigint, 0::bigint, 100::bigint, 'removal_limit_percent'::text);
    PERFORM spinpanel._require_range(set_relationship.removal_limit_seats::bigint, 0::bigint, 10000000::bigint, 'removal_limit_seats'::text);
    PERFORM spinpanel._require_range(set_relationship.purchase_limit_percent::bigint, 0::bigint, 1000000::bigint, 'purchase_limit_percent'::text);
    PERFORM spinpanel._require_range(set_relationship.purchase_limit_seats::bigint, 0::bigint, 10000000::bigint, 'purchase_limit_seats'::text);
    IF set_relationship.cooldown < '0'::interval OR set_relationship.cooldown > '90 days'::interval THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'parameter "cooldown" must be between 0 and 90 days';
    END IF;
    IF set_relationship.renewal_lead < '26 hours'::interval OR set_relationship.renewal_lead > '400 days'::interval THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = 'parameter "renewal_lead" must be between 26 hours and 400 days',
            DETAIL = 'A run comes every 24 hours; with less lead a renewal could pass between two of them.';
    END IF;
    IF set_relationship.usage_location !~ '^[A-Za-z]{2}$' THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = 'parameter "usage_location" must be a country code of two letters',
            HINT = 'To have none again: reset => ARRAY[''usage_location''].';
    END IF;

    wanted := jsonb_strip_nulls(jsonb_build_object(
        'auto_license_adjustment', set_relationship.auto_license_adjustment,
        'auto_increment', set_relationship.auto_increment,
        'partner_center_sync', set_relationship.partner_center_sync,
        'purchases', set_relationship.purchases,
        'spare_seats', set_relationship.spare_seats,
        'cooldown', set_relationship.cooldown,
        'renewal_lead', set_relationship.renewal_lead,
        'removal_limit_percent', set_relationship.removal_limit_percent,
        'removal_limit_seats', set_relationship.removal_limit_seats,
        'purchase_limit_percent', set_relationship.purchase_limit_percent,
        'purchase_limit_seats', set_relationship.purchase_limit_seats,
        'usage_location', upper(set_relationship.usage_location)));
    wanted := wanted || spinpanel._defaults('spinpanel.relationship', settable, wanted, set_relationship.reset);

    INSERT INTO spinpanel.relationship (customer_id)
    SELECT c.customer_id FROM spinpanel.customer c
    WHERE (only_id IS NULL OR c.customer_id = only_id)
      AND NOT EXISTS (SELECT FROM spinpanel.relationship r WHERE r.customer_id = c.customer_id)
    ORDER BY c.customer_id
    ON CONFLICT DO NOTHING;

    -- In one order, so that two callers cannot block each other.
    PERFORM FROM spinpanel.relationship r WHERE only_id IS NULL OR r.customer_id = only_id
    ORDER BY r.customer_id FOR NO KEY UPDATE;

    SELECT string_agg(q.name, ', ') INTO clashing
    FROM (SELECT c.name
          FROM spinpanel.relationship r
          JOIN spinpanel.customer c ON c.customer_id = r.customer_id
          CROSS JOIN LATERAL jsonb_populate_record(r, wanted) n
          WHERE (only_id IS NULL OR r.customer_id = only_id) AND n.auto_license_adjustment AND n.auto_increment
          ORDER BY c.name LIMIT 10) q;
    IF clashing IS NOT NULL OR (set_relationship.auto_license_adjustment AND set_relationship.auto_increment) THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = 'auto_license_adjustment and auto_increment exclude each other',
            DETAIL = 'The first empties the stock of unused seats, the second keeps it.'
                     || coalesce(' Both would be on at: ' || clashing || '.', ''),
            HINT = 'To adjust and yet keep a stock, leave auto_increment off and set spare_seats to the number of seats to keep.';
    END IF;

    WITH change AS (
        SELECT r AS old, n AS new
        FROM spinpanel.relationship r CROSS JOIN LATERAL jsonb_populate_record(r, wanted) n
        WHERE (only_id IS NULL OR r.customer_id = only_id) AND n IS DISTINCT FROM r
    ), changed AS (
        UPDATE spinpanel.relationship t SET
            auto_license_adjustment = (change.new).auto_license_adjustment,
            auto_increment = (change.new).auto_increment,
            partner_center_sync = (change.new).partner_center_sync,
            purchases = (change.new).purchases,
            spare_seats = (change.new).spare_seats,
            cooldown = (change.new).cooldown,
            renewal_lead = (change.new).renewal_lead,
            removal_limit_percent = (change.new).removal_limit_percent,
            removal_limit_seats = (change.new).removal_limit_seats,
            purchase_limit_percent = (change.new).purchase_limit_percent,
            purchase_limit_seats = (change.new).purchase_limit_seats,
            usage_location = (change.new).usage_location,
            changed_at = spinpanel._now(),
            changed_by = session_user
        FROM change WHERE t.customer_id = (change.new).customer_id
        RETURNING t.customer_id, to_jsonb(change.old) AS before
    )
    INSERT INTO spinpanel.history (at, event, customer_id, before, after)
    SELECT spinpanel._now(), 'relationship set', changed.customer_id,
           (SELECT jsonb_object_agg(k, changed.before -> k) FROM jsonb_object_keys(wanted) k), wanted
    FROM changed;

    RETURN QUERY SELECT r.* FROM spinpanel.relationship r
    WHERE only_id IS NULL OR r.customer_id = only_id ORDER BY r.customer_id;
END
$$;
COMMENT ON FUNCTION set_relationship(text, boolean, boolean, boolean, boolean, int, interval, interval, int, int, int, int, text, text[]) IS
'Changes a customer''s settings (''*'': of all customers known now) and returns the rows. NULL leaves a setting as it is.
auto_license_adjustment: runs give unused seats back. auto_increment: each assignment buys a seat. They exclude each other; spare_seats keeps a stock under adjustment.
partner_center_sync: runs read the customer. purchases: seats may be bought. spare_seats: unused seats to keep in each pool.
cooldown (0 to 90 days): how long a freed or added seat stays. renewal_lead (26 hours to 400 days): how long before a renewal it is prepared.
removal_limit_*, purchase_limit_*: more than the larger of both within 24 hours waits for approve(). usage_location: country code given to users who have none before a licence is assigned.
reset: names of settings to put back to their default.
Errors: 22023 (also where both switches would be on), 22004, P0002 unknown customer, 25006 on a standby.';

CREATE FUNCTION set_license_rule(
    customer      text,
    sku           text,
    excluded      boolean DEFAULT NULL,
    spare_seats   int DEFAULT NULL,
    min_seats     int DEFAULT NULL,
    max_seats     int DEFAULT NULL,
    default_offer text DEFAULT NULL,
    term_duration text DEFAULT NULL,
    billing_cycle text DEFAULT NULL,
    reset         text[] DEFAULT NULL)
RETURNS license_rule
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    nobody constant uuid := '00000000-0000-0000-0000-000000000000';     -- as in the index
    settable constant text[] := ARRAY['excluded', 'spare_seats', 'min_seats', 'max_seats', 'default_offer',
                                      'term_duration', 'billing_cycle'];
    cycles   constant text[] := ARRAY['monthly', 'annual', 'triennial', 'biennial', 'one_time', 'none'];
    for_customer uuid;
    for_sku      uuid;
    provides     uuid;
    wanted       jsonb;
    old          spinpanel.license_rule;
    new          spinpanel.license_rule;
BEGIN
    PERFORM spinpanel._require_primary();
    for_customer := spinpanel._customer(set_license_rule.customer, true);
    for_sku := spinpanel._sku(for_customer, set_license_rule.sku, true, true);

    PERFORM spinpanel._require_range(set_license_rule.spare_seats::bigint, 0::bigint, 10000000::bigint, 'spare_seats'::text);
    PERFORM spinpanel._require_range(set_license_rule.min_seats::bigint, 0::bigint, 10000000::bigint, 'min_seats'::text);
    PERFORM spinpanel._require_range(set_license_rule.max_seats::bigint, 0::bigint, 10000000::bigint, 'max_seats'::text);
    IF set_license_rule.default_offer !~ '^[A-Za-z0-9]+:[A-Za-z0-9]+(:[A-Za-z0-9]+)?$' THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = format('default_offer "%s" is not productId:skuId[:availabilityId]', set_license_rule.default_offer),
            HINT = 'For instance CFQ7TTC0LF8R:0001, as in column offer_key of spinpanel.subscription.';
    END IF;
    IF set_license_rule.default_offer IS NOT NULL AND for_sku IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = 'a default_offer needs one SKU: ''*'' is not possible with it';
    END IF;
    SELECT o.sku_id INTO provides FROM spinpanel.offer o
    WHERE lower(o.offer_key) = lower(split_part(set_license_rule.default_offer, ':', 1) || ':' || split_part(set_license_rule.default_offer, ':', 2));
    IF provides <> for_sku THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = format('default_offer "%s" provides another SKU', set_license_rule.default_offer),
            DETAIL = format('It provides %s.', coalesce((SELECT k.part_number FROM spinpanel.sku k WHERE k.sku_id = provides), provides::text));
    END IF;
    IF set_license_rule.term_duration !~* '^P[0-9]+[DMY]$' THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = format('term_duration "%s" is not a term', set_license_rule.term_duration),
            HINT = 'For instance P1M, P1Y or P3Y.';
    END IF;
    IF NOT lower(set_license_rule.billing_cycle) = ANY (cycles) THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = format('billing_cycle "%s" is not known', set_license_rule.billing_cycle),
            HINT = 'One of ' || array_to_string(cycles, ', ') || '.';
    END IF;

    wanted := jsonb_strip_nulls(jsonb_build_object(
        'excluded', set_license_rule.excluded,
        'spare_seats', set_license_rule.spare_seats,
        'min_seats', set_license_rule.min_seats,
        'max_seats', set_license_rule.max_seats,
        'default_offer', set_license_rule.default_offer,
        'term_duration', upper(set_license_rule.term_duration),
        'billing_cycle', lower(set_license_rule.billing_cycle)));
    wanted := wanted || spinpanel._defaults('spinpanel.license_rule', settable, wanted, set_license_rule.reset);

    INSERT INTO spinpanel.license_rule (customer_id, sku_id) VALUES (for_customer, for_sku) ON CONFLICT DO NOTHING;
    SELECT r.* INTO old FROM spinpanel.license_rule r
    WHERE coalesce(r.customer_id, nobody) = coalesce(for_customer, nobody) AND coalesce(r.sku_id, nobody) = coalesce(for_sku, nobody)
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN           -- only at REPEATABLE READ and above
        RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'could not serialize access due to concurrent update';
    END IF;
    new := jsonb_populate_record(old, wanted);
    IF new.min_seats > new.max_seats THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = format('min_seats (%s) must not be above max_seats (%s)', new.min_seats, new.max_seats);
    END IF;
    IF new IS DISTINCT FROM old OR old.changed_at IS NULL THEN
        UPDATE spinpanel.license_rule r SET
            excluded = new.excluded, spare_seats = new.spare_seats, min_seats = new.min_seats,
            max_seats = new.max_seats, default_offer = new.default_offer, term_duration = new.term_duration,
            billing_cycle = new.billing_cycle, changed_at = spinpanel._now(), changed_by = session_user
        WHERE r.license_rule_id = old.license_rule_id
        RETURNING r.* INTO new;
        INSERT INTO spinpanel.history (at, event, customer_id, sku_id, before, after)
        VALUES (spinpanel._now(), 'license rule set', for_customer, for_sku,
                (SELECT jsonb_object_agg(k, to_jsonb(old) -> k) FROM jsonb_object_keys(wanted) k), wanted);
    END IF;
    RETURN new;
END
$$;
COMMENT ON FUNCTION set_license_rule(text, text, boolean, int, int, int, text, text, text, text[]) IS
'Sets a rule for a customer''s SKU (''*'' for either: all) and returns the row. NULL leaves a column as it is; reset names columns to empty again.
Per column the first rule with a value counts: (customer, sku), (customer, ''*''), (''*'', sku), (''*'', ''*''), then the relationship.
sku: GUID or part number; a GUID may be one that no customer has yet.
excluded: seats are never given back. spare_seats: unused seats to keep. min_seats: seats a subscription pool is never lowered below. max_seats: owned seats and seats being bought never exceed it.
default_offer: productId:skuId[:availabilityId] to order where no subscription can be raised. term_duration (P1M, P1Y, P3Y) and billing_cycle (monthly, annual, triennial): of subscriptions to buy in.
Errors: 22023, 22004, P0002 unknown customer or SKU, 25006 on a standby.';

CREATE FUNCTION drop_license_rule(customer text, sku text)
RETURNS license_rule
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    nobody constant uuid := '00000000-0000-0000-0000-000000000000';     -- as in the index
    for_customer uuid;
    for_sku      uuid;
    old          spinpanel.license_rule;
BEGIN
    PERFORM spinpanel._require_primary();
    for_customer := spinpanel._customer(drop_license_rule.customer, true);
    for_sku := spinpanel._sku(for_customer, drop_license_rule.sku, true, true);
    DELETE FROM spinpanel.license_rule r
    WHERE coalesce(r.customer_id, nobody) = coalesce(for_customer, nobody) AND coalesce(r.sku_id, nobody) = coalesce(for_sku, nobody)
    RETURNING r.* INTO old;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002',
            MESSAGE = format('there is no rule for customer "%s" and SKU "%s"', drop_license_rule.customer, drop_license_rule.sku),
            HINT = 'SELECT * FROM spinpanel.license_rule lists those that are.';
    END IF;
    INSERT INTO spinpanel.history (at, event, customer_id, sku_id, before)
    VALUES (spinpanel._now(), 'license rule dropped', for_customer, for_sku, to_jsonb(old));
    RETURN old;
END
$$;
COMMENT ON FUNCTION drop_license_rule(text, text) IS
'Drops the rule of exactly this customer and SKU (''*'' names the rule for all) and returns the row that was.
Errors: P0002 no such rule, customer or SKU; 22004; 25006 on a standby.';
