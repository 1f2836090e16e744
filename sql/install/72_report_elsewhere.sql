-- Reports on another server: which tables to publish -----------------------------------------------

CREATE VIEW _report_table AS
SELECT t.name::text AS name FROM unnest(ARRAY['account', 'customer', 'customer_account', 'relationship', 'license_rule', 'sku', 'never_assigned_sku', 'offer',
    'subscription', 'subscribed_sku', 'customer_user', 'user_license', 'pool', 'pool_reading', 'run', 'license_request', 'adjustment', 'operation',
    'obligation', 'price_sheet', 'price', 'sell_price', 'seat_history', 'saving', 'invoice_line']) AS t (name);
COMMENT ON VIEW _report_table IS 'tables that the reporting views are made of, for a publication; none of them holds a secret';
COMMENT ON COLUMN _report_table.name IS 'table in schema spinpanel';
