'use strict';
// Subscriptions as they are read: the resource, its lists, its provisioning status.

const { errors } = require('./errors');
const { isoSeconds, isoLong, isoMs, addMonths, link, DAY } = require('./util');

const FOREVER = '9999-12-14T00:00:00Z';

const etag = (sub) =>
  sub.commerce === 'legacy'
    ? Buffer.from(JSON.stringify({ id: sub.id, version: sub.version })).toString('base64')
    : '';

const shownId = (world, sub) =>
  sub.commerce === 'legacy' && world.options.legacy_upper_guids ? sub.id.toUpperCase() : sub.id;

const visible = (sub, now) => sub.visible_at <= now;

/** Does this subscription run on in extended terms unless somebody says Cancel? */
function extendable(world, sub) {
  const o = world.options;
  return o.extended_terms && sub.commerce === 'nce' && !sub.trial && !sub.product.software
    && sub.product.extended_terms
    && sub.term_end >= Date.parse(o.extended_terms_from)
    && sub.term_start_day >= Date.parse(o.extended_terms_started_since);
}

/** The running term once more, as instructions. */
const sameAgain = (sub) => ({
  product: {
    productId: sub.product.product_id, skuId: sub.product.sku_id, availabilityId: sub.availability_id,
    billingCycle: sub.cycle, termDuration: sub.term,
  },
  quantity: sub.quantity,
});

/** What the service says will happen at the end of the term. */
function scheduledActions(world, sub) {
  if (sub.commerce !== 'nce' || world.options.scheduled_actions === 'dropped') return null;
  if (sub.scheduled_actions) return sub.scheduled_actions;
  if (sub.auto_renew && sub.status === 'active' && !sub.trial && world.options.scheduled_actions === 'announced')
    return [{ scheduleType: 'TermEnd', actionType: 'RenewToNewTerm', instructions: sub.scheduled_next || sameAgain(sub) }];
  if (sub.auto_renew || sub.status !== 'active' || !extendable(world, sub)) return null;
  const shownFrom = sub.auto_renew_off_at + world.options.extended_terms_conversion_hours * 3600 * 1000;
  if (world.clock.now() < shownFrom) return null;
  return [{ scheduleType: 'TermEnd', actionType: 'RenewToExtendedServiceTerm' }];
}

function refundable(world, sub, now) {
  if (sub.product.marketplace) return null;
  const listed = world.options.closed_batches === 'listed';
  const details = sub.batches
    .filter((b) => b.quantity > 0 && (listed || b.until > now))
    .map((b) => ({ quantity: b.quantity, allowedUntilDateTime: isoLong(b.until) }));
  if (!details.length) return null;
  return { totalQuantity: details.reduce((n, d) => n + d.quantity, 0), details };
}

function billingCycleEnd(sub, now) {
  if (sub.cycle === 'annual') return sub.term_end;
  let end = sub.term_start_day;
  for (let m = 1; end <= now && end < sub.term_end; m++) end = addMonths(sub.term_start_day, m, sub.anchor_day);
  return Math.min(end, sub.term_end);
}

function view(world, sub) {
  return sub.commerce === 'nce' ? modern(world, sub) : legacy(world, sub);
}

/** Absent on subscriptions of the marketplace. */
function productType(p) {
  if (p.marketplace) return null;
  return p.software ? { id: 'Software', displayName: 'Software' } : { id: 'OnlineServicesNCE', displayName: 'OnlineServicesNCE' };
}

function modern(world, sub) {
  const now = world.clock.now();
  const p = sub.product;
  const q = `?country=${sub.customer.country}`;
  const lastDay = sub.term_end - DAY;
  const cycleEnd = billingCycleEnd(sub, now) - DAY;
  return {
    id: sub.id,
    offerId: `${p.product_id}:${p.sku_id}:${sub.availability_id}`,
    offerName: p.title,
    friendlyName: sub.friendly_name,
    productType: productType(p),
    quantity: sub.quantity,
    unitType: 'Licenses',
    hasPurchasableAddons: false,
    creationDate: isoLong(sub.created),
    effectiveStartDate: isoLong(sub.term_start),
    commitmentEndDate: isoSeconds(lastDay),
    commitmentEndDateTime: isoSeconds(sub.term_end - 1000),
    cancellationAllowedUntilDate: sub.cancel_until === null ? null : isoLong(sub.cancel_until),
    billingCycleEndDate: isoSeconds(cycleEnd),
    billingCycleEndDateTime: isoSeconds(cycleEnd + DAY - 1000),
    status: sub.status,
    autoRenewEnabled: sub.auto_renew,
    isTrial: sub.trial,
    billingType: 'license',
    billingCycle: sub.cycle,
    termDuration: sub.term,
    renewalTermDuration: '',
    refundOptions: sub.cancel_until === null || p.marketplace ? null : [
      { type: 'Full', expiresAt: isoLong(sub.term_start + DAY) },
      { type: 'Partial', expiresAt: isoLong(sub.cancel_until) },
    ],
    refundableQuantity: refundable(world, sub, now),
    isMicrosoftProduct: !p.marketplace,
    partnerId: sub.partner_id || '',
    attentionNeeded: false,
    actionTaken: false,
    contractType: 'subscription',
    scheduledNextTermInstructions: sub.scheduled_next,
    nextChargeInstructions: sub.next_charge,
    scheduledActions: scheduledActions(world, sub),
    suspensionReasons: sub.status === 'suspended' ? ['Partner'] : null,
    customTermEndDate: sub.custom_term_end === null ? null : new Date(sub.custom_term_end).toISOString().slice(0, 19),
    promotionId: sub.promotion_id || null,
    actions: sub.status === 'active' ? ['edit', 'cancel'] : null,
    links: {
      product: link(`/products/${p.product_id}${q}`),
      sku: link(`/products/${p.product_id}/skus/${p.sku_id}${q}`),
      availability: link(`/products/${p.product_id}/skus/${p.sku_id}/availabilities/${sub.availability_id}${q}`),
      self: link(`/customers/${sub.customer.id}/subscriptions/${sub.id}`),
    },
    publisherName: p.publisher,
    orderId: sub.order_id,
    attributes: { objectType: 'Subscription' },
  };
}

