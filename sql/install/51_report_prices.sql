-- Prices ------------------------------------------------------------------------------------
--
-- What Microsoft asks, from Partner Center's price sheets, and what the partner asks.  A price that is not known is
-- NULL wherever it is used, never 0.  Amounts of different currencies are never added.

CREATE TABLE price_sheet (
    price_sheet_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source         text,
    rows           int NOT NULL,
    new_prices     int NOT NULL,
    changed_prices int NOT NULL,
    loaded_at      timestamptz NOT NULL,
    loaded_by      name NOT NULL DEFAULT session_user
);
COMMENT ON TABLE price_sheet IS 'price sheets that were loaded; see load_price_sheet()';
COMMENT ON COLUMN price_sheet.price_sheet_id IS 'id; a later sheet has a greater one';
COMMENT ON COLUMN price_sheet.source IS 'the file, or who fetched it';
COMMENT ON COLUMN price_sheet.rows IS 'prices that it holds';
COMMENT ON COLUMN price_sheet.new_prices IS 'of them, those that were not there before';
COMMENT ON COLUMN price_sheet.changed_prices IS 'of them, those that were there with other numbers or another end';
COMMENT ON COLUMN price_sheet.loaded_at IS 'when';
COMMENT ON COLUMN price_sheet.loaded_by IS 'by whom';

CREATE TABLE price (
    offer_key      text NOT NULL,
    term_duration  text NOT NULL,
    billing_cycle  text NOT NULL,
    market         text NOT NULL,
    currency       text NOT NULL,
    segment        text NOT NULL,
    tier_min       int NOT NULL,
    starts_at      timestamptz NOT NULL,
    ends_at        timestamptz NOT NULL,
    unit_price     numeric NOT NULL,
    erp_price      numeric,
    term_months    int,
    title          text,
    publisher      text,
    is_trial       boolean NOT NULL,
    price_sheet_id bigint NOT NULL,
    -- what follows from the others of the same offer
    valid_from     timestamptz NOT NULL,
    valid_until    timestamptz NOT NULL,
    is_chosen      boolean NOT NULL,
    PRIMARY KEY (offer_key, term_duration, billing_cycle, market, currency, segment, tier_min, starts_at)
);
CREATE INDEX price_chosen_idx ON price (offer_key, market) WHERE is_chosen;
COMMENT ON TABLE price IS 'Microsoft''s prices, dated, per offer, term, billing plan, market, currency and segment';
COMMENT ON COLUMN price.offer_key IS 'productId:skuId in capitals';
COMMENT ON COLUMN price.term_duration IS 'P1M, P1Y, P3Y';
COMMENT ON COLUMN price.billing_cycle IS 'monthly, annual, triennial, ...';
COMMENT ON COLUMN price.market IS 'country of the customer';
COMMENT ON COLUMN price.currency IS 'three letters';
COMMENT ON COLUMN price.segment IS 'commercial, government, education, charity';
COMMENT ON COLUMN price.tier_min IS 'from how many seats on; 0: no tier';
COMMENT ON COLUMN price.starts_at IS 'as the sheet says';
COMMENT ON COLUMN price.ends_at IS 'as the sheet says';
COMMENT ON COLUMN price.unit_price IS 'of a seat for the whole term, whatever the billing plan';
COMMENT ON COLUMN price.erp_price IS 'Microsoft''s estimated retail price';
COMMENT ON COLUMN price.term_months IS 'months of the term; NULL: the term is no number of months';
COMMENT ON COLUMN price.title IS 'Microsoft''s name';
COMMENT ON COLUMN price.publisher IS 'publisher';
COMMENT ON COLUMN price.is_trial IS 'of a trial';
COMMENT ON COLUMN price.price_sheet_id IS 'the last sheet that lists it';
COMMENT ON COLUMN price.valid_from IS 'from then on it is the price: where prices overlap the older one holds until its end';
COMMENT ON COLUMN price.valid_until IS 'to then; one without an end is ended by a later sheet that names a newer price and no longer this one';
COMMENT ON COLUMN price.is_chosen IS 'the price that reports use: no tier, commercial where there are several segments, and the only currency';

