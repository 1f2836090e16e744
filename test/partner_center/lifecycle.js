'use strict';
// What happens by itself: renewals and schedules, extended terms, windows that close, suspended
// legacy subscriptions that are deleted, trials that end, accepted changes that are applied.

const { meter, prorated, termsOf } = require('./ledger');
const { DAY, HOUR, addMonths, termMonths, dayOf, parseTime } = require('./util');
const commerce = require('./commerce');
const subscriptions = require('./subscriptions');
const pools = require('./pools');

const LEGACY_RETENTION = 90 * DAY;
const EXPIRED_DAYS = 30 * DAY;
const RETENTION = 90 * DAY;

/** Earliest first; an entry is void once its subscription was armed again. */
class Timers {
  constructor(world) {
    this.world = world;
    this.heap = [];
  }

  arm(sub) {
    sub.timer = (sub.timer || 0) + 1;
    const at = next(sub);
    if (at !== Infinity) this.push({ at, sub, timer: sub.timer });
  }

  /** Carries out everything that is due, in order of time. */
  run(now) {
    while (this.heap.length && this.heap[0].at <= now) {
      const { at, sub, timer } = this.pop();
      if (timer !== sub.timer) continue;
      happen(this.world, sub, at);
      this.arm(sub);
    }
  }

  push(entry) {
    const h = this.heap;
    let i = h.push(entry) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (h[parent].at <= h[i].at) break;
      [h[parent], h[i]] = [h[i], h[parent]];
      i = parent;
    }
  }

  pop() {
    const h = this.heap;
    const top = h[0];
    const last = h.pop();
    if (h.length) {
      h[0] = last;
      let i = 0;
      for (;;) {
        let least = i;
        for (const c of [2 * i + 1, 2 * i + 2]) if (c < h.length && h[c].at < h[least].at) least = c;
        if (least === i) break;
        [h[least], h[i]] = [h[i], h[least]];
        i = least;
      }
    }
    return top;
  }
}

function next(sub) {
  let at = sub.pending ? sub.pending.at : Infinity;
  if (sub.renewing_until !== null) return Math.min(at, sub.renewing_until);
  for (const b of sub.batches) if (!b.closed) at = Math.min(at, b.until);
  if (sub.status === 'active' && sub.term_end !== null) at = Math.min(at, sub.term_end);
  if (sub.status === 'suspended')
    at = Math.min(at, sub.commerce === 'nce' ? sub.term_end : sub.suspended_at + LEGACY_RETENTION);
  if (sub.status === 'expired') at = Math.min(at, sub.ended_at + EXPIRED_DAYS);
  if (sub.status === 'disabled') at = Math.min(at, sub.delete_at ?? Infinity);
  return at;
}

function happen(world, sub, at) {
  const ctx = { time: at, actor: 'service', account: sub.account };
  if (sub.pending && sub.pending.at <= at) {
    require('./changes').applyPending(world, sub, at);
    return;
  }
  if (sub.renewing_until !== null) {
    if (sub.renewing_until <= at) renew(world, { ...ctx, actor: 'renewal' }, sub);
    return;
  }
  for (const b of sub.batches)
    if (!b.closed && b.until <= at) {
      b.closed = true;
      if (b.quantity > 0)
        world.ledger.record(ctx, 'window_closed', {
          customer: sub.customer.id, subscription: sub.id, sku_id: sub.sku_id, after: { quantity: b.quantity },
        });
    }
  if (sub.status === 'active' && sub.term_end !== null && sub.term_end <= at) termEnds(world, ctx, sub);
  else if (sub.status === 'suspended' && sub.commerce === 'nce' && sub.term_end <= at) end(world, ctx, sub, 'disabled', EXPIRED_DAYS + RETENTION);
  else if (sub.status === 'suspended' && sub.commerce === 'legacy' && sub.suspended_at + LEGACY_RETENTION <= at) end(world, ctx, sub, 'deleted');
  else if (sub.status === 'expired' && sub.ended_at + EXPIRED_DAYS <= at) end(world, ctx, sub, 'disabled', RETENTION);
  else if (sub.status === 'disabled' && (sub.delete_at ?? Infinity) <= at) end(world, ctx, sub, 'deleted');
}

function termEnds(world, ctx, sub) {
  if (sub.trial) {
    if (sub.auto_renew && sub.scheduled_next) renew(world, { ...ctx, actor: 'renewal' }, sub);
    else end(world, ctx, sub, 'expired');
    return;
  }
  if (sub.commerce === 'legacy') {
    if (sub.auto_renew) renew(world, { ...ctx, actor: 'renewal' }, sub);
    else {
      const before = commerce.state(sub);
      sub.status = 'suspended';
      sub.suspended_at = ctx.time;
      commerce.changed(world, ctx, sub, 'suspend', before);
    }
    return;
  }
  const explicit = (sub.scheduled_actions || []).find((a) => a.actionType === 'Cancel');
  if (!sub.auto_renew && explicit) end(world, ctx, sub, 'disabled', RETENTION);
  else if (!sub.auto_renew && !subscriptions.extendable(world, sub)) end(world, ctx, sub, 'expired');
  else {
    const hours = renewalHours(world);
    if (hours > 0) {
      sub.renewing_until = sub.term_end + hours * HOUR;
      world.ledger.record(ctx, 'renewal_started', { customer: sub.customer.id, subscription: sub.id, sku_id: sub.sku_id });
    } else renew(world, { ...ctx, actor: 'renewal' }, sub);
  }
}

