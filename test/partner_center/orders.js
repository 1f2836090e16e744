'use strict';
// Orders, and the subscriptions that come of them.

const crypto = require('crypto');
const { ApiError, errors, refuse, told, PURCHASE } = require('./errors');
const { prorated, meter, termsOf } = require('./ledger');
const { midnight, addMonths, termMonths, isoLong, link, round } = require('./util');
const commerce = require('./commerce');
const { endEarly } = require('./lifecycle');
const pools = require('./pools');

function mayBuy(ctx) {
  if (ctx.partner.kind === 'indirect_reseller') throw refuse(403, 900308, 'An indirect reseller cannot transact.');
  if (!ctx.customer.agreement) throw errors.agreement();
}

/** Refuses a line with the code of an order and the error of a cart line. */
function bad(status, code, cartCode, text, extra) {
  const e = new ApiError(status, code, text);
  e.cart = { errorCode: cartCode, errorDescription: text };
  if (extra) e.cart.additionalInformation = extra;
  return e;
}

function checkLine(world, ctx, item) {
  const parts = item.catalog_item.split(':');
  if (parts.length !== 3) throw bad(400, 800002, 10001, 'The catalog item id is not valid.');
  let product;
  try {
    product = world.catalogue.resolve(...parts);
  } catch (e) {
    throw bad(e.status, e.code, 10001, e.message);
  }
  if (product.unavailable) throw bad(403, 800020, 10001, "The catalog item isn't eligible for purchase.");
  if (product.purchasable === false) throw bad(403, 2085, 10001, 'The catalog item cannot be purchased.');
  if (!world.catalogue.price(product, item.term, item.cycle))
    throw bad(400, 800002, 10001, 'The catalog item is not offered with this term and billing cycle.');
  if (!Number.isInteger(item.quantity) || item.quantity < 1) throw bad(400, 3000, 10010, 'The quantity is not valid.');
  if (item.quantity < product.min || item.quantity > product.max)
    throw bad(400, 900275, 10015, `The quantity must lie between ${product.min} and ${product.max}.`);
  if (product.pooled_max) {
    const bought = commerce.seatsOfTenant(ctx.customer, product.sku.sku_id);
    if (bought + item.quantity > product.pooled_max)
      throw bad(403, 800088, 10015, `The customer can have ${Math.max(0, product.pooled_max - bought)} more seats of this product.`, {
        availableQuantity: Math.max(0, product.pooled_max - bought),
        purchasedQuantity: bought,
      });
  }
  return product;
}

/** Judged when an order is placed: whoever may not pay, and what is in progress or too much. */
function mayOrder(world, ctx, lines) {
  commerce.mayPay(world, ctx);
  const now = world.clock.now();
  const items = lines.map((l) => l.catalog_item.toUpperCase());
  if (commerce.inProgress(ctx.customer, now, (o) => o.account === ctx.account && o.items.some((i) => items.includes(i)))) throw told(PURCHASE, 800060);
  const most = world.options.max_subscriptions;
  const alive = [...ctx.customer.subscriptions.values()].filter((s) => s.account === ctx.account && s.status !== 'deleted').length;
  if (most && alive + lines.length > most)
    throw refuse(403, 800089, `The requested number of ${lines.length} asset/s exceeded the remaining limit of ${Math.max(0, most - alive)} assets allowed per customer.`);
}

/** One order with one new subscription per line. */
function make(world, ctx, lines) {
  const now = ctx.time;
  const order = {
    id: crypto.randomBytes(6).toString('hex'),
    account: ctx.account,
    created: now,
    visible_at: now + world.options.order_delay * 1000,
    cycle: lines[0].cycle,
    lines: [],
  };
  for (const l of lines) {
    const sub = subscribe(world, ctx, order, l);
    order.lines.push({ number: order.lines.length, sub, quantity: l.quantity, price: sub.unit_price, term: l.term, offer: l.catalog_item });
  }
  ctx.customer.orders.set(order.id, order);
  const seconds = world.options.order_processing_seconds;
  ctx.customer.processing = ctx.customer.processing.filter((o) => o.until > now);
  if (seconds)
    ctx.customer.processing.push({
      account: ctx.account, until: now + seconds * 1000, items: lines.map((l) => l.catalog_item.toUpperCase()), subscriptions: order.lines.map((l) => l.sub.id),
    });
  world.directory.keep(ctx.customer);
  world.audit.add(world, ctx, {
    customer: ctx.customer, resourceType: 'order', operationType: 'create_order',
    old: null, new: view(world, ctx, order), data: auditData(order),
  });
  return order;
}

function auditData(order) {
  const data = { OrderId: order.id, BillingCycle: order.cycle };
  for (const l of order.lines) {
    data[`OfferId-${l.number}`] = l.offer;
    data[`SubscriptionId-${l.number}`] = l.sub.id;
    data[`SubscriptionName-${l.number}`] = l.sub.friendly_name;
    data[`Quantity-${l.number}`] = String(l.quantity);
  }
  return data;
}

