'use strict';
// PATCH of a subscription. It is not a merge patch: the caller sends the whole resource with one
// member changed, and what it leaves out is reset (auto-renew off, schedules deleted).

const { errors, refuse } = require('./errors');
const commerce = require('./commerce');
const subscriptions = require('./subscriptions');

const has = (body, name) => body[name] !== undefined;

function patch(world, ctx) {
  const sub = subscriptions.find(world, ctx);
  const body = withoutEcho(world, sub, withoutDefaults(ctx.request.json()));
  checkEtag(world, ctx, sub, body);
  const plan = understand(world, sub, body);
  commerce.updatable(world, sub);
  if (plan.length > 1 && world.options.one_change_per_patch)
    throw errors.input(`Only one property can be changed at a time: ${plan.map((c) => c.name).join(', ')}.`);
  for (const change of plan) change.check();

  const old = subscriptions.view(world, sub);
  const seconds = ctx.accept_202 ?? world.options.patch_async_seconds;
  if (seconds > 0 && plan.length) {
    sub.pending = { at: ctx.time + seconds * 1000, ctx: { ...ctx, request: null }, plan, body, old };
    world.timers.arm(sub);
    return { status: 202, body: null, headers: { location: `/customers/${sub.customer.id}/subscriptions/${old.id}` } };
  }
  applyPlan(world, ctx, sub, plan, body, old);
  return { status: 200, body: subscriptions.view(world, sub) };
}

/**
 * The .NET SDK serialises a whole object: who fills in the status alone sends the defaults of all other types with it,
 * a billing cycle "unknown" among them, which no resource ever has. Such defaults count as left out.
 */
function withoutDefaults(body) {
  if (!UNSET.includes(String(body.billingcycle).toLowerCase())) return body;
  const { billingcycle, ...rest } = body;
  if (rest.quantity === 0) delete rest.quantity;
  if (rest.autorenewenabled === false) delete rest.autorenewenabled;
  if (UNSET.includes(String(rest.status).toLowerCase())) delete rest.status;
  return rest;
}

/** What was only announced and comes back as it was shown is nobody's wish. */
function withoutEcho(world, sub, body) {
  if (world.options.scheduled_actions !== 'announced' || sub.scheduled_actions || !Array.isArray(body.scheduledactions)) return body;
  if (!same(body.scheduledactions.map(action), subscriptions.scheduledActions(world, sub))) return body;
  const { scheduledactions, ...rest } = body;
  return rest;
}

const UNSET = ['unknown', 'none'];

function applyPlan(world, ctx, sub, plan, body, old) {
  sub.updates++;
  for (const change of plan) change.apply(ctx);
  resetWhatIsMissing(world, ctx, sub, body);
  world.audit.add(world, ctx, {
    customer: sub.customer,
    resourceType: 'subscription',
    operationType: 'update_subscription',
    old,
    new: subscriptions.view(world, sub),
    data: { SubscriptionId: old.id, SubscriptionName: sub.friendly_name, Quantity: String(sub.quantity) },
  });
}

/** Later application of a change that was answered with 202. */
function applyPending(world, sub, time) {
  const { ctx, plan, body, old } = sub.pending;
  sub.pending = null;
  const later = { ...ctx, time };
  try {
    commerce.updatable(world, sub);
    for (const change of plan) change.check(time);
  } catch (e) {
    world.ledger.record(later, 'accepted_change_dropped', {
      customer: sub.customer.id, subscription: sub.id, sku_id: sub.sku_id, after: { why: e.message },
    });
    world.timers.arm(sub);
    return;
  }
  applyPlan(world, later, sub, plan, body, old);
  world.timers.arm(sub);
}

function checkEtag(world, ctx, sub, body) {
  if (sub.commerce !== 'legacy') return;
  const current = subscriptions.etag(sub);
  const header = ifMatch(ctx.request.headers['if-match']);
  const inBody = body.attributes && body.attributes.etag;
  for (const given of [header, inBody])
    if (given && given !== current) throw errors.staleEtag(world.options.stale_etag_status);
}

/** The value is quoted, as the documents show it; anything else is a bug of the caller. */
function ifMatch(given) {
  if (given === undefined || given.trim() === '*') return '';
  const m = /^"([^"]*)"$/.exec(given.trim());
  if (!m) throw errors.input('If-Match must hold a quoted ETag.');
  return m[1];
}

/** Which changes does the body ask for? Members that no caller can set are ignored. */
function understand(world, sub, body) {
  const plan = [];
  if (has(body, 'id') && String(body.id).toLowerCase() !== sub.id) throw errors.input('The id does not match the resource.');

  if (has(body, 'quantity') && body.quantity !== null && body.quantity !== sub.quantity)
    plan.push({
      name: 'quantity',
      check: (now) => commerce.quantity.check(world, sub, body.quantity, now),
      apply: (ctx) => commerce.quantity.apply(world, ctx, sub, body.quantity),
    });

  if (has(body, 'status') && body.status !== null && String(body.status).toLowerCase() !== sub.status)
    plan.push(statusChange(world, sub, String(body.status).toLowerCase()));

  const renewal = renewalChange(world, sub, body);
  if (renewal) plan.push(renewal);

  if (body.nextchargeinstructions) {
    const next = instructions(body.nextchargeinstructions);
    if (!same(next, sub.next_charge)) plan.push(nextChargeChange(world, sub, next));
  }

  for (const [member, field] of [['friendlyname', 'friendly_name'], ['partnerid', 'partner_id']]) {
    if (!has(body, member)) continue;
    const value = body[member] === null ? '' : String(body[member]);
    if (value !== (sub[field] || '')) plan.push(plainChange(world, sub, member, field, value));
  }

  if (body.billingcycle && String(body.billingcycle).toLowerCase() !== sub.cycle) {
    if (sub.commerce === 'legacy') throw refuse(400, 2054, 'The billing cycle cannot be changed here. Update the order.');
    throw refuse(400, 800097, 'The billing cycle cannot be updated.');
  }
  if (body.termduration && String(body.termduration).toUpperCase() !== sub.term)
    throw errors.input('The term duration cannot be updated.');
  const view = subscriptions.view(world, sub);
  if (body.offerid && String(body.offerid).toLowerCase() !== view.offerId.toLowerCase())
    throw errors.input('The offer cannot be updated.');
  return plan;
}

