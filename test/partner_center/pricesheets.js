'use strict';
// Price sheets of the pricing service, a host of its own (api.partner.microsoft.com) with tokens and errors of its own:
// a CSV, or a ZIP that holds it, made from the catalogue's prices.

const { ApiError } = require('./errors');
const { round } = require('./util');
const { zip } = require('./zip');

const VIEWS = ['updatedlicensebased', 'licensebasedest', 'licensebasedeos', 'marketplace', 'software', 'azure_consumption', 'azure_reservations'];
const ROLES = ['GlobalAdmin', 'AdminAgent', 'SalesAgent'];
const EUROPE = 'AT BE BG CH CY CZ DE DK EE ES FI FR GB GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK'.split(' ');
/** Against the currency of the account, whatever that is: these prices are nobody's, they only have to differ. */
const CURRENCIES = { CHF: 1.07, DKK: 7.5, EUR: 0.93, GBP: 0.81, NOK: 11.2, SEK: 11.4, USD: 1.02 };
const SEGMENTS = { Commercial: 1, Education: 0.25, Charity: 0.4 };

/** This service has its own shape of errors. */
const fail = (status, code, message) => new ApiError(status, 0, message, { raw: { error: { code, message, target: null, innerError: null } } });

function answer(world, request, params, origin, entry) {
  try {
    const now = world.clock.now();
    const caller = world.tokens.bearer(request.headers.authorization);
    if (!caller || caller.expires <= now) throw fail(401, 'Unauthorized', 'The access token is missing, invalid or has expired.');
    const partner = world.account(caller.account);
    entry.account = partner.name;
    entry.token = caller.user ? 'app+user' : 'app';
    if (!world.options.price_audiences.includes(caller.audience) && caller.audience !== origin)
      throw fail(401, 'Unauthorized', `The audience ${caller.audience} is not that of this service.`);
    if (caller.user && !caller.mfa && world.options.mfa === 'all') throw fail(401, '900421', 'MFA required.');
    if (!caller.user && !world.options.price_sheet_app_only) throw fail(400, 'BadRequest', 'Application-only access is not supported.');
    if (caller.user && !partner.roles.some((r) => ROLES.includes(r))) throw fail(403, 'Forbidden', 'The user has none of the roles that may read price sheets.');
    return sheet(world, request, params, partner, now);
  } catch (e) {
    if (!(e instanceof ApiError)) throw e;
    return { status: e.status, body: e.body(), headers: e.headers };
  }
}

function sheet(world, request, params, partner, now) {
  const m = /^pricesheets\(market='([^']*)',\s*pricesheetview='([^']*)'\)$/i.exec(params.sheet);
  if (!m) throw fail(400, 'BadRequest', 'Market and PricesheetView are required.');
  const [market, view] = [m[1].toUpperCase(), m[2].toLowerCase()];
  if (!/^[A-Z]{2}$/.test(market)) throw fail(400, 'BadRequest', `The market '${m[1]}' is not valid.`);
  if (!VIEWS.includes(view)) throw fail(400, 'BadRequest', `The price sheet view '${m[2]}' is not valid.`);
  const query = new Map([...request.query].map(([k, v]) => [k.toLowerCase(), v]));
  const period = periodOf(query, now);

  const options = world.options;
  if (options.price_sheet_delay > 0) {
    const key = `${partner.name} ${market} ${view} ${period.from}`;
    if (!world.sheets.has(key)) world.sheets.set(key, now + options.price_sheet_delay * 1000);
    const wait = world.sheets.get(key) - now;
    if (wait > 0) return { status: 204, body: null, headers: { 'retry-after': String(Math.ceil(wait / 1000)) } };
  }
  const rows = rowsOf(world, market, view, partner).filter((r) => r.from < period.to && r.to > period.from);
  if (period.future && !rows.length) throw fail(404, 'NotFound', 'There is no future price sheet.');
  const csv = Buffer.from(render(rows, options), 'utf8');
  const wantsZip = /\bdeflate\b/i.test(request.headers['accept-encoding'] || '');
  const packed = options.price_sheet_form === 'zip' || (options.price_sheet_form === 'asked' && wantsZip);
  return {
    status: 200,
    buffer: packed ? zip('sheets.csv', csv) : csv,
    headers: {
      'content-type': 'application/octet-stream', 'cache-control': 'private',
      'content-disposition': `attachment; filename=sheets.${packed ? 'zip' : 'csv'}`,
    },
  };
}

