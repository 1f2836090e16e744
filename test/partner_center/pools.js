'use strict';
// The pool of one SKU at one customer: all seats of all suppliers, and who holds them.
// Partner Center's report lags, so each pool remembers what it was a while ago.

const { DAY } = require('./util');

const KEEP = 14 * DAY;

function pool(customer, skuId) {
  let p = customer.pools.get(skuId);
  if (!p) {
    p = {
      sku_id: skuId,
      foreign: { active: 0, warning: 0, suspended: 0 },
      extra_consumed: 0,
      holders: 0,
      units: [],
      used: [],
    };
    customer.pools.set(skuId, p);
  }
  return p;
}

/** What the pool is now, from the subscriptions of every partner and the foreign seats; owned: the partners' active ones, no trials. */
function count(customer, p) {
  const units = { active: p.foreign.active, warning: p.foreign.warning, suspended: p.foreign.suspended, owned: 0 };
  for (const sub of customer.subscriptions.values()) {
    if (sub.sku_id !== p.sku_id) continue;
    if (sub.status === 'active') {
      units.active += sub.quantity;
      if (!sub.trial) units.owned += sub.quantity;
    } else if (sub.status === 'expired') units.warning += sub.quantity;
    else if (sub.status === 'suspended' || sub.status === 'disabled') units.suspended += sub.quantity;
  }
  return units;
}

const consumed = (p) => p.holders + p.extra_consumed;

/** Called after every change of a subscription or assignment, at the moment it happens. */
function touch(customer, skuId, ms) {
  const p = pool(customer, skuId);
  const units = { at: ms, ...count(customer, p) };
  push(p.units, units, ms);
  push(p.used, { at: ms, n: consumed(p) }, ms);
  customer.revision++;
  return p;
}

function push(history, entry, ms) {
  // The first entry holds from the beginning of time.
  if (history.length === 0) history.push({ ...entry, at: -Infinity });
  else if (history[history.length - 1].at === entry.at) history[history.length - 1] = entry;
  else history.push(entry);
  while (history.length > 2 && history[1].at < ms - KEEP) history.shift();
}

/** A pool that appears with a purchase was empty before it. */
function startEmpty(customer, skuId) {
  if (customer.pools.has(skuId)) return;
  const p = pool(customer, skuId);
  p.units.push({ at: -Infinity, active: 0, warning: 0, suspended: 0, owned: 0 });
  p.used.push({ at: -Infinity, n: 0 });
}

function asOf(history, ms) {
  for (let i = history.length - 1; i > 0; i--) if (history[i].at <= ms) return history[i];
  return history[0];
}

/** The options, with the delays that hold for this customer alone. */
const delays = (world, customer) => (customer.delays ? { ...world.options, ...customer.delays } : world.options);

/** Seats that can be assigned: a bought seat only after the provisioning delay, a removed one no more. */
function provisioned(p, now, options) {
  const start = now - options.provisioning_delay * 1000;
  let least = asOf(p.units, start).active;
  for (const u of p.units) if (u.at > start && u.at <= now) least = Math.min(least, u.active);
  return least;
}

const assignable = (p, now, options) => provisioned(p, now, options) - consumed(p);

/** The row as reported now, with its delays. */
function reported(p, now, options) {
  const delay = Math.max(options.report_ahead ? 0 : options.provisioning_delay, options.report_delay_active) * 1000;
  const units = delay ? asOf(p.units, now - delay) : p.units[p.units.length - 1];
  const used = options.report_delay_consumed
    ? asOf(p.used, now - options.report_delay_consumed * 1000)
    : p.used[p.used.length - 1];
  return { active: units.active, warning: units.warning, suspended: units.suspended, consumed: used.n };
}

function capability(r) {
  if (r.active > 0) return 'Enabled';
  if (r.warning > 0) return 'Warning';
  if (r.suspended > 0) return 'Suspended';
  return 'Deleted';
}

function planView(plan, status) {
  return {
    displayName: plan.name,
    serviceName: plan.service,
    id: plan.id,
    capabilityStatus: status,
    targetType: plan.target || 'User',
  };
}

function rowView(world, customer, p) {
  const r = reported(p, world.clock.now(), delays(world, customer));
  const sku = world.catalogue.sku(p.sku_id);
  const total = r.active + r.warning;
  return {
    availableUnits: total - r.consumed,
    activeUnits: r.active,
    consumedUnits: r.consumed,
    suspendedUnits: r.suspended,
    totalUnits: total,
    warningUnits: r.warning,
    productSku: {
      id: sku.sku_id,
      name: sku.name,
      skuPartNumber: sku.part_number,
      targetType: sku.target_type,
      licenseGroupId: sku.license_group,
    },
    servicePlans: sku.plans.map((plan) => planView(plan, 'Enabled')),
    capabilityStatus: capability(r),
    attributes: { objectType: 'SubscribedSku' },
  };
}

/** GET /customers/{id}/subscribedskus: group1 unless the caller asks for more. */
function list(world, ctx) {
  const groups = licenceGroups(ctx.request);
  const items = [];
  for (const p of ctx.customer.pools.values()) {
    const sku = world.catalogue.sku(p.sku_id);
    if (sku.hidden || !groups.has(sku.license_group)) continue;
    const row = rowView(world, ctx.customer, p);
    if (row.totalUnits + row.suspendedUnits + row.consumedUnits === 0 && world.options.empty_pools === 'omitted') continue;
    items.push(row);
  }
  return { status: 200, body: { totalCount: items.length, items, attributes: { objectType: 'Collection' } } };
}

function licenceGroups(request) {
  const given = request.query.getAll('licenseGroupIds').map((g) => g.toLowerCase());
  return new Set(given.length ? given : ['group1']);
}

module.exports = { pool, count, delays, consumed, touch, startEmpty, provisioned, assignable, reported, planView, list, licenceGroups };
