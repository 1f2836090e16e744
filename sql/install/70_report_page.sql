-- A page to look at ---------------------------------------------------------------------------
--
-- One HTML document that needs nothing else: styles and charts (SVG) are in it, there is no script.  It is made of the
-- reporting views, by whoever calls it, and so shows what they may see.  All text of others is escaped by _html().

CREATE VIEW spinpanel_report.clock WITH (security_barrier) AS
SELECT n.now AS now_at, (n.now AT TIME ZONE 'UTC')::date AS today_on FROM (SELECT spinpanel._now() AS now) n;
COMMENT ON VIEW spinpanel_report.clock IS 'one row: the present moment as spinpanel sees it';
COMMENT ON COLUMN spinpanel_report.clock.now_at IS 'now';
COMMENT ON COLUMN spinpanel_report.clock.today_on IS 'today, UTC';

CREATE FUNCTION spinpanel_report._html(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT replace(replace(replace(replace(replace(coalesce($1, ''), '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;')
$$;
COMMENT ON FUNCTION spinpanel_report._html(text) IS 'internal: text as HTML';

CREATE FUNCTION spinpanel_report._number(value numeric) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET lc_numeric = 'C' AS $$
    SELECT CASE WHEN $1 IS NULL THEN '<span class="none">unknown</span>'
                ELSE to_char($1, CASE WHEN $1 = trunc($1) THEN 'FM999,999,999,990' ELSE 'FM999,999,999,990.00' END) END
$$;
COMMENT ON FUNCTION spinpanel_report._number(numeric) IS 'internal: a number for people; one that is not known says so';

CREATE FUNCTION spinpanel_report._money(amounts numeric[], currencies text[]) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET lc_numeric = 'C' AS $$
    SELECT coalesce(string_agg(to_char(a.amount, 'FM999,999,999,990.00') || ' <small>' || spinpanel_report._html(a.currency) || '</small>', '<br>' ORDER BY a.currency),
                    '<span class="none">unknown</span>')
    FROM (SELECT u.currency, sum(u.amount) AS amount FROM unnest($1, $2) AS u (amount, currency)
          WHERE u.amount IS NOT NULL AND u.currency IS NOT NULL GROUP BY u.currency) a
$$;
COMMENT ON FUNCTION spinpanel_report._money(numeric[], text[]) IS 'internal: amounts for people, by currency; what is not known says so';

CREATE FUNCTION spinpanel_report._tile(name text, value text, remark text, kind text DEFAULT '') RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('<div class="tile %s"><h3>%s</h3><p class="value">%s</p><p class="remark">%s</p></div>', $4, $1, $2, $3)
$$;
COMMENT ON FUNCTION spinpanel_report._tile(text, text, text, text) IS 'internal: a figure of the page; value and remark are HTML';

CREATE FUNCTION spinpanel_report._table(heads text[], body text, empty text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN coalesce($2, '') = '' THEN format('<p class="empty">%s</p>', $3)
                ELSE format('<div class="wide"><table><thead><tr>%s</tr></thead><tbody>%s</tbody></table></div>',
                            (SELECT string_agg(CASE WHEN h LIKE '#%' THEN '<th class="n">' || substr(h, 2) ELSE '<th>' || h END || '</th>', '' ORDER BY o)
                             FROM unnest($1) WITH ORDINALITY AS u (h, o)), $2) END
$$;
COMMENT ON FUNCTION spinpanel_report._table(text[], text, text) IS 'internal: a table of the page; a head that begins with # is a column of numbers';

-- Bars of two parts, the first at the bottom
CREATE FUNCTION spinpanel_report._bars(title text, labels text[], first numeric[], second numeric[], first_name text, second_name text, width numeric DEFAULT 720) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET lc_numeric = 'C' AS $$
DECLARE
    height constant numeric := 230;
    left_  constant numeric := 56;
    bottom constant numeric := 30;
    top_   constant numeric := 12;
    n      int := coalesce(cardinality(labels), 0);
    most   numeric;
    step   numeric;
    scale  numeric;
    slot   numeric;
    svg    text;
    every  int;
    a      numeric;
    b      numeric;
BEGIN
    IF n = 0 THEN
        RETURN '<p class="empty">Nothing yet.</p>';
    END IF;
    most := greatest((SELECT max(coalesce(u.x, 0) + coalesce(u.y, 0)) FROM unnest(first, second) AS u (x, y)), 1);
    -- Four lines or so, at round numbers
    step := power(10::numeric, floor(log(most)));
    step := CASE WHEN most / step >= 5 THEN step * 2 WHEN most / step >= 2 THEN step ELSE step / 2 END;
    step := greatest(step, 1);
    most := ceil(most / step) * step;
    scale := (height - bottom - top_) / most;
    slot := least((width - left_ - 8) / n, 84);
    every := ceil(n * 60 / (width - left_));
    svg := format('<figure><figcaption>%s<span class="legend"><i class="a"></i>%s%s</span></figcaption><svg viewBox="0 0 %s %s" role="img" aria-label="%s">',
                  title, first_name, CASE WHEN second_name IS NULL THEN '' ELSE '<i class="b"></i>' || second_name END, width, height, title);
    FOR i IN 0 .. (most / step)::int LOOP
        svg := svg || format('<line class="grid" x1="%s" x2="%s" y1="%s" y2="%s"/><text class="axis" x="%s" y="%s" text-anchor="end">%s</text>',
                             left_, width - 8, round(height - bottom - i * step * scale, 1), round(height - bottom - i * step * scale, 1),
                             left_ - 6, round(height - bottom - i * step * scale + 4, 1), to_char(i * step, 'FM999,999,999,990'));
    END LOOP;
    FOR i IN 1 .. n LOOP
        a := coalesce(first[i], 0); b := coalesce(second[i], 0);
        svg := svg || format('<g><title>%s: %s %s%s</title><rect class="a" x="%s" y="%s" width="%s" height="%s"/><rect class="b" x="%s" y="%s" width="%s" height="%s"/></g>',
            spinpanel_report._html(labels[i]), to_char(a, 'FM999,999,999,990.##'), first_name, CASE WHEN second_name IS NULL THEN '' ELSE ', ' || to_char(b, 'FM999,999,999,990.##') || ' ' || second_name END,
            round(left_ + (i - 1) * slot + slot * 0.15, 1), round(height - bottom - a * scale, 1), round(slot * 0.7, 1), round(a * scale, 1),
            round(left_ + (i - 1) * slot + slot * 0.15, 1), round(height - bottom - (a + b) * scale, 1), round(slot * 0.7, 1), round(b * scale, 1));
        IF (i - 1) % every = 0 THEN
            svg := svg || format('<text class="axis" x="%s" y="%s" text-anchor="middle">%s</text>', round(left_ + (i - 0.5) * slot, 1), height - 10, spinpanel_report._html(labels[i]));
        END IF;
    END LOOP;
    RETURN svg || '</svg></figure>';
END
$$;
COMMENT ON FUNCTION spinpanel_report._bars(text, text[], numeric[], numeric[], text, text, numeric) IS 'internal: a chart of the page';

CREATE FUNCTION spinpanel_report._style() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $_$
    SELECT $$:root{color-scheme:light dark;--ground:#f6f7f9;--card:#fff;--ink:#1c2430;--soft:#5d6878;--line:#e1e5ea;--a:#2f6fde;--b:#f2a33a;--good:#1a7f4b;--warn:#b45309}
@media (prefers-color-scheme:dark){:root{--ground:#11151b;--card:#1a2029;--ink:#e6eaf0;--soft:#98a3b3;--line:#2c3541;--a:#5b93f5;--b:#e0a04a;--good:#4cc38a;--warn:#f0b35c}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 20px 48px}header h1{font-size:26px;line-height:1.2;margin:0 0 4px}header p{margin:0;color:var(--soft)}
h2{font-size:18px;margin:0 0 12px}section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px 20px;margin-top:18px}
.tiles{display:grid;grid-template-columns:repeat(3,1fr);gap:14px;margin-top:22px}.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px}
.tile h3{font-size:13px;font-weight:600;color:var(--soft);margin:0}.tile .value{font-size:25px;font-weight:650;line-height:1.25;margin:4px 0 2px;font-variant-numeric:tabular-nums}.tile .value small{font-size:14px;font-weight:500;color:var(--soft)}
.tile .remark{margin:0;font-size:13px;color:var(--soft)}.tile.good .value{color:var(--good)}.tile.warn .value{color:var(--warn)}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px}th{text-align:left;font-weight:600;color:var(--soft);font-size:12.5px}th,td{padding:7px 10px 7px 0;border-bottom:1px solid var(--line);vertical-align:top}
tbody tr:last-child td{border-bottom:0}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td.day{white-space:nowrap}small{color:var(--soft)}
.none{color:var(--soft);font-style:italic;font-size:.8em;font-weight:400}.empty{color:var(--soft);margin:0}.why{color:var(--soft);font-size:13px}
figure{margin:0}figcaption{font-size:14px;color:var(--soft);margin-bottom:6px}.legend{float:right}.legend i{display:inline-block;width:10px;height:10px;border-radius:2px;margin:0 5px 0 14px}
i.a{background:var(--a)}i.b{background:var(--b)}rect.a{fill:var(--a)}rect.b{fill:var(--b)}svg{width:100%;height:auto;display:block}.grid{stroke:var(--line)}.axis{fill:var(--soft);font-size:11px}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:18px}.pair section{min-width:0}footer{color:var(--soft);font-size:13px;margin-top:22px}
@media (max-width:720px){main{padding:18px 12px 32px}.pair{grid-template-columns:1fr;gap:0}.tiles{grid-template-columns:1fr 1fr;gap:10px}section{padding:14px}.tile .value{font-size:20px}.axis{font-size:15px}td{min-width:56px}td.why{min-width:220px}.legend{float:none;display:block}.legend i:first-child{margin-left:0}td,th{padding-right:8px}}
@media print{:root{--ground:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#ccc;--a:#2f6fde;--b:#f2a33a;--good:#000;--warn:#000}body{font-size:11px}main{max-width:none;padding:0}section,.tile{break-inside:avoid;border-radius:0}.wide{overflow:visible}thead{display:table-header-group}rect,i.a,i.b{print-color-adjust:exact;-webkit-print-color-adjust:exact}@page{margin:14mm}}$$
$_$;
COMMENT ON FUNCTION spinpanel_report._style() IS 'internal: the looks of the page';

CREATE FUNCTION spinpanel_report.page(customer text DEFAULT '*') RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    whose    uuid;
    found_   int;
    title    text := 'All customers';
    today    date;
    page     text;
    one      record;
    labels   text[];
    first_   numeric[];
    second_  numeric[];
    first_day date;
    several  boolean;
    largest  text;
BEGIN
    IF page.customer IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'parameter "customer" must have a value', HINT = '''*'' means all customers.';
    END IF;
    IF page.customer <> '*' THEN
        SELECT count(*) OVER (), c.customer_id, c.customer_name INTO found_, whose, title FROM spinpanel_report.customer c
        WHERE c.customer_id::text = lower(page.customer) OR lower(c.domain) = lower(page.customer) OR lower(c.customer_name) = lower(page.customer)
        ORDER BY c.is_active DESC LIMIT 1;
        IF whose IS NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('customer "%s" is not known', page.customer),
                HINT = 'Give its GUID, domain or company name; SELECT * FROM spinpanel_report.customer lists them.';
        ELSIF found_ > 1 AND (SELECT count(*) FROM spinpanel_report.customer c WHERE c.is_active
                              AND (lower(c.domain) = lower(page.customer) OR lower(c.customer_name) = lower(page.customer))) > 1 THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('customer "%s" is ambiguous', page.customer), HINT = 'Give its GUID.';
        END IF;
    END IF;
    several := whose IS NULL;
    SELECT k.today_on INTO today FROM spinpanel_report.clock k;

    page := format('<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''"><title>Licences: %s</title><style>%s</style></head>
<body><main><header><h1>%s</h1><p>Microsoft 365 licences on %s%s</p></header>', spinpanel_report._html(title), spinpanel_report._style(), spinpanel_report._html(title),
        to_char(today, 'FMDD FMMonth YYYY'),
        (SELECT CASE WHEN several THEN format(' · %s customers', count(*)) ELSE coalesce(', as read at ' || to_char(min(c.read_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC', '') END
         FROM spinpanel_report.customer c WHERE c.is_active AND (several OR c.customer_id = whose)));

    -- The figures
    -- ... what is unused is asked for once: it is planned afresh
    WITH e AS MATERIALIZED (SELECT x.* FROM spinpanel_report.excess x WHERE (several OR x.customer_id = whose) AND x.is_counted)
    SELECT coalesce(sum(e.owned_seats), 0) AS owned, coalesce(sum(e.unused_seats), 0) AS unused,
           coalesce(sum(e.reducible_now_seats), 0) AS now_, coalesce(sum(e.reducible_at_renewal_seats), 0) AS later, min(e.next_renewal_on) FILTER (WHERE e.reducible_at_renewal_seats > 0) AS next_,
           array_agg(e.unused_amount_month) AS unused_amounts, array_agg(e.currency) AS currencies, count(*) FILTER (WHERE e.unused_seats > 0 AND e.unused_amount_month IS NULL) AS unpriced,
           (SELECT string_agg(x.line, '' ORDER BY x.unused_seats DESC, x.customer_name)
         FROM (SELECT e.unused_seats, c.customer_name, format('<tr><td>%s</td><td>%s</td><td class="n">%s</td><td class="n">%s</td><td class="n">%s</td><td class="n">%s</td><td class="why">%s</td></tr>',
                      spinpanel_report._html(c.customer_name), spinpanel_report._html(k.product_name), e.owned_seats, e.owned_seats - e.unused_seats, e.unused_seats,
                      spinpanel_report._money(ARRAY[e.unused_amount_month], ARRAY[e.currency]),
                      concat_ws(', ', CASE WHEN e.reducible_now_seats > 0 THEN e.reducible_now_seats || ' today' END,
                                CASE WHEN e.reducible_at_renewal_seats > 0 THEN format('%s from %s', e.reducible_at_renewal_seats, to_char(e.next_renewal_on, 'FMDD Mon YYYY')) END,
                                nullif(spinpanel_report._html(CASE e.blocked_by WHEN 'switched off' THEN 'auto license adjustment is off' ELSE e.blocked_by END), ''))) AS line
               FROM e JOIN spinpanel_report.customer c USING (customer_id) JOIN spinpanel_report.product k USING (sku_id)
               WHERE e.unused_seats > 0 ORDER BY e.unused_seats DESC, c.customer_name LIMIT 15) x) AS largest
    INTO one FROM e;
    largest := one.largest;
    page := page || '<div class="tiles">'
        || spinpanel_report._tile('Seats owned', spinpanel_report._number(one.owned), format('%s of them in use', spinpanel_report._number(one.owned - one.unused)))
        || spinpanel_report._tile('Seats nobody uses', spinpanel_report._number(one.unused),
                                  CASE WHEN one.owned > 0 THEN format('%s%% of all', round(100.0 * one.unused / one.owned)) ELSE '' END, CASE WHEN one.unused > 0 THEN 'warn' ELSE '' END)
        || spinpanel_report._tile('What these cost a month', CASE WHEN one.unused = 0 THEN '0' ELSE spinpanel_report._money(one.unused_amounts, one.currencies) END,
                                  CASE WHEN one.unpriced > 0 THEN format('the price of %s more is not known', CASE one.unpriced WHEN 1 THEN 'one product' ELSE one.unpriced || ' products' END) ELSE 'at Microsoft''s prices' END)
        || spinpanel_report._tile('Can go', spinpanel_report._number(one.now_ + one.later),
                                  format('%s today, %s at renewals%s', one.now_, one.later, coalesce(' from ' || to_char(one.next_, 'FMDD Mon'), '')));
    SELECT coalesce(sum(v.seats), 0) AS seats, array_agg(v.amount) AS amounts, array_agg(v.currency) AS currencies, min(v.saved_on) AS since,
           count(*) FILTER (WHERE v.amount IS NULL) AS unpriced, count(*) AS n
    INTO one FROM spinpanel_report.saving v WHERE several OR v.customer_id = whose;
    page := page || spinpanel_report._tile('Seats returned', spinpanel_report._number(one.seats), coalesce('since ' || to_char(one.since, 'FMDD Mon YYYY'), 'none yet'), 'good')
        || spinpanel_report._tile('Money saved', CASE WHEN one.n = 0 THEN '0' ELSE spinpanel_report._money(one.amounts, one.currencies) END,
                                  CASE WHEN one.unpriced > 0 THEN format('the price of %s more is not known', CASE one.unpriced WHEN 1 THEN 'one change' ELSE one.unpriced || ' changes' END) ELSE 'credited, or not renewed' END, 'good') || '</div>';

    -- Over time: by month; by week or day while there is little of it
    SELECT min(t.day) INTO first_day FROM spinpanel_report.seat_total_daily t;
    SELECT array_agg(s.label ORDER BY s.day), array_agg(s.used ORDER BY s.day), array_agg(s.unused ORDER BY s.day) INTO labels, first_, second_
    FROM (
        SELECT d.day, to_char(d.day, CASE WHEN today - first_day > 400 THEN 'Mon YY' ELSE 'FMDD Mon' END) AS label,
               sum(least(d.assigned_seats, d.assignable_seats)) AS used, sum(d.assignable_seats) - sum(least(d.assigned_seats, d.assignable_seats)) AS unused
        FROM (SELECT t.day, t.assigned_seats, t.assignable_seats FROM spinpanel_report.seat_total_daily t WHERE several
              UNION ALL SELECT t.day, t.assigned_seats, t.assignable_seats FROM spinpanel_report.seat_balance_daily t WHERE NOT several AND t.customer_id = whose) d
        WHERE d.day > today - 730 AND CASE WHEN today - first_day > 400 THEN d.day = (date_trunc('month', d.day::timestamp) + interval '1 month - 1 day')::date OR d.day = today
                                           WHEN today - first_day > 62 THEN (today - d.day) % 7 = 0 ELSE true END
        GROUP BY 1 ORDER BY 1 DESC LIMIT 62) s;
    page := page || '<section><h2>Seats over time</h2>' || spinpanel_report._bars(CASE WHEN today - first_day > 400 THEN 'At the end of each month' WHEN today - first_day > 62 THEN 'Each week' ELSE 'Each day' END,
                                                                                labels, first_, second_, 'in use', 'unused') || '</section>';

    -- What came back
    SELECT array_agg(s.label ORDER BY s.month), array_agg(s.seats ORDER BY s.month) INTO labels, first_
    FROM (SELECT date_trunc('month', v.saved_on::timestamp) AS month, to_char(date_trunc('month', v.saved_on::timestamp), 'Mon YY') AS label, greatest(sum(v.seats), 0) AS seats
          FROM spinpanel_report.saving v WHERE (several OR v.customer_id = whose) AND v.saved_on > today - 730 GROUP BY 1) s;
    page := page || '<div class="pair"><section><h2>Seats returned</h2>' || spinpanel_report._bars('By month', labels, first_, NULL::numeric[], 'seats', NULL, 430)
        || '</section><section><h2>Money saved</h2>' || spinpanel_report._table('{Month,What,#Seats,#Amount}',
        (SELECT string_agg(format('<tr><td class="day">%s</td><td>%s</td><td class="n">%s</td><td class="n">%s</td></tr>', to_char(s.month, 'Mon YYYY'),
                CASE s.basis WHEN 'refund' THEN 'Credited by Microsoft' WHEN 'renewal' THEN 'Not renewed' WHEN 'legacy' THEN 'Legacy, no longer billed' ELSE 'Bought again' END,
                s.seats, s.money), '' ORDER BY s.month DESC, s.basis)
         FROM (SELECT date_trunc('month', v.saved_on::timestamp) AS month, v.basis, sum(v.seats) AS seats, spinpanel_report._money(array_agg(v.amount), array_agg(v.currency)) AS money
               FROM spinpanel_report.saving v WHERE several OR v.customer_id = whose GROUP BY 1, 2 ORDER BY 1 DESC LIMIT 16) s), 'Nothing yet.')
        || '</section></div>';

    -- What waits for a person
    page := page || '<section><h2>Waits for a person</h2>' || spinpanel_report._table('{Since,Customer,Product,What,Why}',
        (SELECT string_agg(format('<tr><td class="day">%s</td><td>%s</td><td>%s</td><td>%s</td><td class="why">%s</td></tr>', to_char(w.since, 'FMDD Mon'), spinpanel_report._html(c.customer_name),
                spinpanel_report._html(k.product_name), w.what, spinpanel_report._html(w.why)), '' ORDER BY w.since)
         FROM (SELECT a.customer_id, a.sku_id, a.created_at AS since, format('Approve: %s of %s seats (no. %s)', replace(a.action, '_', ' '), a.seats, a.adjustment_id) AS what, a.reason AS why
               FROM spinpanel_report.adjustment a WHERE a.is_awaiting_approval
               UNION ALL
               SELECT q.customer_id, q.sku_id, q.created_at, format('Failed request no. %s: %s', q.request_id, spinpanel_report._html(q.user_name)), q.reason
               FROM spinpanel_report.request q WHERE q.is_failed AND q.finished_on > today - 7) w
         JOIN spinpanel_report.customer c USING (customer_id) LEFT JOIN spinpanel_report.product k USING (sku_id)
         WHERE several OR w.customer_id = whose), 'Nothing.') || '</section>';

    -- Coming renewals
    page := page || '<section><h2>Coming renewals</h2>' || spinpanel_report._table('{Day,Customer,Product,#Seats,#Then,Planned by,#Next term costs,#Difference}',
        (SELECT string_agg(r.line, '' ORDER BY r.renews_at, r.customer_name)
         FROM (SELECT r.renews_at, c.customer_name, format('<tr><td class="day">%s</td><td>%s</td><td>%s <small>%s</small></td><td class="n">%s</td><td class="n">%s</td><td>%s</td><td class="n">%s</td><td class="n">%s</td></tr>',
                      to_char(r.renews_on, 'FMDD Mon YYYY'), spinpanel_report._html(c.customer_name), spinpanel_report._html(coalesce(k.product_name, r.offer_name)), spinpanel_report._html(r.term_duration), r.seats,
                      CASE WHEN r.next_term_seats = 0 THEN 'ends' ELSE r.next_term_seats::text END, coalesce(r.planned_by, ''),
                      CASE WHEN r.next_term_seats = 0 THEN '' ELSE spinpanel_report._money(ARRAY[r.next_term_amount], ARRAY[r.currency]) END,
                      CASE WHEN r.planned_change = 0 THEN '' ELSE spinpanel_report._money(ARRAY[r.planned_change_amount], ARRAY[r.currency]) END) AS line
               FROM spinpanel_report.renewal r JOIN spinpanel_report.customer c USING (customer_id) LEFT JOIN spinpanel_report.product k USING (sku_id)
               WHERE (several OR r.customer_id = whose) AND r.renews_on <= today + 92 ORDER BY r.is_changed_at_renewal DESC, r.renews_at LIMIT 20) r), 'None within three months.') || '</section>';

    -- The largest excess
    page := page || '<section><h2>Largest excess</h2>' || spinpanel_report._table('{Customer,Product,#Owned,#In use,#Unused,#A month,When it can go}',
        largest, 'Every seat is in use.') || '</section>';

    -- Requests
    page := page || '<section><h2>Licences asked for, last 30 days</h2>' || spinpanel_report._table('{What,#All,#Done,#Open,#Failed,#Seats bought,#Half within,#95 % within}',
        (SELECT string_agg(format('<tr><td>%s</td><td class="n">%s</td><td class="n">%s</td><td class="n">%s</td><td class="n">%s</td><td class="n">%s</td><td class="n">%s</td><td class="n">%s</td></tr>',
                CASE s.kind WHEN 'assign' THEN 'Assigned' ELSE 'Released' END, s.n, s.done, s.open, s.failed, s.bought, coalesce(round(s.half::numeric, 1) || ' s', ''), coalesce(round(s.most::numeric, 1) || ' s', '')), '' ORDER BY s.kind)
         FROM (SELECT q.kind, count(*) AS n, count(*) FILTER (WHERE q.is_done) AS done, count(*) FILTER (WHERE q.is_open) AS open, count(*) FILTER (WHERE q.is_failed) AS failed,
                      count(*) FILTER (WHERE q.has_bought_seat) AS bought, percentile_cont(0.5) WITHIN GROUP (ORDER BY q.duration_seconds) FILTER (WHERE q.is_done) AS half,
                      percentile_cont(0.95) WITHIN GROUP (ORDER BY q.duration_seconds) FILTER (WHERE q.is_done) AS most
               FROM spinpanel_report.request q WHERE (several OR q.customer_id = whose) AND q.created_on > today - 30 GROUP BY 1) s), 'None.') || '</section>';

    RETURN page || '<footer>Amounts are at Microsoft''s prices for the partner, without tax; those of different currencies are never added, and a price that is not known is said to be unknown. '
        || 'A saving is counted when it has come back: when Microsoft credited seats, or when a term began without them. Seats bought again are taken off.</footer></main></body></html>';
END
$$;
COMMENT ON FUNCTION spinpanel_report.page(text) IS
'One self-contained HTML page about a customer (GUID, domain or company name) or all that the caller may see (''*''): seats over time, what came back, renewals, the largest excess, requests, what waits for a person. It works on a standby, too.
psql -XAtc "SELECT spinpanel_report.page()" >page.html';
