-- Against the invoice: what was charged, and which of our changes explains it ------------------------

CREATE TABLE invoice_line (
    invoice_number  text NOT NULL,              -- '': not billed yet
    reference_id    text NOT NULL,
    charge_type     text NOT NULL,
    charge_from     date NOT NULL,
    subscription_id uuid,
    customer_id     uuid,
    offer_key       text,
    product_name    text,
    quantity        numeric,
    unit_price      numeric,
    subtotal        numeric,
    total           numeric,
    currency        text,
    charge_until    date,
    ordered_at      timestamptz,
    loaded_at       timestamptz NOT NULL,
    PRIMARY KEY (invoice_number, reference_id, charge_type, charge_from)
);
CREATE INDEX invoice_line_customer_idx ON invoice_line (customer_id);
COMMENT ON TABLE invoice_line IS 'lines of Microsoft''s invoices; see load_invoice_lines()';
COMMENT ON COLUMN invoice_line.invoice_number IS 'the invoice; empty: not billed yet';
COMMENT ON COLUMN invoice_line.reference_id IS 'Microsoft''s id of the line';
COMMENT ON COLUMN invoice_line.charge_type IS 'in small letters: new, renew, addquantity, removequantity, cancel, cyclecharge, ...';
COMMENT ON COLUMN invoice_line.charge_from IS 'first day charged';
COMMENT ON COLUMN invoice_line.subscription_id IS 'the subscription, where the line names it by its id';
COMMENT ON COLUMN invoice_line.customer_id IS 'the customer';
COMMENT ON COLUMN invoice_line.offer_key IS 'productId:skuId';
COMMENT ON COLUMN invoice_line.product_name IS 'Microsoft''s name';
COMMENT ON COLUMN invoice_line.quantity IS 'seats';
COMMENT ON COLUMN invoice_line.unit_price IS 'effective unit price';
COMMENT ON COLUMN invoice_line.subtotal IS 'without tax';
COMMENT ON COLUMN invoice_line.total IS 'with tax';
COMMENT ON COLUMN invoice_line.currency IS 'of these';
COMMENT ON COLUMN invoice_line.charge_until IS 'last day charged';
COMMENT ON COLUMN invoice_line.ordered_at IS 'when the change was made';
COMMENT ON COLUMN invoice_line.loaded_at IS 'when it was loaded';

CREATE FUNCTION load_invoice_lines(lines jsonb) RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    items    jsonb := CASE jsonb_typeof(load_invoice_lines.lines) WHEN 'array' THEN load_invoice_lines.lines ELSE load_invoice_lines.lines -> 'items' END;
    problems text;
    number   int;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_value(load_invoice_lines.lines IS NOT NULL, 'lines');
    IF items IS NULL OR jsonb_typeof(items) <> 'array' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'these are no invoice lines', HINT = 'Give Partner Center''s answer as it is: {"items": [...]}, or the array.';
    END IF;
    SELECT string_agg(format('line %s: %s', i.n, CASE
            WHEN coalesce(i.item ->> 'chargeType', '') = '' THEN 'no chargeType'
            WHEN coalesce(i.item ->> 'chargeStartDate', '') !~ '^\d{4}-\d\d-\d\d' THEN 'no chargeStartDate'
            ELSE format('subtotal "%s" is no number', i.item ->> 'subtotal') END), E'\n' ORDER BY i.n) INTO problems
    FROM jsonb_array_elements(items) WITH ORDINALITY AS i (item, n)
    WHERE coalesce(i.item ->> 'chargeType', '') = '' OR coalesce(i.item ->> 'chargeStartDate', '') !~ '^\d{4}-\d\d-\d\d'
       OR coalesce(i.item ->> 'subtotal', '') !~ '^''?-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$';
    IF problems IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'some invoice lines are bad: none was loaded', DETAIL = left(problems, 2000);
    END IF;
    INSERT INTO spinpanel.invoice_line AS l (invoice_number, reference_id, charge_type, charge_from, subscription_id, customer_id, offer_key, product_name,
        quantity, unit_price, subtotal, total, currency, charge_until, ordered_at, loaded_at)
    SELECT DISTINCT ON (1, 2, 3, 4)
           coalesce(v.item ->> 'invoiceNumber', ''), coalesce(nullif(v.item ->> 'referenceId', ''), md5(v.item::text)), lower(v.item ->> 'chargeType'),
           left(v.item ->> 'chargeStartDate', 10)::date,
           substring(lower(v.item ->> 'subscriptionId') from '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$')::uuid,
           substring(lower(v.item ->> 'customerId') from '([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$')::uuid,
           upper((v.item ->> 'productId') || ':' || (v.item ->> 'skuId')), v.item ->> 'productName',
           spinpanel._invoice_number(v.item ->> 'quantity'), spinpanel._invoice_number(v.item ->> 'effectiveUnitPrice'),
           spinpanel._invoice_number(v.item ->> 'subtotal'), spinpanel._invoice_number(v.item ->> 'totalForCustomer'), upper(nullif(v.item ->> 'currency', '')),
           CASE WHEN v.item ->> 'chargeEndDate' ~ '^\d{4}-\d\d-\d\d' THEN left(v.item ->> 'chargeEndDate', 10)::date END,
           CASE WHEN v.item ->> 'orderDate' ~ '^\d{4}-\d\d-\d\dT' AND v.item ->> 'orderDate' !~ '^0001' THEN
                (CASE WHEN v.item ->> 'orderDate' ~ '(Z|[+-]\d\d:\d\d)$' THEN v.item ->> 'orderDate' ELSE (v.item ->> 'orderDate') || 'Z' END)::timestamptz END,
           spinpanel._now()
    FROM jsonb_array_elements(items) AS v (item)
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (invoice_number, reference_id, charge_type, charge_from) DO UPDATE
    SET quantity = excluded.quantity, unit_price = excluded.unit_price, subtotal = excluded.subtotal, total = excluded.total,
        subscription_id = excluded.subscription_id, loaded_at = excluded.loaded_at;
    GET DIAGNOSTICS number = ROW_COUNT;
    PERFORM spinpanel._record('invoice lines loaded', NULL, NULL, NULL, NULL, jsonb_build_object('lines', number), NULL);
    RETURN number;
