'use strict';
// Carts and their checkout: the way to a new subscription.

const crypto = require('crypto');
const { errors, refuse } = require('./errors');
const { isoLong, link, round } = require('./util');
const orders = require('./orders');

function create(world, ctx) {
  const body = ctx.request.json();
  orders.mayBuy(ctx);
  const lines = body.lineitems;
  if (!Array.isArray(lines) || lines.length === 0) throw errors.input('A cart needs line items.');
  const now = ctx.time;
  const cart = {
    id: crypto.randomUUID(),
    account: ctx.account,
    created: now,
    modified: now,
    expires: now + world.options.cart_lifetime_seconds * 1000,
    status: 'Active',
    lines: lines.map((l, i) => line(world, ctx, l, i, body)),
    answer: null,
  };
  const groups = new Map();
  for (const l of cart.lines) {
    const key = `${l.term} ${l.cycle}`;
    if (!groups.has(key)) groups.set(key, String(groups.size));
    for (const x of [l, ...l.addons]) x.group = groups.get(key);
  }
  ctx.customer.carts.set(cart.id, cart);
  world.directory.keep(ctx.customer);
  return { status: 201, body: view(ctx, cart) };
}

/** A line that cannot be bought does not spoil the cart: it carries an error. */
function line(world, ctx, given, index, cart) {
  const item = {
    id: given.id ?? index,
    catalog_item: String(given.catalogitemid || ''),
    quantity: given.quantity,
    term: String(given.termduration || '').toUpperCase(),
    cycle: String(given.billingcycle || '').toLowerCase(),
    friendly_name: given.friendlyname || null,
    custom_term_end: given.customtermenddate || null,
    promotion_id: given.promotionid || null,
    participants: given.participants || null,
    addons: (given.addonitems || []).map((a, i) => line(world, ctx, a, i, cart)),
    error: null,
  };
  const forced = Object.entries(world.options.cart_errors).find(([prefix]) => item.catalog_item.startsWith(prefix));
  if (forced) item.error = forced[1];
  else {
    try {
      item.product = orders.checkLine(world, ctx, item);
      item.price = world.catalogue.price(item.product, item.term, item.cycle).price;
      if (item.participants && !(given.attestationaccepted || cart.partneronrecordattestationaccepted))
        item.error = { errorCode: 10012, errorDescription: 'The partner on record attestation has not been accepted.' };
    } catch (e) {
      if (!e.cart || (e.code === 400019 && world.options.unknown_availability === 'refused')) throw e;
      item.error = e.cart;
    }
  }
  return item;
}

function pricing(item) {
  const months = item.cycle === 'monthly' ? { P1M: 1, P1Y: 12, P3Y: 36 }[item.term] : item.term === 'P3Y' && item.cycle === 'annual' ? 3 : 1;
  const price = round(item.price / months);
  return { listPrice: price, discountedPrice: price, proratedPrice: price, price, extendedPrice: round(item.price * item.quantity) };
}

function lineView(ctx, l) {
  return {
    id: l.id,
    catalogItemId: l.catalog_item,
    friendlyName: l.friendly_name,
    quantity: l.quantity,
    currencyCode: ctx.partner.currency,
    billingCycle: l.cycle,
    termDuration: l.term,
    participants: l.participants,
    provisioningContext: {},
    orderGroup: l.group,
    addonItems: l.addons.length ? l.addons.map((a) => lineView(ctx, a)) : null,
    pricing: l.error ? null : pricing(l),
    error: l.error,
  };
}

function view(ctx, cart) {
  return {
    id: cart.id,
    creationTimestamp: isoLong(cart.created),
    lastModifiedTimestamp: isoLong(cart.modified),
    expirationTimestamp: isoLong(cart.expires),
    lastModifiedUser: ctx.partner.user_id,
    status: cart.status,
    lineItems: cart.lines.map((l) => lineView(ctx, l)),
    links: { self: link(`/customers/${ctx.customer.id}/carts/${cart.id}`) },
    attributes: { objectType: 'Cart' },
  };
}

function find(ctx) {
  const cart = ctx.customer.carts.get(ctx.params.cart.toLowerCase());
  if (!cart || cart.account !== ctx.account) throw errors.notFound();
  return cart;
}

/** An expired cart can be neither read nor bought. */
function alive(world, cart) {
  if (cart.status === 'Active' && cart.expires <= world.clock.now()) throw errors.notFound();
  return cart;
}

const get = (world, ctx) => ({ status: 200, body: view(ctx, alive(world, find(ctx))) });

function checkout(world, ctx) {
  const cart = alive(world, find(ctx));
  orders.mayBuy(ctx);
  if (cart.status === 'Ordered') {
    if (world.clock.now() < cart.processing_until) throw refuse(409, 800064, `Cart ${cart.id} is being processed by another request.`);
    if (world.options.second_checkout === 'replay') return cart.answer;
    throw refuse(400, 800065, 'An already submitted cart cannot be checked out.');
  }
  orders.mayOrder(world, ctx, cart.lines.flatMap((l) => [l, ...l.addons]));
  const made = [];
  const failed = [];
  for (const group of new Set(cart.lines.map((l) => l.group))) {
    // An add-on is bought with the line it belongs to, as a subscription of its own.
    const lines = cart.lines.filter((l) => l.group === group).flatMap((l) => [l, ...l.addons]);
    const why = lines.map((l) => lineFails(world, ctx, l)).find(Boolean);
    if (why) failed.push({ orderGroupId: group, code: why.code, description: why.description });
    else made.push(orders.make(world, ctx, lines));
  }
  if (!made.length && failed.every((f) => f.code === 800002))
    throw errors.input(`The cart cannot be checked out: ${failed[0].description}`);
  if (!made.length && failed.every((f) => f.code === 400019)) throw refuse(404, 400019, 'Availability not found.');
  if (made.length) cart.status = 'Ordered';
  cart.processing_until = ctx.time + world.options.order_processing_seconds * 1000;
  cart.modified = ctx.time;
  const views = made.map((o) => orders.view(world, ctx, o, { fresh: true }));
  const bare = world.options.checkout_shape === 'bare' && views.length === 1 && !failed.length;
  const body = bare ? views[0] : { orders: views, attributes: { objectType: 'CartCheckoutResult' } };
  if (failed.length) body.orderErrors = failed;
  cart.answer = { status: 201, body };
  return cart.answer;
}

/** Prices, maxima and stock are judged again when the order is placed. */
function lineFails(world, ctx, l) {
  if (l.error) return { code: 800002, description: l.error.errorDescription };
  const forced = Object.entries(world.options.checkout_errors).find(([prefix]) => l.catalog_item.startsWith(prefix));
  if (forced) return forced[1];
  try {
    orders.checkLine(world, ctx, l);
    return null;
  } catch (e) {
    if (!e.cart) throw e;
    return { code: e.code, description: e.message };
  }
}

module.exports = { create, get, checkout };
