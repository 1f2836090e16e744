-- Cron lines: what is one, and when was it due last?  As Vixie's cron reads them, UTC.
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS spinpanel;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
\pset format unaligned

SELECT line, spinpanel._cron_problem(line) IS NULL AS valid FROM (VALUES
    (1, '0 20 * * *'), (2, '  */15   0-6,22-23/1 1,15 jan-mar,DEC mon-fri  '), (3, E'0\t20\t*\t*\t*'), (4, '59 23 31 12 7'),
    (5, '0 0 29 2 *'), (6, '5-50/15 * * * 0'), (7, '0 20 * * sun,3'),
    (11, ''), (12, '0 20 * *'), (13, '0 20 * * * *'), (14, '60 20 * * *'), (15, '0 24 * * *'), (16, '0 20 0 * *'),
    (17, '0 20 * 13 *'), (18, '0 20 * * 8'), (19, '0 20-10 * * *'), (20, '0/5 20 * * *'), (21, '*/0 * * * *'),
    (22, '0, 20 * * *'), (23, '-1 20 * * *'), (24, '0 20 30 2 *'), (25, '@daily'), (26, '10 seconds'), (27, '0 20 * * mo'),
    (28, '0 20 * * 1x'), (29, '00000020 * * * *'), (30, '* * * * *; DROP TABLE x')) AS v (n, line) ORDER BY n;

SELECT spinpanel._cron_problem('0 20 * *') AS fields, spinpanel._cron_problem('0 20 31 2 *') AS never;

SELECT line, moment, spinpanel._cron_previous(line, moment::timestamptz) AS due FROM (VALUES
    (1, '0 20 * * *', '2026-11-24 20:00:00'), (2, '0 20 * * *', '2026-11-24 19:59:59.999999'), (3, '0 20 * * *', '2026-11-25 03:00'),
    (4, '30 */6 * * *', '2026-11-24 05:00'), (5, '0 20 * * 1', '2026-11-24 20:00'), (6, '0 20 * * mon', '2026-11-23 20:00'),
    (7, '0 20 * * 7', '2026-11-24 12:00'), (8, '0 20 * * sun', '2026-11-24 12:00'),
    -- both day fields restricted: either is due; one open: both count
    (9, '0 20 1 * mon', '2026-11-24 12:00'), (10, '0 20 24 * mon', '2026-11-24 21:00'), (11, '0 20 1 * *', '2026-11-24 12:00'),
    (12, '0 20 */2 * tue', '2026-11-24 12:00'),
    (13, '0 0 29 2 *', '2026-11-24 12:00'), (14, '0 0 29 2 *', '2104-02-28 12:00'), (15, '0 0 1 1 *', '2026-01-01 00:00:59'),
    (16, '59 23 31 12 *', '2026-11-24 12:00'), (17, '0 20 * * *', '1999-12-31 12:00'), (18, '0 0 * * sat', '1999-12-31 12:00'),
    (19, '0 20 31 2 *', '2026-11-24 12:00'), (20, 'nonsense', '2026-11-24 12:00')) AS v (n, line, moment) ORDER BY n;

-- Against another way of counting: each minute of three years for which a line is due
SELECT count(*) AS wrong FROM (
    SELECT m, spinpanel._cron_previous('7,37 4-6 */10 feb,jul *', m) AS due, max(m) FILTER (WHERE extract(minute FROM m) IN (7, 37)
        AND extract(hour FROM m) BETWEEN 4 AND 6 AND extract(day FROM m) IN (1, 11, 21, 31) AND extract(month FROM m) IN (2, 7)) OVER (ORDER BY m) AS expected
    FROM generate_series('2023-12-31 23:50+00'::timestamptz, '2026-12-31 00:00+00', '1 minute') m
    WHERE extract(minute FROM m) IN (6, 7, 8, 37, 59)) AS c WHERE expected IS NOT NULL AND due <> expected;