CREATE TABLE sell_price (
    sell_price_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id   uuid,
    sku_id        uuid NOT NULL,
    valid_from    date NOT NULL,
    price         numeric CHECK (price >= 0),
    currency      text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    changed_at    timestamptz NOT NULL,
    changed_by    name NOT NULL DEFAULT session_user
);
CREATE UNIQUE INDEX sell_price_idx ON sell_price (sku_id, coalesce(customer_id, '00000000-0000-0000-0000-000000000000'), valid_from);
COMMENT ON TABLE sell_price IS 'what the partner asks for a seat and month; see set_sell_price()';
COMMENT ON COLUMN sell_price.sell_price_id IS 'id';
COMMENT ON COLUMN sell_price.customer_id IS 'the customer; NULL: every one without a price of its own';
COMMENT ON COLUMN sell_price.sku_id IS 'the product';
COMMENT ON COLUMN sell_price.valid_from IS 'from that day on, until the next';
COMMENT ON COLUMN sell_price.price IS 'of a seat and month; NULL: from then on there is none';
COMMENT ON COLUMN sell_price.currency IS 'three letters';
COMMENT ON COLUMN sell_price.changed_at IS 'when it was set';
COMMENT ON COLUMN sell_price.changed_by IS 'by whom';

CREATE FUNCTION _price_sheet_rows(sheet bytea)
RETURNS TABLE (line bigint, offer_key text, title text, publisher text, term_duration text, billing_cycle text, market text, currency text,
               segment text, tier_min numeric, unit_price numeric, erp_price numeric, starts_at timestamptz, ends_at timestamptz, is_trial boolean)
LANGUAGE C STRICT IMMUTABLE ROWS 10000 SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_price_sheet_rows';
COMMENT ON FUNCTION _price_sheet_rows(bytea) IS 'internal: the rows of a price sheet, or an error that names the lines that are bad';

CREATE FUNCTION _read_server_file(path text) RETURNS bytea
LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'spinpanel_read_server_file';
COMMENT ON FUNCTION _read_server_file(text) IS 'internal: a file on the server, for who may read it (pg_read_server_files)';

CREATE FUNCTION _load_price_sheet(sheet bytea, currency text, source text) RETURNS price_sheet
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET work_mem = '128MB'
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    loaded   spinpanel.price_sheet;
    problems text;
