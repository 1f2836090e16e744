-- What a dump holds: what people set, asked for and decided, and the record of
-- it.  Not the secret, not the mirror (it is read again), not what a run still
-- had to do.

SELECT pg_catalog.pg_extension_config_dump('account', '');
SELECT pg_catalog.pg_extension_config_dump('customer', '');
SELECT pg_catalog.pg_extension_config_dump('relationship', '');
SELECT pg_catalog.pg_extension_config_dump('license_rule', '');
SELECT pg_catalog.pg_extension_config_dump('never_assigned_sku', '');
SELECT pg_catalog.pg_extension_config_dump('reader_limit', '');
SELECT pg_catalog.pg_extension_config_dump('run', '');
SELECT pg_catalog.pg_extension_config_dump('license_request', '');
SELECT pg_catalog.pg_extension_config_dump('adjustment', '');
SELECT pg_catalog.pg_extension_config_dump('operation', '');
SELECT pg_catalog.pg_extension_config_dump('obligation', '');
SELECT pg_catalog.pg_extension_config_dump('history', '');
SELECT pg_catalog.pg_extension_config_dump('installation', '');
SELECT pg_catalog.pg_extension_config_dump('price_sheet', '');
SELECT pg_catalog.pg_extension_config_dump('price', '');
SELECT pg_catalog.pg_extension_config_dump('sell_price', '');
SELECT pg_catalog.pg_extension_config_dump('saving', '');
SELECT pg_catalog.pg_extension_config_dump('invoice_line', '');
SELECT pg_catalog.pg_extension_config_dump('price_sheet_price_sheet_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('saving_saving_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sell_price_sell_price_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('account_account_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('license_rule_license_rule_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('run_run_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('license_request_request_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('adjustment_adjustment_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('operation_operation_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('obligation_obligation_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('history_history_id_seq', '');
