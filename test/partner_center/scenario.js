'use strict';
// From a scenario (JSON) to live objects. README.md describes the format.

const { guidFrom, midnight, addMonths, termMonths, parseTime, DAY, HOUR, asList } = require('./util');
const { meter } = require('./ledger');
const pools = require('./pools');

const lower = (s) => String(s).toLowerCase();

function buildAccount(a, index) {
  const name = a.name || `partner${index + 1}`;
  return {
    kind: 'direct',
    currency: 'USD',
    domain: `${name}.example`,
    mfa: false,
    roles: ['AdminAgent'],
    redirect_uris: ['http://localhost'],
    ...a,
    name,
    tenant_id: lower(a.tenant_id || guidFrom(`tenant ${name}`)),
    client_id: lower(a.client_id || guidFrom(`client ${name}`)),
    client_secret: a.client_secret || `secret~of+${name}/=`,
    // No refresh token in the scenario means app-only access.
    refresh_token: a.refresh_token === undefined ? `0.AX-${name}-refresh` : a.refresh_token,
    user_id: guidFrom(`agent ${name}`),
    agent_upn: a.agent_upn || `agent01@${a.domain || `${name}.example`}`,
  };
}

function buildCustomer(world, c) {
  const id = lower(c.id || guidFrom(`customer ${c.name}`));
  const customer = {
    id,
    name: c.name,
    domain: c.domain || `${lower(c.name).replace(/[^a-z0-9]+/g, '')}.example`,
    country: c.country || 'US',
    partners: new Set(asList(c.partners).length ? asList(c.partners) : [world.accounts[0].name]),
    licence_access: c.licence_access !== false,
    agreement: c.agreement !== false,
    gone: false,
    conditional_access: Boolean(c.conditional_access),
    refuses_purchases: null,
    processing: [],
    first_partner: asList(c.partners)[0] || world.accounts[0].name,
    delays: null,
    subscriptions: new Map(),
    users: new Map(),
    upns: new Map(),
    pools: new Map(),
    carts: new Map(),
    orders: new Map(),
    revision: 0,
  };
  const now = world.clock.now();
  for (const s of asList(c.subscriptions)) buildSubscription(world, customer, s, now);
  for (const [name, units] of Object.entries(c.foreign_seats || {})) {
    const p = pools.pool(customer, world.catalogue.sku(name).sku_id);
    Object.assign(p.foreign, typeof units === 'number' ? { active: units } : units);
  }
  for (const [name, n] of Object.entries(c.extra_consumed || {})) pools.pool(customer, world.catalogue.sku(name).sku_id).extra_consumed = n;
  buildUsers(world, customer, c);
  for (const p of customer.pools.values()) pools.touch(customer, p.sku_id, now);
  customer.revision = 0;
  return customer;
}

function buildUsers(world, customer, c) {
  const given = asList(c.users).slice();
  for (let n = 1; n <= (c.user_count || 0); n++) given.push({ upn: `user${String(n).padStart(2, '0')}@${customer.domain}` });
  for (const u of given) {
    const local = u.upn.split('@')[0];
    const user = {
      id: lower(u.id || guidFrom(`user ${customer.id} ${lower(u.upn)}`)),
      upn: u.upn,
      first_name: u.first_name || 'User',
      last_name: u.last_name || local.replace(/^\D+/, '') || local,
      display_name: u.display_name || local,
      usage_location: u.usage_location === undefined ? customer.country : u.usage_location,
      state: u.state || 'active',
      deleted_at: u.state === 'inactive' ? world.clock.now() : null,
      former_upn: u.upn,
      licences: new Map(),
      groups: new Map(),
    };
    customer.users.set(user.id, user);
    customer.upns.set(lower(user.upn), user.id);
    for (const s of asList(u.licences || u.licenses)) hold(world, customer, user, s, 'licences');
    for (const s of asList(u.group_licences || u.group_licenses)) hold(world, customer, user, s, 'groups');
  }
  // "assigned": {"SPB": 12} gives the licence to the first 12 users that lack it.
  for (const [name, count] of Object.entries(c.assigned || {})) {
    let left = count;
    const skuId = world.catalogue.sku(name).sku_id;
    for (const user of customer.users.values()) {
      if (left === 0) break;
      if (user.state !== 'active' || user.licences.has(skuId)) continue;
      hold(world, customer, user, name, 'licences');
      left--;
    }
    if (left > 0) throw new Error(`customer "${customer.name}" has too few users for assigned ${name}`);
  }
}

function hold(world, customer, user, name, kind) {
  const skuId = world.catalogue.sku(name).sku_id;
  if (!user.licences.has(skuId) && !user.groups.has(skuId)) pools.pool(customer, skuId).holders++;
  user[kind].set(skuId, []);
}

