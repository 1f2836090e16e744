'use strict';
// What may be done to a subscription and what it costs, whoever asks: a partner's application,
// a technician in the portal, or the renewal. Each operation has a check, which refuses and
// changes nothing, and an apply.

const { refuse, told, PURCHASE, CHANGE } = require('./errors');
const { prorated, meter, termsOf } = require('./ledger');
const { HOUR } = require('./util');
const pools = require('./pools');

const state = (sub) => ({ quantity: sub.quantity, status: sub.status, auto_renew: sub.auto_renew });

/** Writes the consequences of a change: version, meter, pool, timer and one ledger entry. */
function changed(world, ctx, sub, action, before, extra = {}) {
  sub.version++;
  meter(sub, ctx.time);
  if (sub.quantity > before.quantity || sub.status !== before.status) {
    if (ctx.time >= sub.provisioned_at) sub.provisioned_before = before.status === 'active' ? before.quantity : 0;
    sub.provisioned_at = ctx.time + pools.delays(world, sub.customer).provisioning_delay * 1000;
  }
  pools.touch(sub.customer, sub.sku_id, ctx.time);
  world.timers.arm(sub);
  const entry = world.ledger.record(ctx, action, {
    customer: sub.customer.id,
    subscription: sub.id,
    sku_id: sub.sku_id,
    before,
    after: state(sub),
    amount: null,
    ...(AT_TERM_END.has(action) ? { planned_by: sub.planned_by } : {}),
    ...extra,
  });
  if (PLANS.has(action)) sub.planned_by = { seq: entry.seq, actor: entry.actor, account: entry.account, upn: entry.upn };
  else if (AT_TERM_END.has(action)) sub.planned_by = null;
  return entry;
}

/** Who did one of these last decides what the others do: the end of a term carries out somebody's wish. */
const PLANS = new Set(['schedule', 'auto_renew', 'renewal_plan', 'next_charge', 'suspend', 'reactivate', 'reset_by_omission']);
const AT_TERM_END = new Set(['renew', 'extended_term', 'expire', 'disable', 'delete']);

/** Saved changes do not survive a mid-term change. */
function wipeSchedule(world, ctx, sub, why) {
  const lost = {};
  if (sub.scheduled_next && !sub.trial) { lost.scheduled_next = sub.scheduled_next; sub.scheduled_next = null; }
  if (sub.scheduled_actions && world.options.wipe_scheduled_actions) {
    lost.scheduled_actions = sub.scheduled_actions;
    sub.scheduled_actions = null;
  }
  if (Object.keys(lost).length)
    world.ledger.record(ctx, 'schedule_wiped', {
      customer: sub.customer.id, subscription: sub.id, sku_id: sub.sku_id, before: lost, after: { why },
    });
}

function updatable(world, sub) {
  const now = world.clock.now();
  if (sub.status === 'deleted') throw refuse(400, 2011, 'A deleted subscription cannot be updated.');
  if (sub.status === 'expired' || sub.status === 'disabled')
    throw refuse(400, 900279, 'The subscription can no longer be updated.');
  if (sub.renewing_until !== null)
    throw refuse(409, 900278, 'There is a pending operation on this subscription. Try again later.');
  if (sub.refuses && sub.refuses !== 2001) throw told(CHANGE, sub.refuses);
  if (inProgress(sub.customer, now, (o) => o.subscriptions.includes(sub.id))) throw told(CHANGE, 800082);
  if (ending(sub) && sub.term_end - now <= world.options.expiring_hours * HOUR) throw told(CHANGE, 900277);
  if (sub.pending) throw refuse(409, 800014, 'There is a pending adjustment on this subscription.');
  if (sub.updates >= world.options.max_updates)
    throw refuse(400, 900311, 'The subscription has been updated too many times.');
}

const ending = (sub) => sub.commerce === 'nce' && !sub.auto_renew && (sub.scheduled_actions || []).some((a) => a.actionType === 'Cancel');

/** An order of the customer that is still being worked on and for which `fits` holds. */
const inProgress = (customer, now, fits) => customer.processing.find((o) => o.until > now && fits(o));

/** Seats cost money: some refuse them whatever the subscription. */
function mayPay(world, ctx) {
  const code = ctx.customer.refuses_purchases || ctx.partner.refuses_purchases;
  if (code) throw told(PURCHASE, code);
}

const openBatches = (sub, now) => sub.batches.filter((b) => b.quantity > 0 && b.until > now);

const limits = (sub) => (sub.commerce === 'nce' ? sub.product : sub.offer);

