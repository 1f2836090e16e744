'use strict';
// What other people do: a technician in Partner Center's portal, a customer's own admin.
// The same rules apply to them, only the PATCH semantics do not.

const crypto = require('crypto');
const { asList, DAY } = require('./util');
const commerce = require('./commerce');
const { PURCHASE, CHANGE, known } = require('./errors');
const licences = require('./licences');
const orders = require('./orders');
const pools = require('./pools');
const subscriptions = require('./subscriptions');
const users = require('./users');

const ACTORS = {
  technician: (account) => ({ actor: 'technician', account: account.name, upn: `technician01@${account.domain}` }),
  customer: (account, customer) => ({ actor: 'customer portal', account: account.name, upn: `admin@${customer.domain}` }),
};

/** Carries out one act; {customer, ...} by name or id. Throws what Partner Center would refuse. */
function act(world, a) {
  if (a.do === undefined) throw new Error('an act needs "do"');
  const now = world.settle();
  if (a.for_seconds !== undefined) {
    if (!LASTING[a.do]) throw new Error(`"${a.do}" does not last: it takes no for_seconds`);
    const undo = LASTING[a.do](world, a);
    world.alarm(a.for_seconds, () => act(world, undo));
  }
  if (WORLD[a.do]) return WORLD[a.do](world, a) || {};
  const customer = findCustomer(world, a.customer);
  const account = world.account(a.partner || [...customer.partners][0] || customer.first_partner);
  const who = ACTORS[a.actor || 'technician'];
  if (!who) throw new Error(`unknown actor "${a.actor}"`);
  const ctx = { time: now, partner: account, customer, ...who(account, customer) };
  const perform = ACTS[a.do];
  if (!perform) throw new Error(`unknown act "${a.do}"`);
  world.directory.keep(customer);
  return perform(world, ctx, customer, a) || {};
}

const WORLD = {
  /** Moves the clock in the middle of a request. */
  advance: (world, a) => { world.clock.moveTo(world.clock.now() + (a.seconds || 0) * 1000); world.settle(); },
  options: (world, a) => { require('./options').merge(world.options, a.options); },
  forget_requests: (world) => ({ forgotten: world.replay.forget() }),
  revoke_refresh_token: (world, a) => world.tokens.revokeRefresh(a.partner || world.accounts[0].name),
  revoke_access_tokens: (world, a) => world.tokens.revokeAccess(a.partner || world.accounts[0].name),
  /** {code}: purchases of that customer, or of all of a partner's, are refused with it; null: no more. */
  refuse_purchases: (world, a) => {
    const whose = a.customer ? findCustomer(world, a.customer) : world.account(a.partner || world.accounts[0].name);
    whose.refuses_purchases = a.code ? known(PURCHASE, a.code) : null;
  },
  /** {product, price[, term, cycle]}: what new terms cost from now on. */
  price: (world, a) => {
    const p = world.catalogue.product(a.product);
    for (const t of p.terms)
      if ((!a.term || a.term === t.term) && (!a.cycle || a.cycle === t.cycle)) world.catalogue.setPrice(p, t, a.price, world.clock.now(), world.started);
  },
  /** The ids of availabilities are not for ever: {product}; the old catalogItemId is unknown from now on. */
  new_availability: (world, a) => {
    const p = world.catalogue.product(a.product);
    p.availability_id = `CFQ7TTC${crypto.randomBytes(3).toString('hex').slice(0, 5).toUpperCase()}`;
    return { catalogItemId: `${p.product_id}:${p.sku_id}:${p.availability_id}` };
  },
  /** {product, on: false}: "This item isn't available", with status 200. */
  available: (world, a) => { world.catalogue.product(a.product).unavailable = a.on === false; },
  set_secret: (world, a) => { world.account(a.partner || world.accounts[0].name).client_secret = a.secret; },
};

const off = (world, { for_seconds, ...a }) => ({ ...a, on: a.on === false });

/** Acts that can be limited by for_seconds: what is done when the time is over. */
const LASTING = {
  options: (world, a) => ({ do: 'options', options: Object.fromEntries(Object.keys(a.options).map((name) => [name, structuredClone(world.options[name])])) }),
  delays: (world, { customer }) => ({ do: 'delays', customer }),
  licence_access: off,
  relationship: off,
  tenant: off,
  conditional_access: off,
  available: off,
  refuse_purchases: (world, { for_seconds, ...a }) => ({ ...a, code: null }),
  refuse_changes: (world, { for_seconds, ...a }) => ({ ...a, code: null }),
};

function findCustomer(world, name) {
  if (!name) throw new Error('an act needs "customer"');
  const byId = world.directory.get(String(name));
  if (byId) return byId;
  const wanted = String(name).toLowerCase();
  for (const c of world.directory.loaded()) if (c.name.toLowerCase() === wanted || c.domain === wanted) return c;
  throw new Error(`no customer "${name}"`);
}