function subscribe(world, ctx, order, l) {
  const now = ctx.time;
  const product = l.product || world.catalogue.resolve(...l.catalog_item.split(':'));
  const start = midnight(now);
  const end = addMonths(start, termMonths(l.term));
  const until = now + commerce.windowMs(world);
  const sub = world.newSubscription({
    id: crypto.randomUUID(),
    account: ctx.account,
    customer: ctx.customer,
    commerce: 'nce',
    product,
    sku_id: product.sku.sku_id,
    availability_id: product.availability_id,
    term: l.term,
    cycle: l.cycle,
    quantity: l.quantity,
    trial: product.trial,
    auto_renew: !product.trial,
    friendly_name: l.friendly_name || product.title,
    promotion_id: l.promotion_id || null,
    order_id: order.id,
    created: now,
    term_start: now,
    term_start_day: start,
    term_end: end,
    cancel_until: until,
    batches: [{ quantity: l.quantity, until, opened: now }],
    unit_price: world.catalogue.price(product, l.term, l.cycle).price,
    visible_at: order.visible_at,
    provisioned_at: now + pools.delays(world, ctx.customer).provisioning_delay * 1000,
    provisioned_before: 0,
  });
  endEarly(world, sub, l.custom_term_end);
  pools.startEmpty(ctx.customer, sub.sku_id);
  ctx.customer.subscriptions.set(sub.id, sub);
  meter(sub, now);
  pools.touch(ctx.customer, sub.sku_id, now);
  world.timers.arm(sub);
  world.ledger.record(ctx, 'new', {
    customer: ctx.customer.id, subscription: sub.id, sku_id: sub.sku_id,
    before: null, after: commerce.state(sub), amount: prorated(sub, sub.quantity, now), terms: termsOf(sub, sub.quantity), order: order.id,
  });
  return sub;
}

function view(world, ctx, order, { fresh = false } = {}) {
  const c = ctx.customer;
  const base = `/customers/${c.id}/orders/${order.id}`;
  const done = world.clock.now() >= order.visible_at;
  const showsIds = done || (fresh ? world.options.subscription_id_in_answer : true);
  return {
    id: order.id,
    alternateId: order.id,
    referenceCustomerId: c.id,
    billingCycle: order.cycle,
    currencyCode: world.account(order.account).currency,
    currencySymbol: '$',
    lineItems: order.lines.map((l) => {
      const [p, s, a] = l.offer.split(':');
      const q = `?country=${c.country}`;
      return {
        lineItemNumber: l.number,
        offerId: l.offer,
        subscriptionId: showsIds && !(fresh && !world.options.subscription_id_in_answer) ? l.sub.id : null,
        termDuration: l.term,
        transactionType: 'New',
        friendlyName: l.sub.friendly_name,
        quantity: l.quantity,
        pricing: { listPrice: l.price, discountedPrice: l.price, proratedPrice: l.price, price: l.price, extendedPrice: round(l.price * l.quantity) },
        links: {
          product: link(`/products/${p}${q}`),
          sku: link(`/products/${p}/skus/${s}${q}`),
          availability: link(`/products/${p}/skus/${s}/availabilities/${a}${q}`),
        },
      };
    }),
    creationDate: isoLong(order.created),
    status: fresh || !done ? 'pending' : 'completed',
    transactionType: 'UserPurchase',
    links: {
      self: link(base),
      provisioningStatus: link(`${base}/provisioningstatus`),
      patchOperation: { uri: base, method: 'PATCH', headers: [] },
    },
    totalPrice: round(order.lines.reduce((n, l) => n + l.price * l.quantity, 0)),
    client: {},
    attributes: { objectType: 'Order' },
  };
}

function own(world, ctx) {
  const now = world.clock.now();
  return [...ctx.customer.orders.values()].filter((o) => o.account === ctx.account && o.visible_at <= now);
}

function list(world, ctx) {
  const items = own(world, ctx).map((o) => view(world, ctx, o));
  return { status: 200, body: { totalCount: items.length, items, attributes: { objectType: 'Collection' } } };
}

function find(world, ctx) {
  const order = own(world, ctx).find((o) => o.id === ctx.params.order.toLowerCase());
  if (!order) throw errors.order();
  return order;
}

const get = (world, ctx) => ({ status: 200, body: view(world, ctx, find(world, ctx)) });

function provisioning(world, ctx) {
  const order = find(world, ctx);
  const items = order.lines.map((l) => {
    const status = world.clock.now() >= l.sub.provisioned_at ? 'fulfilled' : 'unfulfilled';
    return {
      orderLineItemId: l.number, lineItemNumber: l.number, status,
      quantityProvisioningInformation: [{ quantity: l.quantity, status }],
    };
  });
  return { status: 200, body: { totalCount: items.length, items, attributes: { objectType: 'Collection' } } };
}

function create(world, ctx) {
  const body = ctx.request.json();
  mayBuy(ctx);
  if (!Array.isArray(body.lineitems) || !body.lineitems.length) throw errors.input('An order needs line items.');
  const lines = body.lineitems.map((l) => ({
    catalog_item: String(l.offerid || ''),
    quantity: l.quantity,
    term: String(l.termduration || '').toUpperCase(),
    cycle: String(l.billingcycle || body.billingcycle || '').toLowerCase(),
    friendly_name: l.friendlyname || null,
    custom_term_end: l.customtermenddate || null,
    promotion_id: l.promotionid || null,
    indirect: l.partneridonrecord,
  }));
  if (lines.some((l) => l.indirect) && !body.partneronrecordattestationaccepted)
    throw refuse(400, 900206, 'The partner on record attestation must be accepted on the order.');
  for (const l of lines) l.product = checkLine(world, ctx, l);
  mayOrder(world, ctx, lines);
  const order = make(world, ctx, lines);
  return { status: 201, body: view(world, ctx, order, { fresh: true }) };
}

module.exports = { mayBuy, mayOrder, checkLine, make, view, list, get, provisioning, create };
