'use strict';
// Everything a test can turn on, with the default. README.md explains each.

const DEFAULTS = {
  // Tokens
  access_token_seconds: 3599,
  refresh_token_days: 90,
  rotate_refresh_token: true,
  old_refresh_tokens_valid: true,
  audiences: ['https://api.partnercenter.microsoft.com'],
  price_audiences: ['https://api.partner.microsoft.com'],
  retired_audiences: ['https://graph.windows.net'],
  licence_token_error: 900329, // or 900316
  relationship_words: 'partner', // partner | caller: what 403/20002 says
  mfa: 'off', // off | all | licences: calls of app+user access that need a token with the MFA claim

  // Requests
  requests_per_minute: 500, // 0 = no throttling
  throttle_body: 'gateway', // gateway | partner | mixed
  request_id_memory_seconds: 3600, // 0 = MS-RequestId is not honoured
  log_requests: true,

  // Paging
  page_size: 500, // when the caller names none
  page_size_max: 500,
  page_token: 'links', // links | body | header | all
  trailing_empty_page: false,
  endless_paging: 'off', // off | same | new: every page has a token, for itself or for an empty page

  // Bodies. quirks: bom, pascal, nulls, pretty, omit:[members]; by_kind overrides them per kind
  quirks: {},
  quirks_by_kind: {},
  legacy_upper_guids: true,

  // Subscriptions
  credit_order: 'newest', // newest | oldest: the batch that a decrease is taken from
  refund_window_hours: 168,
  decrease_error: 800090, // 800090 | 900214 | 900257
  closed_batches: 'dropped', // dropped | listed
  stale_etag_status: 400, // or 412
  max_updates: 1200,
  suspending_seconds: 0, // after a suspension: 400/2001 for changes of the quantity
  expiring_hours: 0, // before the end of a term that ends explicitly: 400/900277
  patch_async_seconds: 0, // > 0: 202 + Location, applied later
  one_change_per_patch: true,
  scheduled_actions: 'kept', // kept | announced: GET also says what happens anyway | dropped: explicit Cancel is silently ignored
  wipe_scheduled_actions: true,
  custom_term_end_date: 'cleared', // cleared | kept: customTermEndDate is shown for ever once it was used

  // Renewal and extended service terms
  renewal_hours: 0, // number, or [min, max]
  extended_terms: true,
  extended_terms_from: '2026-05-04',
  extended_terms_started_since: '2025-04-01',
  extended_terms_conversion_hours: 0,
  extended_terms_shape: 'same', // same | separate: a SKU of its own, monthly, with auto-renew on

  // Delays, in seconds of the emulator's clock
  provisioning_delay: 0, // until a bought seat can be assigned
  report_ahead: false, // subscribedskus shows bought seats before they can be assigned
  report_delay_active: 0, // until subscribedskus shows it
  report_delay_consumed: 0,
  order_delay: 0, // until an order and its subscription appear in lists
  audit_delay: 0,
  empty_pools: 'listed', // listed | omitted
  deleted_users: 'filtered', // filtered | listed: among the others, with state inactive

  // Carts and orders
  cart_lifetime_seconds: 7 * 24 * 3600,
  order_processing_seconds: 0, // an order in progress: 800060, 800064, 800082
  max_subscriptions: 0, // per customer and partner, 0 = any number; then 800089
  second_checkout: 'error', // error (800065) | replay
  checkout_shape: 'orders', // orders | bare
  subscription_id_in_answer: true,
  checkout_errors: {}, // catalogItemId prefix -> {code, description}
  unknown_availability: 'line', // line | refused: error of the cart's line, or the cart is 404/400019
  cart_errors: {}, // catalogItemId prefix -> {errorCode, errorDescription, ...}

  // Invoices
  invoice_days: 7, // after the end of a month, until its invoice is out
  invoice_subscription_ids: 'same', // same | own: lines name subscriptions by ids of their own

  // Price sheets
  price_sheet_form: 'asked', // asked | zip | csv; asked: a ZIP where the caller accepts deflate
  price_sheet_app_only: false, // the documents say app+user only
  price_sheet_delay: 0, // seconds of 204 with Retry-After until a sheet is ready
  price_sheet_segments: true, // a column Segment, with rows of other segments
  price_sheet_bom: false,

  // Audit records
  audit_customer_acts: false,
  audit_renewals: false,
};

function withDefaults(given = {}) {
  const options = structuredClone(DEFAULTS);
  return merge(options, given);
}

function merge(options, given) {
  for (const [name, value] of Object.entries(given)) {
    if (!(name in DEFAULTS)) throw new Error(`unknown option "${name}"`);
    options[name] = value === null ? structuredClone(DEFAULTS[name]) : value;
  }
  return options;
}

module.exports = { DEFAULTS, withDefaults, merge };