BEGIN
    PERFORM spinpanel._require_primary();
    -- Two at a time would overtake each other; readers go on
    LOCK TABLE spinpanel.price IN SHARE ROW EXCLUSIVE MODE;
    CREATE TEMP TABLE spinpanel_price_sheet ON COMMIT DROP AS
        SELECT r.*, r.tier_min::int AS tier FROM spinpanel._price_sheet_rows(_load_price_sheet.sheet) r
        WHERE _load_price_sheet.currency IS NULL OR r.currency = upper(_load_price_sheet.currency);
    ANALYZE pg_temp.spinpanel_price_sheet;
    SELECT string_agg(format('lines %s: different prices of one offer for the same time', d.lines), E'\n') INTO problems
    FROM (SELECT string_agg(r.line::text, ', ' ORDER BY r.line) AS lines FROM pg_temp.spinpanel_price_sheet r
          GROUP BY r.offer_key, r.term_duration, r.billing_cycle, r.market, r.currency, r.segment, r.tier, r.starts_at
          HAVING min(r.unit_price) <> max(r.unit_price) OR min(r.ends_at) <> max(r.ends_at) LIMIT 10) d;
    IF problems IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'the price sheet contradicts itself: nothing of it was loaded', DETAIL = problems;
    END IF;
    IF (SELECT count(*) FROM pg_temp.spinpanel_price_sheet) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = CASE WHEN _load_price_sheet.currency IS NULL THEN 'the price sheet holds no prices'
                           ELSE format('the price sheet holds no prices in %s', upper(_load_price_sheet.currency)) END;
    END IF;

    INSERT INTO spinpanel.price_sheet (source, rows, new_prices, changed_prices, loaded_at)
    VALUES (_load_price_sheet.source, (SELECT count(*) FROM pg_temp.spinpanel_price_sheet), 0, 0, spinpanel._now())
    RETURNING * INTO loaded;
    SELECT count(*) FILTER (WHERE p.offer_key IS NULL),
           count(*) FILTER (WHERE (p.ends_at, p.unit_price) <> (r.ends_at, r.unit_price) OR p.erp_price IS DISTINCT FROM r.erp_price)
    INTO loaded.new_prices, loaded.changed_prices
    FROM (SELECT DISTINCT r.offer_key, r.term_duration, r.billing_cycle, r.market, r.currency, r.segment, r.tier AS tier_min, r.starts_at,
                 r.ends_at, r.unit_price, r.erp_price FROM pg_temp.spinpanel_price_sheet r) r
    LEFT JOIN spinpanel.price p USING (offer_key, term_duration, billing_cycle, market, currency, segment, tier_min, starts_at);
    INSERT INTO spinpanel.price AS p (offer_key, term_duration, billing_cycle, market, currency, segment, tier_min, starts_at, ends_at,
        unit_price, erp_price, term_months, title, publisher, is_trial, price_sheet_id, valid_from, valid_until, is_chosen)
    SELECT DISTINCT ON (r.offer_key, r.term_duration, r.billing_cycle, r.market, r.currency, r.segment, r.tier, r.starts_at)
           r.offer_key, r.term_duration, r.billing_cycle, r.market, r.currency, r.segment, r.tier, r.starts_at, r.ends_at,
           r.unit_price, r.erp_price,
           CASE WHEN r.term_duration ~ '^P[0-9]{1,2}M$' THEN substr(r.term_duration, 2, length(r.term_duration) - 2)::int
                WHEN r.term_duration ~ '^P[0-9]{1,2}Y$' THEN substr(r.term_duration, 2, length(r.term_duration) - 2)::int * 12 END,
           r.title, r.publisher, r.is_trial, loaded.price_sheet_id, r.starts_at, r.ends_at, true
    FROM pg_temp.spinpanel_price_sheet r
    ORDER BY r.offer_key, r.term_duration, r.billing_cycle, r.market, r.currency, r.segment, r.tier, r.starts_at, r.line
    ON CONFLICT (offer_key, term_duration, billing_cycle, market, currency, segment, tier_min, starts_at) DO UPDATE
    SET ends_at = excluded.ends_at, unit_price = excluded.unit_price, erp_price = excluded.erp_price, title = excluded.title,
        publisher = excluded.publisher, is_trial = excluded.is_trial, price_sheet_id = excluded.price_sheet_id
    WHERE (p.ends_at, p.unit_price, p.erp_price, p.title, p.publisher, p.is_trial) IS DISTINCT FROM
          (excluded.ends_at, excluded.unit_price, excluded.erp_price, excluded.title, excluded.publisher, excluded.is_trial)
       -- or a sheet between the two has other prices of the offer: this one still stands
       OR EXISTS (SELECT FROM spinpanel.price n WHERE n.offer_key = p.offer_key AND n.market = p.market AND n.price_sheet_id > p.price_sheet_id
                  AND n.price_sheet_id < excluded.price_sheet_id);

    -- What is the price when.  An older price holds until its end; one without an end, which a later sheet
    -- no longer lists beside a newer one, ends where that begins.
    UPDATE spinpanel.price p SET valid_from = v.holds_from, valid_until = v.holds_until, is_chosen = v.chosen
    FROM (
        SELECT w.*, greatest(w.starts_at, max(w.ends) OVER (PARTITION BY w.offer_key, w.term_duration, w.billing_cycle, w.market, w.currency,
                             w.segment, w.tier_min ORDER BY w.starts_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) AS holds_from,
               w.ends AS holds_until,
               w.tier_min <= 1 AND w.segments = w.segment AND w.first_currency = w.last_currency AS chosen
        FROM (
            SELECT o.*,
                   least(o.ends_at, CASE WHEN o.ends_at > '9000-01-01' THEN (SELECT min(n.starts_at) FROM spinpanel.price n
                       WHERE n.offer_key = o.offer_key AND n.term_duration = o.term_duration AND n.billing_cycle = o.billing_cycle
                         AND n.market = o.market AND n.currency = o.currency AND n.segment = o.segment AND n.tier_min = o.tier_min
                         AND n.starts_at > o.starts_at AND n.price_sheet_id > o.price_sheet_id) END) AS ends,
                   coalesce(min(o.segment) FILTER (WHERE o.segment = 'commercial') OVER (PARTITION BY o.offer_key, o.term_duration, o.billing_cycle, o.market),
                            min(o.segment) OVER (PARTITION BY o.offer_key, o.term_duration, o.billing_cycle, o.market)) AS segments,
                   min(o.currency) OVER (PARTITION BY o.offer_key, o.term_duration, o.billing_cycle, o.market) AS first_currency,
                   max(o.currency) OVER (PARTITION BY o.offer_key, o.term_duration, o.billing_cycle, o.market) AS last_currency
            FROM spinpanel.price o
            WHERE (o.offer_key, o.market) IN (SELECT r.offer_key, r.market FROM pg_temp.spinpanel_price_sheet r)) w) v
    WHERE (p.offer_key, p.term_duration, p.billing_cycle, p.market, p.currency, p.segment, p.tier_min, p.starts_at)
        = (v.offer_key, v.term_duration, v.billing_cycle, v.market, v.currency, v.segment, v.tier_min, v.starts_at)
      AND (p.valid_from, p.valid_until, p.is_chosen) IS DISTINCT FROM (v.holds_from, v.holds_until, v.chosen);

    UPDATE spinpanel.price_sheet s SET new_prices = loaded.new_prices, changed_prices = loaded.changed_prices
    WHERE s.price_sheet_id = loaded.price_sheet_id;
    DROP TABLE pg_temp.spinpanel_price_sheet;
    PERFORM spinpanel._record('price sheet loaded', NULL, NULL, NULL, NULL, to_jsonb(loaded) - 'price_sheet_id', NULL);
    RETURN loaded;
END
$$;
COMMENT ON FUNCTION _load_price_sheet(bytea, text, text) IS 'internal: what load_price_sheet() and the worker do with a sheet';

CREATE FUNCTION load_price_sheet(sheet text DEFAULT NULL, file text DEFAULT NULL, currency text DEFAULT NULL) RETURNS price_sheet
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM spinpanel._require_primary();
    IF (load_price_sheet.sheet IS NULL) = (load_price_sheet.file IS NULL) THEN
        RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'one of the parameters "sheet" and "file" must have a value';
    END IF;
    IF load_price_sheet.currency !~ '^[A-Za-z]{3}$' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('currency "%s" is no code of three letters', load_price_sheet.currency);
    END IF;
    RETURN spinpanel._load_price_sheet(
        CASE WHEN load_price_sheet.file IS NULL THEN convert_to(load_price_sheet.sheet, 'UTF8') ELSE spinpanel._read_server_file(load_price_sheet.file) END,
        load_price_sheet.currency, load_price_sheet.file);
END
$$;
COMMENT ON FUNCTION load_price_sheet(text, text, text) IS
'Loads Partner Center''s licence-based price sheet (CSV, UTF-8, columns by name) and returns what became of it: all of it or, with an error that names the bad lines, nothing. Loading it again is harmless; prices of the past stay.
sheet: its text, or file: an absolute path on the server (for superusers and members of pg_read_server_files). Unpack a zipped one: unzip -p.
currency: only prices in it are taken; European sheets list every currency, and where several are known none is used.
Errors: 22023, 22021 not UTF-8, 22004, 42501 and others for the file; 25006 on a standby.';

CREATE FUNCTION set_sell_price(customer text, sku text, price numeric, currency text, valid_from date DEFAULT NULL) RETURNS sell_price
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    nobody constant uuid := '00000000-0000-0000-0000-000000000000';
    for_customer uuid;
    for_sku      uuid;
    first_day    date := coalesce(set_sell_price.valid_from, (spinpanel._now() AT TIME ZONE 'UTC')::date);
    old          spinpanel.sell_price;
    new          spinpanel.sell_price;
BEGIN
    PERFORM spinpanel._require_primary();
    for_customer := spinpanel._customer(set_sell_price.customer, true);
    for_sku := spinpanel._sku(for_customer, set_sell_price.sku, false, true);
    PERFORM spinpanel._require_value(set_sell_price.currency IS NOT NULL, 'currency');
    IF set_sell_price.currency !~ '^[A-Za-z]{3}$' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('currency "%s" is no code of three letters', set_sell_price.currency);
    END IF;
    IF set_sell_price.price < 0 OR set_sell_price.price = 'NaN' OR set_sell_price.price = 'Infinity' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'parameter "price" must be a number, and not negative';
    END IF;
    SELECT p.* INTO old FROM spinpanel.sell_price p
    WHERE p.sku_id = for_sku AND coalesce(p.customer_id, nobody) = coalesce(for_customer, nobody) AND p.valid_from = first_day;
    INSERT INTO spinpanel.sell_price AS p (customer_id, sku_id, valid_from, price, currency, changed_at)
    VALUES (for_customer, for_sku, first_day, set_sell_price.price, upper(set_sell_price.currency), spinpanel._now())
    ON CONFLICT (sku_id, (coalesce(customer_id, '00000000-0000-0000-0000-000000000000')), valid_from) DO UPDATE
    SET price = excluded.price, currency = excluded.currency, changed_at = excluded.changed_at, changed_by = excluded.changed_by
    RETURNING p.* INTO new;
    INSERT INTO spinpanel.history (at, event, customer_id, sku_id, before, after)
    VALUES (spinpanel._now(), 'sell price set', for_customer, for_sku, to_jsonb(old), to_jsonb(new));
    RETURN new;
END
$$;
COMMENT ON FUNCTION set_sell_price(text, text, numeric, text, date) IS
'Sets what the partner asks a customer (''*'': every one without a price of its own) for a seat of a product and month, from a day on (default: today, UTC), and returns the row. NULL: from then on there is no price.
Errors: 22023, 22004, P0002 unknown customer or SKU, 25006 on a standby.';

-- Of each subscription: the price of a seat for the whole term.  A running term keeps the price of its start; where the
-- sheets do not reach back that far, today's stands for it and is marked.  The next term costs what is asked at its start.
CREATE VIEW _subscription_price AS
SELECT s.subscription_id, s.customer_id,
       coalesce(b.unit_price, n.unit_price) AS unit_price,
       coalesce(b.currency, n.currency) AS currency,
       coalesce(b.term_months, n.term_months) AS term_months,
       b.offer_key IS NULL AND n.offer_key IS NOT NULL AS is_estimated,
       n.unit_price AS next_unit_price,
       n.currency AS next_currency
FROM spinpanel.subscription s
JOIN spinpanel.customer c USING (customer_id)
LEFT JOIN spinpanel.price b ON b.offer_key = upper(s.offer_key) AND b.market = c.country AND b.is_chosen AND b.term_duration = s.term_duration
    AND b.billing_cycle = s.billing_cycle AND b.valid_from <= s.effective_start AND s.effective_start < b.valid_until
LEFT JOIN spinpanel.price n ON n.offer_key = upper(s.offer_key) AND n.market = c.country AND n.is_chosen AND n.term_duration = s.term_duration
    AND n.billing_cycle = s.billing_cycle AND n.valid_from <= (SELECT spinpanel._now()) AND (SELECT spinpanel._now()) < n.valid_until
WHERE s.commerce = 'nce';
COMMENT ON VIEW _subscription_price IS 'internal: what a seat of each subscription costs for a whole term, where that is known';
COMMENT ON COLUMN _subscription_price.subscription_id IS 'the subscription';
COMMENT ON COLUMN _subscription_price.customer_id IS 'the customer';
COMMENT ON COLUMN _subscription_price.unit_price IS 'of a seat for the running term';
COMMENT ON COLUMN _subscription_price.currency IS 'its currency';
COMMENT ON COLUMN _subscription_price.term_months IS 'months of the term';
COMMENT ON COLUMN _subscription_price.is_estimated IS 'no sheet tells the price of the term''s start: it is today''s';
COMMENT ON COLUMN _subscription_price.next_unit_price IS 'of a seat for a term that would begin now';
COMMENT ON COLUMN _subscription_price.next_currency IS 'its currency';

CREATE VIEW _sell_price_now AS
SELECT DISTINCT ON (p.sku_id, p.customer_id) p.customer_id, p.sku_id, p.price, p.currency
FROM spinpanel.sell_price p WHERE p.valid_from <= ((SELECT spinpanel._now()) AT TIME ZONE 'UTC')::date
ORDER BY p.sku_id, p.customer_id, p.valid_from DESC;
COMMENT ON VIEW _sell_price_now IS 'internal: what the partner asks today';
COMMENT ON COLUMN _sell_price_now.customer_id IS 'the customer; NULL: the others';
COMMENT ON COLUMN _sell_price_now.sku_id IS 'the product';
COMMENT ON COLUMN _sell_price_now.price IS 'of a seat and month';
COMMENT ON COLUMN _sell_price_now.currency IS 'its currency';

-- Of a purchase that would be made now: in a subscription at the price of its term, or by a new order
CREATE FUNCTION _quote_price(customer_id uuid, subscription_id uuid, offer text, term_duration text, billing_cycle text)
RETURNS TABLE (unit_price numeric, currency text, price_per text)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.unit_price, p.currency, CASE p.term_months WHEN 1 THEN 'month' WHEN 12 THEN 'year' ELSE 'term' END
    FROM spinpanel._subscription_price p WHERE p.subscription_id = $2 AND p.unit_price IS NOT NULL
    UNION ALL
    (SELECT p.unit_price, p.currency, CASE p.term_months WHEN 1 THEN 'month' WHEN 12 THEN 'year' ELSE 'term' END
     FROM spinpanel.customer c JOIN spinpanel.price p ON p.market = c.country AND p.is_chosen
     WHERE $2 IS NULL AND c.customer_id = $1 AND p.offer_key = upper(split_part($3, ':', 1) || ':' || split_part($3, ':', 2))
       AND p.term_duration = upper($4) AND p.billing_cycle = lower($5)
       AND p.valid_from <= spinpanel._now() AND spinpanel._now() < p.valid_until)
$$;
COMMENT ON FUNCTION _quote_price(uuid, uuid, text, text, text) IS 'internal: the price for quote_license(); no row where it is not known';

-- By the day, today included, as Microsoft charges and refunds new commerce
CREATE FUNCTION _prorated(seats int, unit_price numeric, term_start timestamptz, term_end timestamptz, moment timestamptz) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT round($1 * $2 * least(greatest(t.ends - ($5 AT TIME ZONE 'UTC')::date, 0), t.ends - t.starts) / nullif(t.ends - t.starts, 0), 2)
    FROM (SELECT ($3 AT TIME ZONE 'UTC')::date AS starts, ($4 AT TIME ZONE 'UTC')::date AS ends) t
$$;
COMMENT ON FUNCTION _prorated(int, numeric, timestamptz, timestamptz, timestamptz) IS 'internal: what so many seats cost from the day of that moment to the end of the term';

-- What a decision is worth, in its columns and in its reason
CREATE FUNCTION _price_adjustment() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p record;
BEGIN
    SELECT s.effective_start, s.term_end, s.term_duration, x.* INTO p
    FROM spinpanel.subscription s JOIN spinpanel._subscription_price x USING (subscription_id)
    WHERE s.subscription_id = NEW.subscription_id;
    IF NOT FOUND THEN
        RETURN NEW;
    END IF;
    IF NEW.action IN ('reduce_at_renewal', 'end_at_term') THEN
        NEW.amount := round(NEW.seats * p.next_unit_price, 2);
        NEW.currency := p.next_currency;
    ELSIF NEW.action IN ('reduce', 'cancel', 'raise') THEN
        NEW.amount := spinpanel._prorated(NEW.seats, p.unit_price, p.effective_start, p.term_end, NEW.created_at);
        NEW.currency := p.currency;
    END IF;
    IF NEW.amount IS NULL OR NEW.currency IS NULL THEN
        NEW.amount := NULL;
        NEW.currency := NULL;
        RETURN NEW;
    END IF;
    NEW.reason := NEW.reason || CASE NEW.action
        WHEN 'raise' THEN format('; costs %s %s to the end of the term', NEW.amount, NEW.currency)
        WHEN 'reduce' THEN format('; gives %s %s back', NEW.amount, NEW.currency)
        WHEN 'cancel' THEN format('; gives %s %s back', NEW.amount, NEW.currency)
        ELSE format('; saves %s %s a term (%s)', NEW.amount, NEW.currency, p.term_duration) END;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION _price_adjustment() IS 'internal: what an adjustment is worth';
CREATE TRIGGER price_adjustment BEFORE INSERT ON adjustment FOR EACH ROW
    WHEN (NEW.seats > 0 AND NEW.subscription_id IS NOT NULL AND NEW.action <> 'none') EXECUTE FUNCTION _price_adjustment();

CREATE VIEW spinpanel_report.price WITH (security_barrier) AS
SELECT p.offer_key,
       f.sku_id,
       p.title AS offer_name,
       p.term_duration,
       p.billing_cycle,
       p.market AS country,
       p.segment,
       p.unit_price,
       round(p.unit_price / p.term_months, 4) AS price_per_seat_month,
       p.erp_price,
       p.currency,
       p.tier_min AS tier_from_seats,
       p.is_trial,
       p.is_chosen AS is_used,
       p.is_chosen AND p.valid_from <= (SELECT spinpanel._now()) AND (SELECT spinpanel._now()) < p.valid_until AS is_current,
       p.valid_from AS valid_from_at,
       p.valid_until AS valid_until_at
FROM spinpanel.price p
LEFT JOIN spinpanel.offer f ON f.offer_key = p.offer_key
WHERE (SELECT v.sees_all FROM spinpanel._reader v);
COMMENT ON VIEW spinpanel_report.price IS 'Microsoft''s prices as loaded from price sheets; none for a limited reader';
COMMENT ON COLUMN spinpanel_report.price.offer_key IS 'productId:skuId';
COMMENT ON COLUMN spinpanel_report.price.sku_id IS 'the product; NULL: nobody has it';
COMMENT ON COLUMN spinpanel_report.price.offer_name IS 'Microsoft''s name of the offer';
COMMENT ON COLUMN spinpanel_report.price.term_duration IS 'P1M, P1Y, P3Y';
COMMENT ON COLUMN spinpanel_report.price.billing_cycle IS 'monthly, annual, ...';
COMMENT ON COLUMN spinpanel_report.price.country IS 'market: the customer''s country';
COMMENT ON COLUMN spinpanel_report.price.segment IS 'commercial, government, education, charity';
COMMENT ON COLUMN spinpanel_report.price.unit_price IS 'of a seat for the whole term';
COMMENT ON COLUMN spinpanel_report.price.price_per_seat_month IS 'of a seat and month';
COMMENT ON COLUMN spinpanel_report.price.erp_price IS 'Microsoft''s estimated retail price';
COMMENT ON COLUMN spinpanel_report.price.currency IS 'of these';
COMMENT ON COLUMN spinpanel_report.price.tier_from_seats IS 'from how many seats on; 0: no tier';
COMMENT ON COLUMN spinpanel_report.price.is_trial IS 'of a trial';
COMMENT ON COLUMN spinpanel_report.price.is_used IS 'the price that reports use: no tier, the commercial segment where there are several, the only currency';
COMMENT ON COLUMN spinpanel_report.price.is_current IS 'it is used, and holds today';
COMMENT ON COLUMN spinpanel_report.price.valid_from_at IS 'from then on it is the price';
COMMENT ON COLUMN spinpanel_report.price.valid_until_at IS 'to then';