/** Dates: `started` (time), or `started_days_ago`, or `ends_in_days`; what is missing follows from the term. */
function buildSubscription(world, customer, s, now) {
  const nce = Boolean(s.product);
  const product = nce ? world.catalogue.product(s.product) : null;
  const offer = nce ? null : findOffer(world, s.offer);
  if (nce && !product) throw new Error(`unknown product "${s.product}" in the scenario`);
  const term = s.term || (nce ? product.terms[0].term : 'P1Y');
  const cycle = s.cycle || (nce ? product.terms.find((t) => t.term === term).cycle : 'monthly');
  const trial = s.trial ?? (nce ? product.trial : offer.trial);
  const months = s.term_days ? null : termMonths(term);
  const dates = termDates(s, now, months);
  const account = s.partner || [...customer.partners][0];
  const id = lower(s.id || guidFrom(`subscription ${customer.id} ${account} ${s.product || s.offer} ${customer.subscriptions.size}`));
  const priced = nce && world.catalogue.price(product, term, cycle);
  const extended = Boolean(s.extended || (product && product.extended_of));
  const windowEnd = dates.start + world.options.refund_window_hours * HOUR;
  const batches = (s.batches || (nce && !trial ? [{ quantity: s.quantity, until: windowEnd }] : [])).map((b) => {
    const until = b.until !== undefined ? parseTime(b.until) : now + b.hours_left * HOUR;
    return { quantity: b.quantity, until, opened: until - world.options.refund_window_hours * HOUR, closed: until <= now };
  });
  const status = s.status || 'active';
  const sub = world.newSubscription({
    id,
    account,
    customer,
    commerce: nce ? 'nce' : 'legacy',
    product,
    offer,
    sku_id: nce ? product.sku.sku_id : offer.sku.sku_id,
    availability_id: nce ? product.availability_id : null,
    term: nce ? term : s.term || 'P1Y',
    cycle,
    quantity: s.quantity,
    status,
    trial,
    auto_renew: s.auto_renew ?? !trial,
    friendly_name: s.friendly_name || (nce ? product.title : offer.name),
    partner_id: s.partner_id || null,
    promotion_id: s.promotion_id || null,
    order_id: s.order_id || (nce ? guidFrom(`order ${id}`).replace(/-/g, '').slice(0, 12) : guidFrom(`order ${id}`)),
    created: s.created !== undefined ? parseTime(s.created) : dates.created,
    term_start: dates.start,
    term_start_day: midnight(dates.start),
    term_end: dates.end,
    anchor_day: new Date(midnight(dates.start)).getUTCDate(),
    cancel_until: nce && !trial ? (extended ? dates.end - 1000 : windowEnd) : null,
    batches,
    scheduled_next: scheduledNext(world, s, product, term, cycle),
    scheduled_actions: s.scheduled_actions || (s.ends ? [{ scheduleType: 'TermEnd', actionType: 'Cancel' }] : null),
    next_charge: null,
    extended,
    unit_price: s.price ?? (nce ? (priced ? priced.price : 0) : offer.price),
    custom_term_end: s.custom_term_end === undefined ? null : parseTime(s.custom_term_end),
    parent_id: s.parent ? lower(s.parent) : null,
    updates: s.updates || 0,
    version: s.version || 1,
    suspended_at: status === 'suspended' ? now - (s.suspended_days_ago || 0) * DAY : null,
    ended_at: status === 'expired' || status === 'deleted' || status === 'disabled' ? now : null,
    delete_at: status === 'disabled' ? now + 90 * DAY : null,
    visible_at: -Infinity,
    provisioned_at: -Infinity,
    provisioned_before: s.quantity,
  });
  if (s.ends) sub.auto_renew = false;
  if (!sub.auto_renew) sub.auto_renew_off_at = dates.start;
  customer.subscriptions.set(id, sub);
  pools.pool(customer, sub.sku_id);
  meter(sub, now);
  if (nce)
    customer.orders.set(sub.order_id, {
      id: sub.order_id, account, created: sub.created, visible_at: -Infinity, cycle,
      lines: [{ number: 0, sub, quantity: s.quantity, price: sub.unit_price, term, offer: `${product.product_id}:${product.sku_id}:${product.availability_id}` }],
    });
  // A customer that is only looked at must not be held by its timers.
  if (!world.directory || !world.directory.lazy) world.timers.arm(sub);
  return sub;
}

function findOffer(world, name) {
  const offer = world.catalogue.offers.get(lower(name)) || [...world.catalogue.offers.values()].find((o) => o.alias === name);
  if (!offer) throw new Error(`unknown offer "${name}" in the scenario`);
  return offer;
}

/** The running term. A start further back than one term means that it has been renewed since. */
function termDates(s, now, months) {
  if (s.term_days) {
    const start = s.started !== undefined ? parseTime(s.started) : now - (s.started_days_ago || 0) * DAY;
    return { start, created: start, end: midnight(start) + s.term_days * DAY };
  }
  if (s.ends_in_days !== undefined) {
    const end = midnight(now) + s.ends_in_days * DAY;
    const start = addMonths(end, -months);
    return { start, created: start, end };
  }
  const started = s.started !== undefined ? parseTime(s.started) : now - (s.started_days_ago ?? 100) * DAY;
  const anchor = new Date(started).getUTCDate();
  let start = started;
  let end = addMonths(midnight(started), months, anchor);
  for (let n = 1; end <= now && (s.status || 'active') === 'active'; n++) {
    start = end;
    end = addMonths(midnight(started), months * (n + 1), anchor);
  }
  return { start, created: started, end };
}

/** "next": 7 (seats), or {quantity, product, term, cycle}. */
function scheduledNext(world, s, product, term, cycle) {
  if (s.next === undefined || s.next === null) return null;
  const n = typeof s.next === 'number' ? { quantity: s.next } : s.next;
  const p = n.product ? world.catalogue.product(n.product) : product;
  return {
    product: {
      productId: p.product_id, skuId: p.sku_id, availabilityId: p.availability_id,
      billingCycle: n.cycle || cycle, termDuration: n.term || term,
    },
    quantity: n.quantity,
  };
}

module.exports = { buildAccount, buildCustomer };