/** By id; or the first paid subscription of a SKU that is in a state where the act makes sense. */
function findSubscription(world, customer, a, status = 'active') {
  if (a.subscription) {
    const sub = customer.subscriptions.get(String(a.subscription).toLowerCase());
    if (!sub) throw new Error(`no subscription "${a.subscription}"`);
    return sub;
  }
  const skuId = world.catalogue.sku(a.sku).sku_id;
  const subs = [...customer.subscriptions.values()].filter((s) => s.sku_id === skuId);
  const sub = subs.find((s) => s.status === status && !s.trial) || subs.find((s) => s.status === status) || subs[0];
  if (!sub) throw new Error(`customer has no subscription of ${a.sku}`);
  return sub;
}

function findUser(customer, a) {
  const user = users.lookup(customer, String(a.user));
  if (!user) throw new Error(`no user "${a.user}"`);
  return user;
}

/** An operation by a person, with its audit record. */
function operate(world, ctx, sub, op, ...args) {
  commerce.updatable(world, sub);
  op.check(world, sub, ...args);
  const old = subscriptions.view(world, sub);
  op.apply(world, ctx, sub, ...args);
  sub.updates++;
  world.audit.add(world, ctx, {
    customer: sub.customer, resourceType: 'subscription', operationType: 'update_subscription',
    old, new: subscriptions.view(world, sub), data: { SubscriptionId: sub.id, Quantity: String(sub.quantity) },
  });
  return { subscription: sub.id, quantity: sub.quantity, status: sub.status };
}

const DELAYS = ['provisioning_delay', 'report_delay_active', 'report_delay_consumed'];