function renewalHours(world) {
  const h = world.options.renewal_hours;
  return Array.isArray(h) ? h[0] + world.random() * (h[1] - h[0]) : h;
}

/** A new term begins at 00:00 of the day after the last one; the window opens when the renewal is complete. */
function renew(world, ctx, sub) {
  const before = commerce.state(sub);
  const start = sub.term_end;
  const wasTrial = sub.trial;
  const oldSku = sub.sku_id;
  const custom = sub.auto_renew && sub.scheduled_next ? sub.scheduled_next.customTermEndDate : null;
  sub.renewing_until = null;
  if (sub.commerce === 'nce') {
    if (sub.auto_renew) takeInstructions(world, ctx, sub);
    else extend(world, sub);
  }
  if (wasTrial) sub.anchor_day = new Date(start).getUTCDate();
  sub.term_start = start;
  sub.term_start_day = start;
  sub.term_end = addMonths(start, termMonths(sub.term), sub.anchor_day);
  endEarly(world, sub, custom);
  if (sub.commerce === 'nce') {
    const until = ctx.time + commerce.windowMs(world);
    sub.batches = [{ quantity: sub.quantity, until, opened: ctx.time }];
    sub.cancel_until = sub.extended ? sub.term_end - 1000 : until;
  }
  meter(sub, start);
  const entry = commerce.changed(world, ctx, sub, sub.extended ? 'extended_term' : 'renew', before, {
    amount: prorated(sub, sub.quantity, start), terms: termsOf(sub, sub.quantity),
  });
  if (oldSku !== sub.sku_id) world.books.note(entry, oldSku);
  if (world.options.audit_renewals)
    world.audit.add(world, ctx, {
      customer: sub.customer, resourceType: 'subscription', operationType: 'update_subscription',
      old: null, new: subscriptions.view(world, sub), data: { SubscriptionId: sub.id },
    });
}

/** A custom date names the last day of a term that has just begun. */
function endEarly(world, sub, text) {
  const custom = text ? parseTime(text) : null;
  if (custom !== null && custom >= sub.term_start_day && custom < sub.term_end) sub.term_end = (dayOf(custom) + 1) * DAY;
  if (world.options.custom_term_end_date === 'cleared') sub.custom_term_end = null;
  else if (custom !== null) sub.custom_term_end = custom;
}

function takeInstructions(world, ctx, sub) {
  const next = sub.scheduled_next;
  sub.scheduled_next = null;
  sub.scheduled_actions = null;
  sub.trial = false;
  if (next) {
    const p = next.product;
    const product = world.catalogue.product(`${p.productId}:${p.skuId}`);
    if (product.key !== sub.product.key) {
      const oldSku = sub.sku_id;
      pools.startEmpty(sub.customer, product.sku.sku_id);
      sub.product = product;
      sub.sku_id = product.sku.sku_id;
      sub.friendly_name = product.title;
      pools.touch(sub.customer, oldSku, ctx.time);
    }
    sub.availability_id = p.availabilityId;
    sub.term = p.termDuration;
    sub.cycle = p.billingCycle;
    sub.promotion_id = p.promotionId || null;
    sub.quantity = next.quantity;
  } else if (sub.next_charge) {
    sub.cycle = sub.next_charge.product.billingCycle || sub.cycle;
  }
  sub.next_charge = null;
  sub.extended = Boolean(sub.product.extended_of);
  const terms = world.catalogue.price(sub.product, sub.term, sub.cycle);
  if (terms) sub.unit_price = terms.price;
}

/** The price is that of the catalogue's SKU for extended terms, whether or not the subscription shows that SKU. */
function extend(world, sub) {
  const own = sub.product.extended_of ? sub.product : world.catalogue.product(sub.product.extended_by);
  if (!sub.extended && own) sub.unit_price = own.terms[0].price;
  sub.extended = true;
  sub.term = 'P1M';
  sub.cycle = 'monthly';
  sub.scheduled_next = null;
  if (world.options.extended_terms_shape !== 'separate' || !own) return;
  if (sub.friendly_name === sub.product.title) sub.friendly_name = own.title;
  sub.product = own;
  sub.availability_id = own.availability_id;
  sub.auto_renew = true;
}

function end(world, ctx, sub, status, keep) {
  const before = commerce.state(sub);
  sub.status = status;
  sub.auto_renew = false;
  sub.scheduled_next = null;
  sub.scheduled_actions = null;
  sub.ended_at = ctx.time;
  sub.delete_at = keep ? ctx.time + keep : null;
  commerce.changed(world, ctx, sub, { expired: 'expire', disabled: 'disable', deleted: 'delete' }[status], before);
}

module.exports = { Timers, endEarly };