function legacy(world, sub) {
  const upper = world.options.legacy_upper_guids;
  const offerId = upper ? sub.offer.offer_id.toUpperCase() : sub.offer.offer_id;
  const parent = sub.parent_id && (upper ? sub.parent_id.toUpperCase() : sub.parent_id);
  const end = sub.term_end === null ? FOREVER : isoSeconds(sub.term_end);
  const id = shownId(world, sub);
  return {
    id,
    offerId,
    offerName: sub.offer.name,
    friendlyName: sub.friendly_name,
    quantity: sub.quantity,
    unitType: 'Licenses',
    parentSubscriptionId: parent || null,
    creationDate: isoMs(sub.created),
    effectiveStartDate: isoSeconds(sub.term_start_day),
    commitmentEndDate: end,
    commitmentEndDateTime: end,
    status: sub.status,
    autoRenewEnabled: sub.auto_renew,
    isTrial: sub.trial ? true : null,
    billingType: 'license',
    billingCycle: sub.cycle,
    termDuration: sub.term,
    partnerId: sub.partner_id || null,
    contractType: 'subscription',
    suspensionReasons: sub.status === 'suspended' ? ['Partner'] : null,
    links: {
      offer: link(`/offers/${offerId}?country=${sub.customer.country}`),
      parentSubscription: parent ? link(`/customers/${sub.customer.id}/subscriptions/${parent}`) : null,
      self: link(`/customers/${sub.customer.id}/subscriptions/${id}`),
    },
    orderId: upper ? sub.order_id.toUpperCase() : sub.order_id,
    attributes: { etag: etag(sub), objectType: 'Subscription' },
  };
}

/** A partner sees its own subscriptions only. */
function own(world, ctx) {
  const now = world.clock.now();
  return [...ctx.customer.subscriptions.values()].filter((s) => s.account === ctx.account && visible(s, now));
}

function find(world, ctx) {
  const sub = ctx.customer.subscriptions.get(ctx.params.subscription.toLowerCase());
  if (!sub || sub.account !== ctx.account || !visible(sub, world.clock.now())) throw errors.subscription();
  return sub;
}

function collection(world, subs) {
  const items = subs.map((s) => view(world, s));
  return { status: 200, body: { totalCount: items.length, items, attributes: { objectType: 'Collection' } } };
}

function list(world, ctx) {
  const q = ctx.request.query;
  let subs = own(world, ctx);
  const order = q.get('order_id');
  if (order) subs = subs.filter((s) => s.order_id.toLowerCase() === order.toLowerCase());
  const mpn = q.get('mpn_id');
  if (mpn) subs = subs.filter((s) => (s.partner_id || '') === mpn);
  return collection(world, subs);
}

const get = (world, ctx) => ({ status: 200, body: view(world, find(world, ctx)) });

function addons(world, ctx) {
  const base = find(world, ctx);
  return collection(world, own(world, ctx).filter((s) => s.parent_id === base.id));
}

function provisioningStatus(world, ctx) {
  const sub = find(world, ctx);
  const now = world.clock.now();
  const ready = now >= sub.provisioned_at;
  const alive = sub.status === 'active' || sub.status === 'expired';
  return {
    status: 200,
    body: {
      skuId: world.options.legacy_upper_guids ? sub.sku_id.toUpperCase() : sub.sku_id,
      status: !alive ? 'none' : ready ? 'success' : 'pending',
      quantity: ready ? sub.quantity : sub.provisioned_before,
      endDate: sub.term_end === null ? FOREVER : isoSeconds(sub.term_end),
      attributes: { objectType: 'SubscriptionProvisioningStatus' },
    },
  };
}

module.exports = { view, etag, extendable, scheduledActions, refundable, list, get, addons, provisioningStatus, find };