const ACTS = {
  assign(world, ctx, customer, a) {
    licences.change(world, ctx, customer, findUser(customer, a), [{ sku: world.catalogue.sku(a.sku).sku_id, excluded: asList(a.excluded_plans) }], []);
  },
  unassign(world, ctx, customer, a) {
    licences.change(world, ctx, customer, findUser(customer, a), [], [world.catalogue.sku(a.sku).sku_id]);
  },
  /** {seats: +n} or {quantity: n} */
  raise(world, ctx, customer, a) {
    const sub = findSubscription(world, customer, a);
    return operate(world, ctx, sub, commerce.quantity, a.quantity ?? sub.quantity + (a.seats ?? 1));
  },
  lower(world, ctx, customer, a) {
    const sub = findSubscription(world, customer, a);
    return operate(world, ctx, sub, commerce.quantity, a.quantity ?? sub.quantity - (a.seats ?? 1));
  },
  suspend: (world, ctx, customer, a) => operate(world, ctx, findSubscription(world, customer, a), commerce.suspend),
  reactivate: (world, ctx, customer, a) => operate(world, ctx, findSubscription(world, customer, a, 'suspended'), commerce.reactivate),
  cancel: (world, ctx, customer, a) => operate(world, ctx, findSubscription(world, customer, a), commerce.cancel),
  /** {quantity[, product, term, cycle, custom_term_end]}; quantity null removes the schedule. */
  schedule(world, ctx, customer, a) {
    const sub = findSubscription(world, customer, a);
    if (a.quantity === null) return operate(world, ctx, sub, commerce.renewal, { next: null });
    const p = a.product ? world.catalogue.product(a.product) : sub.product;
    const next = {
      product: {
        productId: p.product_id, skuId: p.sku_id, availabilityId: p.availability_id,
        billingCycle: a.cycle || sub.cycle, termDuration: a.term || sub.term,
      },
      quantity: a.quantity,
    };
    if (a.custom_term_end) next.customTermEndDate = a.custom_term_end;
    return operate(world, ctx, sub, commerce.renewal, { auto_renew: true, next });
  },
  auto_renew: (world, ctx, customer, a) => operate(world, ctx, findSubscription(world, customer, a), commerce.renewal, { auto_renew: a.on !== false }),
  end_at_term(world, ctx, customer, a) {
    return operate(world, ctx, findSubscription(world, customer, a), commerce.renewal, {
      auto_renew: false, actions: [{ scheduleType: 'TermEnd', actionType: 'Cancel' }],
    });
  },
  create_user(world, ctx, customer, a) {
    const user = users.create(world, ctx, customer, {
      id: a.id || crypto.randomUUID(), upn: a.upn, display_name: a.display_name, usage_location: a.usage_location === undefined ? customer.country : a.usage_location,
    });
    return { user: user.id, upn: user.upn };
  },
  delete_user: (world, ctx, customer, a) => users.remove(world, ctx, customer, findUser(customer, a)),
  rename_user: (world, ctx, customer, a) => users.rename(world, ctx, customer, findUser(customer, a), a.upn),
  usage_location(world, ctx, customer, a) {
    const user = findUser(customer, a);
    world.ledger.record(ctx, 'usage_location', {
      customer: customer.id, user: user.id, before: { usage_location: user.usage_location }, after: { usage_location: a.usage_location },
    });
    user.usage_location = a.usage_location;
  },
  /** A group gives a licence; a group, too, needs a free seat. */
  group_assign(world, ctx, customer, a) {
    const user = findUser(customer, a);
    const sku = world.catalogue.sku(a.sku);
    if (user.groups.has(sku.sku_id)) return;
    const holds = licences.held(user).has(sku.sku_id);
    if (!holds) {
      pools.startEmpty(customer, sku.sku_id);
      licences.needSeat(world, customer, sku, ctx.time);
      pools.pool(customer, sku.sku_id).holders++;
    }
    user.groups.set(sku.sku_id, []);
    pools.touch(customer, sku.sku_id, ctx.time);
    if (!holds) world.ledger.record(ctx, 'assign', { customer: customer.id, sku_id: sku.sku_id, user: user.id, after: { upn: user.upn, group: true } });
  },
  /** The user leaves the group; a licence of its own stays. */
  group_unassign(world, ctx, customer, a) {
    const user = findUser(customer, a);
    const sku = world.catalogue.sku(a.sku);
    if (!user.groups.delete(sku.sku_id)) throw new Error(`"${user.upn}" has no ${a.sku} from a group`);
    if (user.licences.has(sku.sku_id)) return;
    pools.pool(customer, sku.sku_id).holders--;
    pools.touch(customer, sku.sku_id, ctx.time);
    world.ledger.record(ctx, 'unassign', { customer: customer.id, sku_id: sku.sku_id, user: user.id, before: { upn: user.upn, group: true } });
  },
  /** Holders that are no user objects: {sku, n: +3|-2}. */
  consume(world, ctx, customer, a) {
    const sku = world.catalogue.sku(a.sku);
    pools.startEmpty(customer, sku.sku_id);
    const p = pools.pool(customer, sku.sku_id);
    p.extra_consumed = Math.max(0, p.extra_consumed + (a.n ?? 1));
    pools.touch(customer, sku.sku_id, ctx.time);
    world.ledger.record(ctx, 'consume', { customer: customer.id, sku_id: sku.sku_id, after: { extra_consumed: p.extra_consumed } });
  },
  /** Seats of another supplier: {sku, seats: +5|-5}. */
  foreign(world, ctx, customer, a) {
    const sku = world.catalogue.sku(a.sku);
    pools.startEmpty(customer, sku.sku_id);
    const p = pools.pool(customer, sku.sku_id);
    p.foreign.active = Math.max(0, p.foreign.active + (a.seats ?? 1));
    pools.touch(customer, sku.sku_id, ctx.time);
    world.ledger.record(ctx, 'foreign', { customer: customer.id, sku_id: sku.sku_id, after: { active: p.foreign.active } });
  },
  /** A new subscription: {product: "CFQ…:0001", quantity, term, cycle}. */
  buy(world, ctx, customer, a) {
    const p = world.catalogue.product(a.product);
    if (!p) throw new Error(`no product "${a.product}"`);
    const t = p.terms.find((x) => (!a.term || x.term === a.term) && (!a.cycle || x.cycle === a.cycle)) || p.terms[0];
    const item = { catalog_item: `${p.product_id}:${p.sku_id}:${p.availability_id}`, quantity: a.quantity ?? 1, term: t.term, cycle: t.cycle };
    orders.mayBuy(ctx);
    item.product = orders.checkLine(world, ctx, item);
    orders.mayOrder(world, ctx, [item]);
    const order = orders.make(world, ctx, [item]);
    return { order: order.id, subscription: order.lines[0].sub.id };
  },
  licence_access(world, ctx, customer, a) {
    customer.licence_access = a.on !== false;
  },
  /** A policy of Conditional Access blocks the partner's calls for licences: {on}. */
  conditional_access(world, ctx, customer, a) {
    customer.conditional_access = a.on !== false;
  },
  /** {code, subscription|sku}: changes of that subscription are refused with it; null: no more. */
  refuse_changes(world, ctx, customer, a) {
    findSubscription(world, customer, a).refuses = a.code ? known(CHANGE, a.code) : null;
  },
  /** The relationship ends or begins: the customer disappears from the partner's list. */
  relationship(world, ctx, customer, a) {
    if (a.on === false) customer.partners.delete(ctx.account);
    else customer.partners.add(ctx.account);
  },
  /** The whole tenant is gone, for everybody: 404/60003, and in no list. */
  tenant(world, ctx, customer, a) {
    customer.gone = a.on === false;
  },
  /** Delays of this customer alone: {provisioning_delay, report_delay_active, report_delay_consumed}; none: those of all again. */
  delays(world, ctx, customer, a) {
    const own = Object.fromEntries(DELAYS.filter((name) => a[name] !== undefined && a[name] !== null).map((name) => [name, a[name]]));
    customer.delays = Object.keys(own).length ? own : null;
  },
  /** For a test that needs an old suspension or an almost worn-out subscription. */
  adjust_record(world, ctx, customer, a) {
    const sub = findSubscription(world, customer, a);
    if (a.updates !== undefined) sub.updates = a.updates;
    if (a.price !== undefined) sub.unit_price = a.price;
    if (a.suspended_days_ago !== undefined) sub.suspended_at = ctx.time - a.suspended_days_ago * DAY;
    world.timers.arm(sub);
  },
};

module.exports = { act, findCustomer, names: [...Object.keys(ACTS), ...Object.keys(WORLD)] };
