'use strict';
// Invoices of new commerce and their lines, from the charges of the ledger: one invoice per month and account. The
// lines of a charge add up to its amount, to the cent.

const { errors } = require('./errors');
const { dayOf, addMonths, round, isoSeconds, guidFrom, link, DAY } = require('./util');

const TYPES = { new: 'new', raise: 'addQuantity', lower: 'removeQuantity', cancel: 'cancel', renew: 'renew', extended_term: 'renew' };
const AT_START = new Set(['renew', 'extended_term']);
const cents = (amount) => Math.round(amount * 100);
const text = (n) => String(round(n));
const monthOf = (ms) => new Date(ms).toISOString().slice(0, 7);

/** Starts of the billing cycles of a term, its end behind them. */
function cycles(t) {
  const list = [t.term_start];
  if (t.cycle === 'monthly')
    for (let m = 1; ; m++) {
      const next = addMonths(t.term_start, m, t.anchor);
      if (next >= t.term_end) break;
      list.push(next);
    }
  return [...list, t.term_end];
}

/** The parts of one charge by billing cycle, by days; the last takes what rounding left. */
function parts({ entry, terms: t }) {
  const from = AT_START.has(entry.action) ? t.term_start : dayOf(Date.parse(entry.time)) * DAY;
  const bounds = cycles(t);
  const days = (t.term_end - from) / DAY;
  const list = [];
  let left = cents(entry.amount);
  for (let i = 0; i + 1 < bounds.length; i++) {
    if (bounds[i + 1] <= from) continue;
    const begin = Math.max(bounds[i], from);
    const last = i + 2 === bounds.length;
    const share = last ? left : cents((entry.amount * (bounds[i + 1] - begin)) / DAY / days);
    left -= share;
    list.push({ entry, t, begin, end: bounds[i + 1], at: list.length ? begin : Date.parse(entry.time), cents: share, first: !list.length });
  }
  return list;
}

/**
 * Lines charged from `from` to before `to`, oldest first. The first part of a charge is a line of its own; what the charges
 * of a term come to in a later cycle is one line "cycleCharge" with the seats there are by then.
 */
function lines(world, account, from, to) {
  const charges = world.ledger.charges.filter((c) => c.terms.account === account);
  const found = [];
  const later = new Map();
  for (const charge of charges)
    for (const p of parts(charge)) {
      if (p.at < from || p.at >= to) continue;
      if (p.first) {
        found.push({ ...p, type: TYPES[p.entry.action], seats: p.t.seats });
        continue;
      }
      const key = `${p.entry.subscription} ${p.begin}`;
      const one = later.get(key);
      // Charges of a term follow each other: the last one knows how many seats are left.
      if (one) Object.assign(one, { entry: p.entry, t: p.t, cents: one.cents + p.cents, seats: p.t.quantity });
      else later.set(key, { ...p, type: 'cycleCharge', seats: p.t.quantity });
    }
  for (const l of later.values()) if (l.cents !== 0) found.push(l);
  return found.sort((a, b) => a.at - b.at || a.entry.seq - b.entry.seq);
}

const WORDS = { P1M: 'One-Month', P1Y: 'One-Year', P3Y: 'Three-Year' };

function view(world, account, invoice, l) {
  const { entry, t } = l;
  const customer = world.directory.get(entry.customer);
  const product = world.catalogue.product(t.product);
  const unit = t.cycle === 'monthly' && t.term !== 'P1M' ? t.unit_price / ((t.term_end - t.term_start) / DAY > 400 ? 36 : 12) : t.unit_price;
  const subtotal = l.cents / 100;
  return {
    partnerId: account.tenant_id,
    customerId: entry.customer,
    customerName: customer ? customer.name : '',
    customerDomainName: customer ? customer.domain : '',
    customerCountry: customer ? customer.country : '',
    invoiceNumber: invoice || '',
    mpnId: '1234567',
    resellerMpnId: '0',
    orderId: t.order,
    orderDate: entry.time,
    productId: product.product_id,
    skuId: product.sku_id,
    availabilityId: t.availability,
    productName: product.title,
    skuName: product.title,
    productQualifiers: [],
    chargeType: l.type,
    unitPrice: text(unit),
    effectiveUnitPrice: text(l.seats ? subtotal / l.seats : 0),
    unitType: '',
    quantity: String(l.seats),
    subtotal: text(subtotal),
    taxTotal: '0',
    totalForCustomer: text(subtotal),
    currency: account.currency,
    publisherName: product.publisher,
    publisherId: '',
    subscriptionDescription: '',
    // The lines have an id of their own, which is not that of the resource.
    subscriptionId: world.options.invoice_subscription_ids === 'own' ? guidFrom(`invoiced ${entry.subscription}`) : entry.subscription,
    subscriptionStartDate: isoSeconds(t.term_start),
    subscriptionEndDate: isoSeconds(t.term_end - DAY),
    chargeStartDate: isoSeconds(l.begin),
    chargeEndDate: isoSeconds(l.end - DAY),
    termAndBillingCycle: `${WORDS[t.term] || t.term} commitment for ${t.term === 'P1M' ? 'monthly billing' : 'monthly/yearly billing'}`,
    alternateId: t.order,
    referenceId: guidFrom(`line ${entry.seq} ${l.begin}`),
    priceAdjustmentDescription: '',
    discountDetails: '',
    pricingCurrency: account.currency,
    pcToBCExchangeRate: '1',
    pcToBCExchangeRateDate: isoSeconds(t.term_start).slice(0, 19),
    billableQuantity: String(l.seats),
    meterDescription: '',
    billingFrequency: t.cycle === 'monthly' ? 'Monthly' : t.cycle === 'annual' ? 'Annual' : '',
    reservationOrderId: guidFrom(`order ${t.order}`),
    invoiceLineItemType: 'billing_line_items',
    billingProvider: 'one_time',
    promotionId: t.promotion,
    attributes: { objectType: 'OneTimeInvoiceLineItem' },
  };
}