const quantity = {
  check(world, sub, wanted, now = world.clock.now()) {
    if (!Number.isInteger(wanted)) throw refuse(400, 3000, 'The quantity is not a whole number.');
    if (sub.refuses === 2001 || now < sub.suspended_at + world.options.suspending_seconds * 1000) throw told(CHANGE, 2001);
    if (wanted > sub.quantity) mayPay(world, { customer: sub.customer, partner: world.account(sub.account) });
    if (sub.trial) throw refuse(400, 800095, 'The seat quantity of a trial cannot be updated.');
    if (sub.status === 'suspended') throw refuse(400, 800091, 'A suspended subscription cannot be updated.');
    const { min, max, pooled_max: pooledMax } = limits(sub);
    if (wanted < min || wanted > max) {
      const code = sub.commerce === 'nce' ? 900275 : 2002;
      throw refuse(400, code, `The quantity must lie between ${min} and ${max}.`);
    }
    if (wanted > sub.quantity && pooledMax) {
      const others = seatsOfTenant(sub.customer, sub.sku_id) - sub.quantity;
      if (others + wanted > pooledMax)
        throw refuse(403, 800088, `The customer can have ${Math.max(0, pooledMax - others - sub.quantity)} more seats of this product.`);
    }
    if (wanted < sub.quantity && sub.commerce === 'nce') {
      if (sub.product.software) throw refuse(400, 800090, 'Subscription quantity cannot be decreased.', { data: [] });
      const open = openBatches(sub, now).reduce((n, b) => n + b.quantity, 0);
      if (sub.quantity - wanted > open) throw decreaseRefused(world);
    }
  },

  apply(world, ctx, sub, wanted) {
    const before = state(sub);
    const delta = wanted - sub.quantity;
    let amount = null;
    let credited;
    if (sub.commerce === 'nce') {
      if (delta > 0) sub.batches.push({ quantity: delta, until: ctx.time + windowMs(world), opened: ctx.time });
      else credited = credit(world, sub, -delta, ctx.time);
      amount = prorated(sub, delta, ctx.time);
    }
    sub.quantity = wanted;
    wipeSchedule(world, ctx, sub, 'quantity changed');
    changed(world, ctx, sub, delta > 0 ? 'raise' : 'lower', before, { amount, terms: termsOf(sub, delta), ...(credited ? { credited } : {}) });
  },
};

const windowMs = (world) => world.options.refund_window_hours * HOUR;

function seatsOfTenant(customer, skuId) {
  let n = 0;
  for (const s of customer.subscriptions.values())
    if (s.commerce === 'nce' && s.sku_id === skuId && (s.status === 'active' || s.status === 'suspended')) n += s.quantity;
  return n;
}

function decreaseRefused(world) {
  const texts = {
    800090: 'Subscription quantity cannot be decreased.',
    900214: 'The 168-hour window for reducing the seat quantity has passed.',
    900257: 'The 7-day window for reducing the seat quantity has passed.',
  };
  const code = world.options.decrease_error;
  return refuse(400, code, texts[code], { data: [] });
}

/** Microsoft decides which batch gives its seats back; the documents do not say which. */
function credit(world, sub, seats, now) {
  const open = openBatches(sub, now).sort((a, b) => a.until - b.until);
  if (world.options.credit_order === 'newest') open.reverse();
  const credited = [];
  for (const b of open) {
    const n = Math.min(b.quantity, seats);
    if (n === 0) break;
    b.quantity -= n;
    seats -= n;
    credited.push({ until: new Date(b.until).toISOString(), quantity: n });
  }
  return credited;
}

const suspend = {
  check(world, sub) {
    if (sub.trial) throw refuse(400, 800096, 'The status of a trial cannot be updated.');
    if (sub.status !== 'active') throw refuse(400, 800012, 'The subscription is not active.');
  },
  apply(world, ctx, sub) {
    const before = state(sub);
    sub.status = 'suspended';
    sub.suspended_at = ctx.time;
    if (sub.commerce === 'nce') {
      if (sub.auto_renew) sub.auto_renew_off_at = ctx.time;
      sub.auto_renew = false;
      wipeSchedule(world, ctx, sub, 'suspended');
    }
    changed(world, ctx, sub, 'suspend', before);
    // An add-on cannot be used without its base.
    for (const addon of addonsOf(sub)) if (addon.status === 'active') suspend.apply(world, ctx, addon);
  },
};

const reactivate = {
  check(world, sub) {
    if (sub.trial) throw refuse(400, 800096, 'The status of a trial cannot be updated.');
    if (sub.status !== 'suspended') throw refuse(400, 800012, 'The subscription is not suspended.');
    const base = sub.parent_id && sub.customer.subscriptions.get(sub.parent_id);
    if (base && base.status !== 'active')
      throw refuse(409, 27009, 'An add-on cannot be enabled while its base subscription is not active.');
  },
  apply(world, ctx, sub) {
    const before = state(sub);
    sub.status = 'active';
    sub.suspended_at = null;
    changed(world, ctx, sub, 'reactivate', before);
  },
};