/** The present month up to now, a past month, or what comes. */
function periodOf(query, now) {
  const timeline = (query.get('timeline') || 'current').toLowerCase();
  const d = new Date(now);
  const thisMonth = Date.UTC(d.getUTCFullYear(), d.getUTCMonth(), 1);
  if (timeline === 'current') return { from: thisMonth, to: now + 1 };
  if (timeline === 'future') return { from: now, to: Infinity, future: true };
  if (timeline !== 'history') throw fail(400, 'BadRequest', `The timeline '${timeline}' is not valid.`);
  const m = /^(\d{4})(0[1-9]|1[0-2])$/.exec(query.get('month') || '');
  if (!m) throw fail(400, 'BadRequest', 'history needs month=YYYYMM.');
  return { from: Date.UTC(m[1], m[2] - 1, 1), to: Math.min(Date.UTC(m[1], m[2], 1), thisMonth) };
}

function rowsOf(world, market, view, partner) {
  const catalogue = world.catalogue;
  const products = view === 'licensebasedest' ? [...catalogue.extended.values()] : [...catalogue.products.values()].filter((p) => fits(view, p));
  const currencies = EUROPE.includes(market) ? { ...CURRENCIES, [partner.currency]: 1 } : { [partner.currency]: 1 };
  const rows = [];
  for (const p of products)
    for (const t of p.terms)
      for (const { price, from, to } of catalogue.prices(p, t, world.started))
        for (const [currency, factor] of Object.entries(currencies))
          for (const [segment, part] of Object.entries(world.options.price_sheet_segments ? SEGMENTS : { Commercial: 1 }))
            rows.push({ p, t, from, to, currency, segment, market, price: round(price * factor * part) });
  return rows;
}

function fits(view, p) {
  if (p.unavailable || p.purchasable === false) return false;
  if (view === 'updatedlicensebased') return !p.marketplace && !p.software;
  return (view === 'marketplace' && p.marketplace) || (view === 'software' && p.software);
}

const COLUMNS = {
  ProductTitle: (r) => r.p.title,
  ProductId: (r) => r.p.product_id,
  SkuId: (r) => r.p.sku_id,
  SkuTitle: (r) => r.p.title,
  Publisher: (r) => r.p.publisher,
  SkuDescription: (r) => `The "${r.p.title}" plan, per user`,
  UnitOfMeasure: () => '',
  TermDuration: (r) => r.t.term,
  BillingPlan: (r) => r.t.cycle.charAt(0).toUpperCase() + r.t.cycle.slice(1),
  Market: (r) => r.market,
  Currency: (r) => r.currency,
  UnitPrice: (r) => String(r.price),
  PricingTierRangeMin: () => '',
  PricingTierRangeMax: () => '',
  EffectiveStartDate: (r) => american(r.from),
  EffectiveEndDate: (r) => american(r.to),
  Tags: (r) => (r.p.trial ? 'License;Trial' : 'License'),
  'ERP Price': (r) => String(round(r.price * 1.25)),
  Segment: (r) => r.segment,
};

/** All fields are quoted; quotes in them are doubled. */
function render(rows, options) {
  const names = Object.keys(COLUMNS).filter((n) => n !== 'Segment' || options.price_sheet_segments);
  const line = (fields) => fields.map((f) => `"${String(f).replace(/"/g, '""')}"`).join(',');
  const text = [line(names), ...rows.map((r) => line(names.map((n) => COLUMNS[n](r))))].join('\r\n');
  return `${options.price_sheet_bom ? '\ufeff' : ''}${text}\r\n`;
}

/** 2/1/2019 12:00:00 AM */
function american(ms) {
  if (ms === Infinity) return '12/31/9999 11:59:59 PM';
  const d = new Date(ms);
  const h = d.getUTCHours();
  const two = (n) => String(n).padStart(2, '0');
  return `${d.getUTCMonth() + 1}/${d.getUTCDate()}/${d.getUTCFullYear()} ${h % 12 || 12}:${two(d.getUTCMinutes())}:${two(d.getUTCSeconds())} ${h < 12 ? 'AM' : 'PM'}`;
}

module.exports = { answer };