/** Months that are over and whose invoice is out, newest first. */
function issued(world, account) {
  const now = world.clock.now();
  const list = [];
  const d = new Date(now);
  for (let m = 0; m < 36; m++) {
    const to = Date.UTC(d.getUTCFullYear(), d.getUTCMonth() - m, 1);
    const from = Date.UTC(d.getUTCFullYear(), d.getUTCMonth() - m - 1, 1);
    if (to <= world.started) break;
    const date = to + world.options.invoice_days * DAY;
    if (date <= now) list.push({ id: invoiceId(account, from), from, to, date });
  }
  return list;
}

const invoiceId = (account, from) => `G${String(parseInt(guidFrom(`invoice ${account.name} ${monthOf(from)}`).slice(0, 7), 16)).padStart(9, '0').slice(-9)}`;

function invoiceView(world, account, i) {
  const total = lines(world, account.name, i.from, i.to).reduce((n, l) => n + l.cents, 0) / 100;
  const path = `/invoices/${i.id}`;
  return {
    id: i.id,
    invoiceDate: isoSeconds(i.date),
    billingPeriodStartDate: isoSeconds(i.from),
    billingPeriodEndDate: isoSeconds(i.to - 1000),
    totalCharges: total,
    paidAmount: 0,
    currencyCode: account.currency,
    currencySymbol: account.currency === 'USD' ? '$' : account.currency,
    pdfDownloadLink: `${path}/documents/statement`,
    invoiceDetails: [{
      invoiceLineItemType: 'billing_line_items',
      billingProvider: 'one_time',
      links: { self: link(`/invoices/OneTime-${i.id}/lineitems/OneTime/BillingLineItems`) },
      attributes: { objectType: 'InvoiceDetail' },
    }],
    documentType: 'invoice',
    invoiceType: 'OneTime',
    links: { self: link(`/invoices/OneTime-${i.id}`) },
    attributes: { objectType: 'Invoice' },
  };
}

function list(world, ctx) {
  const items = issued(world, ctx.partner).map((i) => invoiceView(world, ctx.partner, i));
  return { status: 200, body: { totalCount: items.length, items, links: { self: link('/invoices') }, attributes: { objectType: 'Collection' } } };
}

function find(world, ctx) {
  const wanted = ctx.params.invoice.replace(/^OneTime-/i, '').toUpperCase();
  const found = issued(world, ctx.partner).find((i) => i.id === wanted);
  if (!found) throw errors.notFound();
  return found;
}

const get = (world, ctx) => ({ status: 200, body: invoiceView(world, ctx.partner, find(world, ctx)) });

function page(world, ctx, id, from, to) {
  const q = ctx.request.query;
  const asked = (name) => (q.get(name) || '').toLowerCase().replace(/_/g, '');
  const options = { ...world.options, page_size: 2000, page_size_max: 2000 };
  const what = `lines ${ctx.account} ${id || from}`;
  const position = world.pages.position(ctx.request, options, what);
  if (position.none === undefined) {
    if (!['onetime', 'office', 'azure', 'marketplace'].includes(asked('provider'))) throw errors.input('The provider is missing or not known.');
    if (!['billinglineitems', 'usagelineitems'].includes(asked('invoicelineitemtype'))) throw errors.input('The invoicelineitemtype is missing or not known.');
    const currency = q.get('currencycode');
    position.none = asked('provider') !== 'onetime' || asked('invoicelineitemtype') !== 'billinglineitems'
      || (currency !== null && currency.toUpperCase() !== ctx.partner.currency);
  }
  const all = position.none ? [] : lines(world, ctx.account, from, to);
  const items = all.slice(position.from, position.from + position.size).map((l) => view(world, ctx.partner, id, l));
  const uri = `${ctx.request.path.replace(/^\/v1/i, '')}?provider=onetime&invoicelineitemtype=billinglineitems&size=${position.size}`;
  return world.pages.collection(items, position, position.from + items.length < all.length, uri, options);
}

function lineItems(world, ctx) {
  const i = find(world, ctx);
  return page(world, ctx, i.id, i.from, i.to);
}

/** What no invoice holds yet: of this month, or of the last one until its invoice is out. */
function unbilled(world, ctx) {
  const period = (ctx.request.query.get('period') || 'current').toLowerCase();
  if (period !== 'current' && period !== 'previous') throw errors.input('The period is current or previous.');
  const now = world.clock.now();
  const d = new Date(now);
  const month = (n) => Date.UTC(d.getUTCFullYear(), d.getUTCMonth() + n, 1);
  if (period === 'current') return page(world, ctx, '', month(0), now + 1);
  const out = issued(world, ctx.partner).some((i) => i.from === month(-1));
  return page(world, ctx, '', month(-1), out ? month(-1) : month(0));
}

module.exports = { lines, list, get, lineItems, unbilled };