END
$$;
COMMENT ON FUNCTION load_invoice_lines(jsonb) IS
'Loads reconciliation lines of an invoice, as Partner Center gives them (GET .../invoices/{id}/lineitems, or unbilled ones), and returns their number: all of them or, with an error, none. Loading them again is harmless. spinpanel_report.invoice_check shows what explains them.
Errors: 22023, 22004, 25006 on a standby.';

CREATE FUNCTION _invoice_number(value text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN ltrim($1, '''') ~ '^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$' THEN ltrim($1, '''')::numeric END
$$;
COMMENT ON FUNCTION _invoice_number(text) IS 'internal: a number as invoices write it';

CREATE VIEW spinpanel_report.invoice_check WITH (security_barrier) AS
SELECT l.invoice_number,
       l.reference_id AS line_reference,
       l.customer_id,
       l.subscription_id,
       s.sku_id,
       l.offer_key,
       l.product_name,
       l.charge_type,
       l.quantity,
       l.unit_price,
       l.subtotal AS amount,
       l.currency,
       l.charge_from AS charge_from_on,
       l.charge_until AS charge_until_on,
       l.ordered_at,
       coalesce(o.operation_id IS NOT NULL OR l.charge_type IN ('renew', 'cyclecharge') AND s.subscription_id IS NOT NULL, false) AS is_explained,
       CASE WHEN o.operation_id IS NOT NULL AND o.purpose IN ('remove', 'merge', 'give_back') THEN 'given back by spinpanel'
            WHEN o.operation_id IS NOT NULL AND q.request_id IS NOT NULL THEN 'bought for a request'
            WHEN o.operation_id IS NOT NULL THEN 'changed by spinpanel: ' || replace(o.purpose, '_', ' ')
            WHEN l.charge_type = 'renew' AND s.subscription_id IS NOT NULL THEN CASE WHEN a.adjustment_id IS NOT NULL THEN 'renewed as spinpanel scheduled it' ELSE 'renewed' END
            WHEN l.charge_type = 'cyclecharge' AND s.subscription_id IS NOT NULL THEN 'the next month of a running term'
            ELSE 'nothing of ours: somebody else, or not read' END AS explanation,
       o.operation_id,
       q.request_id,
       q.requested_by::text AS requested_by,
       q.reference,
       coalesce(o.adjustment_id, a.adjustment_id) AS adjustment_id,
       coalesce(j.decided_by, a.decided_by)::text AS decided_by,
       coalesce(j.reason, a.reason) AS reason
FROM spinpanel.invoice_line l
LEFT JOIN spinpanel.subscription s ON s.subscription_id = l.subscription_id
LEFT JOIN LATERAL (
    SELECT x.operation_id, x.purpose, x.adjustment_id, x.request_id FROM spinpanel.operation x
    WHERE x.customer_id = l.customer_id AND x.subscription_id = l.subscription_id AND x.status = 'done' AND x.seats <> 0
      AND CASE WHEN l.charge_type IN ('removequantity', 'cancel') THEN x.seats < 0 WHEN l.charge_type IN ('new', 'addquantity') THEN x.seats > 0 END
      AND l.ordered_at BETWEEN x.sent_at - interval '10 minutes' AND x.finished_at + interval '1 day'
    ORDER BY abs(x.seats) = abs(l.quantity) DESC, abs(extract(epoch FROM x.sent_at - l.ordered_at)) LIMIT 1) o ON true
LEFT JOIN LATERAL (
    SELECT r.request_id, r.requested_by, r.reference FROM spinpanel.license_request r
    WHERE r.buy_operation = o.operation_id OR r.request_id = o.request_id ORDER BY r.request_id LIMIT 1) q ON true
LEFT JOIN spinpanel.adjustment j ON j.adjustment_id = o.adjustment_id
LEFT JOIN LATERAL (
    SELECT x.adjustment_id, x.decided_by, x.reason FROM spinpanel.adjustment x
    WHERE l.charge_type = 'renew' AND x.customer_id = l.customer_id AND x.subscription_id = l.subscription_id AND x.status = 'done'
      AND x.action = 'reduce_at_renewal' AND x.effective_on = l.charge_from ORDER BY x.adjustment_id DESC LIMIT 1) a ON true
WHERE (SELECT v.sees_all FROM spinpanel._reader v) OR l.customer_id IN (SELECT v.customer_id FROM spinpanel._visible_customer v);
COMMENT ON VIEW spinpanel_report.invoice_check IS 'lines of Microsoft''s invoices, and which request, person or decision explains each; those that nothing explains say so';
COMMENT ON COLUMN spinpanel_report.invoice_check.invoice_number IS 'the invoice; empty: not billed yet';
COMMENT ON COLUMN spinpanel_report.invoice_check.line_reference IS 'Microsoft''s id of the line';
COMMENT ON COLUMN spinpanel_report.invoice_check.customer_id IS 'the customer';
COMMENT ON COLUMN spinpanel_report.invoice_check.subscription_id IS 'the subscription, where the line names it by its id';
COMMENT ON COLUMN spinpanel_report.invoice_check.sku_id IS 'the product';
COMMENT ON COLUMN spinpanel_report.invoice_check.offer_key IS 'productId:skuId';
COMMENT ON COLUMN spinpanel_report.invoice_check.product_name IS 'Microsoft''s name';
COMMENT ON COLUMN spinpanel_report.invoice_check.charge_type IS 'new, renew, addquantity, removequantity, cancel, cyclecharge, ...';
COMMENT ON COLUMN spinpanel_report.invoice_check.quantity IS 'seats';
COMMENT ON COLUMN spinpanel_report.invoice_check.unit_price IS 'effective unit price';
COMMENT ON COLUMN spinpanel_report.invoice_check.amount IS 'without tax';
COMMENT ON COLUMN spinpanel_report.invoice_check.currency IS 'of these';
COMMENT ON COLUMN spinpanel_report.invoice_check.charge_from_on IS 'first day charged';
COMMENT ON COLUMN spinpanel_report.invoice_check.charge_until_on IS 'last day charged';
COMMENT ON COLUMN spinpanel_report.invoice_check.ordered_at IS 'when the change was made';
COMMENT ON COLUMN spinpanel_report.invoice_check.is_explained IS 'something of ours, or the course of the term, explains it';
COMMENT ON COLUMN spinpanel_report.invoice_check.explanation IS 'what';
COMMENT ON COLUMN spinpanel_report.invoice_check.operation_id IS 'the change at Partner Center';
COMMENT ON COLUMN spinpanel_report.invoice_check.request_id IS 'the request that it was made for (the first, of several)';
COMMENT ON COLUMN spinpanel_report.invoice_check.requested_by IS 'who asked';
COMMENT ON COLUMN spinpanel_report.invoice_check.reference IS 'the caller''s own';
COMMENT ON COLUMN spinpanel_report.invoice_check.adjustment_id IS 'the decision';
COMMENT ON COLUMN spinpanel_report.invoice_check.decided_by IS 'who approved it';
COMMENT ON COLUMN spinpanel_report.invoice_check.reason IS 'its reason';