function statusChange(world, sub, wanted) {
  const op = { suspended: commerce.suspend, active: commerce.reactivate, deleted: commerce.cancel }[wanted];
  if (!op) throw refuse(400, 800096, `The status cannot be set to "${wanted}".`);
  return {
    name: 'status',
    check: (now) => op.check(world, sub, now),
    apply: (ctx) => op.apply(world, ctx, sub),
  };
}

/** Auto-renew, instructions and actions belong together: they say what happens at the end of the term. */
function renewalChange(world, sub, body) {
  const wanted = {};
  const autoRenew = body.autorenewenabled;
  if (autoRenew !== undefined && autoRenew !== null) {
    if (typeof autoRenew !== 'boolean') throw errors.property('autoRenewEnabled is not a boolean.');
    if (autoRenew !== sub.auto_renew) wanted.auto_renew = autoRenew;
  }
  // Turning auto-renew off deletes instructions, sent back or not.
  if (body.schedulednextterminstructions && wanted.auto_renew !== false) {
    const next = instructions(body.schedulednextterminstructions);
    if (!same(next, sub.scheduled_next)) wanted.next = next;
  }
  if (Array.isArray(body.scheduledactions) && body.scheduledactions.length) {
    const actions = body.scheduledactions.map(action);
    if (!same(actions, subscriptions.scheduledActions(world, sub))) wanted.actions = actions;
    else if (wanted.auto_renew !== undefined) wanted.actions = actions; // contradictions are refused
    const renew = actions.find((a) => a.actionType === 'RenewToNewTerm' && a.instructions);
    if (renew && !wanted.next && !same(renew.instructions, sub.scheduled_next)) wanted.next = renew.instructions;
  }
  if (!Object.keys(wanted).length) return null;
  return {
    name: 'renewal',
    check: () => commerce.renewal.check(world, sub, wanted),
    apply: (ctx) => commerce.renewal.apply(world, ctx, sub, wanted),
  };
}

function nextChargeChange(world, sub, next) {
  return {
    name: 'nextChargeInstructions',
    check: () => {
      if (sub.commerce === 'legacy') throw refuse(403, 900263, 'This method is not supported for legacy subscriptions.');
    },
    apply: (ctx) => {
      const before = { ...commerce.state(sub), next_charge: sub.next_charge };
      sub.next_charge = next;
      commerce.changed(world, ctx, sub, 'next_charge', before, { after: { ...commerce.state(sub), next_charge: next } });
    },
  };
}

function plainChange(world, sub, member, field, value) {
  return {
    name: member,
    check: () => {
      if (sub.status === 'suspended') throw refuse(400, 800091, 'A suspended subscription cannot be updated.');
    },
    apply: (ctx) => {
      const before = { ...commerce.state(sub), [field]: sub[field] };
      sub[field] = value;
      commerce.changed(world, ctx, sub, 'rename', before, { after: { ...commerce.state(sub), [field]: value } });
    },
  };
}

function resetWhatIsMissing(world, ctx, sub, body) {
  if (sub.status === 'deleted') return;
  const missing = (name) => body[name] === undefined || body[name] === null;
  const lost = {};
  if (missing('autorenewenabled') && sub.auto_renew) {
    lost.auto_renew = true;
    commerce.setAutoRenew(world, ctx, sub, false);
  }
  if (missing('schedulednextterminstructions') && sub.scheduled_next && !sub.trial
      && !(body.scheduledactions || []).some((a) => a.instructions)) {
    lost.scheduled_next = sub.scheduled_next;
    sub.scheduled_next = null;
  }
  if (missing('nextchargeinstructions') && sub.next_charge) {
    lost.next_charge = sub.next_charge;
    sub.next_charge = null;
  }
  if ((missing('scheduledactions') || body.scheduledactions.length === 0) && sub.scheduled_actions) {
    lost.scheduled_actions = sub.scheduled_actions;
    sub.scheduled_actions = null;
  }
  if (!Object.keys(lost).length) return;
  commerce.changed(world, ctx, sub, 'reset_by_omission', { ...commerce.state(sub), ...lost });
}

/** The body's keys are in lower case by now; back to the names of the resource. */
function instructions(x) {
  if (x.instructions) return instructions(x.instructions);
  const p = x.product || {};
  const product = {
    productId: p.productid,
    skuId: p.skuid,
    availabilityId: p.availabilityid,
    billingCycle: String(p.billingcycle || '').toLowerCase(),
    termDuration: String(p.termduration || '').toUpperCase(),
  };
  if (p.promotionid) product.promotionId = p.promotionid;
  const next = { product, quantity: x.quantity };
  if (x.customtermenddate) next.customTermEndDate = x.customtermenddate;
  return next;
}

function action(x) {
  const a = { scheduleType: x.scheduletype, actionType: x.actiontype };
  if (x.effectivedate) a.effectiveDate = x.effectivedate;
  if (x.instructions) a.instructions = instructions(x.instructions);
  return a;
}

const same = (a, b) => JSON.stringify(a ?? null).toLowerCase() === JSON.stringify(b ?? null).toLowerCase();

module.exports = { patch, applyPending };