const cancel = {
  check(world, sub, now = world.clock.now()) {
    if (sub.trial) throw refuse(400, 800096, 'The status of a trial cannot be updated.');
    if (sub.commerce === 'legacy')
      throw refuse(400, 800063, 'Cancelling is possible in the integration sandbox only. Suspend the subscription instead.');
    if (sub.extended) return;
    if (sub.cancel_until === null || now > sub.cancel_until)
      throw refuse(400, 900213, 'The 168-hour window for cancelling the subscription has passed.', { data: [] });
  },
  apply(world, ctx, sub) {
    const before = state(sub);
    const refund = prorated(sub, -sub.quantity, ctx.time);
    sub.status = 'deleted';
    sub.auto_renew = false;
    sub.ended_at = ctx.time;
    sub.batches = [];
    wipeSchedule(world, ctx, sub, 'cancelled');
    changed(world, ctx, sub, 'cancel', before, { amount: refund, terms: termsOf(sub, -sub.quantity, 0) });
  },
};

/** wanted: {auto_renew, next, actions}; what is undefined stays. */
const renewal = {
  check(world, sub, wanted) {
    const autoRenew = wanted.auto_renew ?? sub.auto_renew;
    if (sub.commerce === 'legacy') {
      if (wanted.next || wanted.actions) throw refuse(403, 900263, 'This method is not supported for legacy subscriptions.');
      return;
    }
    if (sub.status !== 'active') throw refuse(400, 800091, 'A suspended subscription cannot be updated.');
    if (sub.trial && wanted.actions) throw refuse(400, 800093, 'The subscription is not eligible to auto-renew.');
    if (sub.extended && autoRenew && !sub.auto_renew && offered(world, sub).purchasable === false)
      throw refuse(400, 800093, 'The subscription is not eligible to auto-renew.');
    if (wanted.next) {
      if (!autoRenew) throw refuse(400, 800002, 'Scheduled changes need autoRenewEnabled to be true.');
      checkInstructions(world, sub, wanted.next);
    }
    for (const a of wanted.actions || []) {
      if (a.scheduleType !== 'TermEnd') throw refuse(400, 800002, `scheduleType ${a.scheduleType} is not supported.`);
      const renews = a.actionType === 'RenewToNewTerm' || a.actionType === 'Transition';
      const ends = a.actionType === 'Cancel' || a.actionType === 'RenewToExtendedServiceTerm';
      if (!renews && !ends) throw refuse(400, 800002, `actionType ${a.actionType} is not supported.`);
      if (renews !== autoRenew)
        throw refuse(400, 800002, `actionType ${a.actionType} does not go with autoRenewEnabled ${autoRenew}.`);
    }
  },

  apply(world, ctx, sub, wanted) {
    const before = { ...state(sub), scheduled_next: sub.scheduled_next, scheduled_actions: sub.scheduled_actions };
    if (wanted.auto_renew !== undefined) setAutoRenew(world, ctx, sub, wanted.auto_renew);
    if (wanted.next !== undefined) sub.scheduled_next = wanted.next;
    if (wanted.actions !== undefined && world.options.scheduled_actions !== 'dropped')
      sub.scheduled_actions = wanted.actions && wanted.actions.length ? wanted.actions : null;
    const after = { ...state(sub), scheduled_next: sub.scheduled_next, scheduled_actions: sub.scheduled_actions };
    const action = wanted.next ? 'schedule' : before.auto_renew !== after.auto_renew ? 'auto_renew' : 'renewal_plan';
    changed(world, ctx, sub, action, before, { after });
  },
};

/** What could be bought; a SKU of extended terms never can. */
const offered = (world, sub) => (sub.product.extended_of ? world.catalogue.product(sub.product.extended_of) : sub.product);

function setAutoRenew(world, ctx, sub, on) {
  if (sub.auto_renew && !on) {
    sub.auto_renew_off_at = ctx.time;
    if (sub.commerce === 'nce') wipeSchedule(world, ctx, sub, 'auto-renew off');
  }
  sub.auto_renew = on;
}

function checkInstructions(world, sub, next) {
  const p = next.product || {};
  if (!p.productId || !p.skuId || !p.availabilityId) throw refuse(400, 3000, 'The next-term product is incomplete.');
  const product = world.catalogue.resolve(p.productId, p.skuId, p.availabilityId);
  if (!world.catalogue.price(product, p.termDuration, p.billingCycle))
    throw refuse(400, 3000, 'The product is not offered with this term and billing cycle.');
  if (!Number.isInteger(next.quantity)) throw refuse(400, 3000, 'The next-term quantity is not a whole number.');
  if (next.quantity < product.min || next.quantity > product.max)
    throw refuse(400, 900275, `The quantity must lie between ${product.min} and ${product.max}.`);
}

const addonsOf = (sub) => [...sub.customer.subscriptions.values()].filter((s) => s.parent_id === sub.id);

module.exports = {
  state, changed, wipeSchedule, updatable, openBatches, quantity, suspend, reactivate, cancel, renewal,
  setAutoRenew, windowMs, seatsOfTenant, mayPay, inProgress,
};
