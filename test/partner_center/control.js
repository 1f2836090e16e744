'use strict';
// The control API under /_emulator/: for tests, not part of Partner Center.

const { act, names } = require('./actors');
const { ApiError } = require('./errors');
const { DEFAULTS, merge } = require('./options');
const { wantedOf } = require('./books');
const { bill, billedSeats, committed } = require('./ledger');
const { parseTime, round, DAY, midnight } = require('./util');
const pools = require('./pools');
const { signIn } = require('./signin');
const subscriptions = require('./subscriptions');
const { loadScenario } = require('./scenario/load');

/** Returns {status, body}. `server` = {world, replace(scenario), shutdown()}. */
function control(server, method, path, body) {
  const [route, search] = path.split('?');
  const query = new URLSearchParams(search || '');
  const name = `${method} ${route.replace(/\/+$/, '')}`;
  const handler = ROUTES[name];
  if (!handler) return { status: 404, body: { error: `no such call: ${name}`, calls: Object.keys(ROUTES) } };
  try {
    const given = body.length ? JSON.parse(body.toString('utf8')) : {};
    server.world.settle();
    return { status: 200, body: handler(server, given, query) || { ok: true } };
  } catch (e) {
    if (e instanceof ApiError) return { status: 409, body: { error: e.message, ...e.body() } };
    return { status: 400, body: { error: e.message } };
  }
}

const iso = (ms) => (ms === null || ms === undefined || !Number.isFinite(ms) ? null : new Date(ms).toISOString());
const clockView = (world) => ({
  now: iso(world.clock.now()),
  offset_seconds: round((world.clock.now() - world.clock.real()) / 1000),
  frozen: world.clock.frozen !== null,
});

const ROUTES = {
  /** A scenario, or {"builtin": "msp"}. Everything starts anew, the faults too. */
  'POST /_emulator/load': (server, given) => {
    server.replace(given.builtin ? { ...loadScenario(given.builtin), ...without(given, 'builtin') } : given);
    return { customers: [...server.world.directory.loaded()].length, accounts: accounts(server.world), clock: clockView(server.world) };
  },
  'POST /_emulator/reset': (server) => {
    server.replace(null);
    return { ok: true, clock: clockView(server.world) };
  },

  'GET /_emulator/accounts': ({ world }) => accounts(world),
  'GET /_emulator/state': ({ world }, given, query) => state(world, query),
  'GET /_emulator/invariants': ({ world }) => invariants(world),
  'GET /_emulator/ledger': ({ world }, given, query) => {
    const asked = (name) => query.get(name);
    const customer = asked('customer') && customerId(world, asked('customer'));
    return world.ledger.since(Number(query.get('since') || 0), (e) =>
      (!customer || e.customer === customer)
      && (!asked('subscription') || e.subscription === asked('subscription').toLowerCase())
      && (!asked('action') || asked('action').split(',').includes(e.action))
      && (!asked('actor') || asked('actor').split(',').includes(e.actor)));
  },
  'GET /_emulator/timeline': ({ world }, given, query) => world.books.timeline(wanted(world, query), customersOf(world, query)),
  'GET /_emulator/shortages': ({ world }, given, query) => {
    const against = query.get('against') || 'active';
    if (against !== 'active' && against !== 'owned') throw new Error('"against" is active or owned');
    return world.books.shortages(wanted(world, query), customersOf(world, query), against === 'owned' ? 'lacking_owned' : 'lacking');
  },
  'GET /_emulator/holders': ({ world }, given, query) => world.books.holders(wanted(world, query), customersOf(world, query)),
  'GET /_emulator/bill': ({ world }, given, query) => bills(world, query),
  'GET /_emulator/requests': ({ world }, given, query) =>
    world.requests.since(Number(query.get('since') || 0)).filter((r) => !query.get('kind') || query.get('kind').split(',').includes(r.kind)),
  'GET /_emulator/counts': ({ world }) => ({
    total: Object.values(world.requests.counts).reduce((a, b) => a + b, 0),
    mutating: world.requests.mutating,
    replayed: world.requests.replayed,
    throttled: world.throttle.refused,
    last_seq: world.requests.total,
    by_kind: world.requests.counts,
  }),
  'DELETE /_emulator/requests': ({ world }) => world.requests.clear(),

  'GET /_emulator/clock': ({ world }) => clockView(world),
  'POST /_emulator/clock': ({ world }, given) => {
    if (given.freeze !== undefined) world.clock.freeze(Boolean(given.freeze));
    if (given.now !== undefined) world.clock.moveTo(must(parseTime(given.now), 'now'));
    if (given.offset_seconds !== undefined) world.clock.moveTo(world.clock.real() + given.offset_seconds * 1000);
    if (given.advance_seconds !== undefined) world.clock.moveTo(world.clock.now() + given.advance_seconds * 1000);
    if (given.advance_days !== undefined) world.clock.moveTo(world.clock.now() + given.advance_days * DAY);
    world.settle();
    return clockView(world);
  },

  'GET /_emulator/faults': ({ world }) => world.faults.rules.map(({ path, customers, accounts, from, until, ...r }) => ({ ...r, from: iso(from), until: iso(until) })),
  'POST /_emulator/faults': ({ world }, given) => {
    const ids = (Array.isArray(given) ? given : [given]).map((r) => world.faults.add(r));
    return { id: ids[0], ids };
  },
  'DELETE /_emulator/faults': ({ world }, given, query) => ({ removed: world.faults.remove(query.get('id') ? Number(query.get('id')) : undefined) }),

  'GET /_emulator/options': ({ world }) => world.options,
  'POST /_emulator/options': ({ world }, given) => {
    merge(world.options, given);
    world.quirksRevision++;
    return world.options;
  },

  'POST /_emulator/act': ({ world }, given) => {
    if (!Array.isArray(given)) return act(world, given);
    return given.map((a) => act(world, a));
  },
  'POST /_emulator/sign_in': ({ world }, given) => signIn(world, given),
  'POST /_emulator/forget': ({ world }) => ({ forgotten: world.replay.forget() }),
  'GET /_emulator/help': () => ({ calls: Object.keys(ROUTES), acts: names, options: DEFAULTS }),
  'POST /_emulator/shutdown': (server) => { setImmediate(() => server.shutdown()); },
};

function without(o, name) {
  const { [name]: _, ...rest } = o;
  return rest;
}

function must(value, name) {
  if (value === null) throw new Error(`"${name}" is no time`);
  return value;
}

const accounts = (world) => world.accounts.map((a) => ({
  name: a.name, tenant_id: a.tenant_id, domain: a.domain, client_id: a.client_id, client_secret: a.client_secret,
  refresh_token: a.refresh_token || null, kind: a.kind,
}));

function customerId(world, name) {
  return require('./actors').findCustomer(world, name).id;
}

const wanted = (world, query) => wantedOf(world, query, (name) => customerId(world, name));

function customersOf(world, query) {
  const wanted = query.get('customer');
  return wanted ? [require('./actors').findCustomer(world, wanted)] : [...world.directory.loaded()];
}

function state(world, query) {
  const now = world.clock.now();
  const withUsers = query.get('users') === '1' || query.get('customer');
  return {
    clock: clockView(world),
    accounts: world.accounts.map((a) => ({ name: a.name, tenant_id: a.tenant_id, client_id: a.client_id })),
    tokens_issued: world.tokens.issued,
    customers: customersOf(world, query).map((c) => ({
      id: c.id,
      name: c.name,
      domain: c.domain,
      country: c.country,
      partners: [...c.partners],
      licence_access: c.licence_access,
      subscriptions: [...c.subscriptions.values()].map((s) => subscriptionState(world, s, now)),
      pools: visiblePools(world, c).map((p) => poolState(world, c, p, now)),
      user_count: c.users.size,
      users: withUsers ? [...c.users.values()].map((u) => userState(world, u)) : undefined,
      carts: [...c.carts.values()].map((x) => ({ id: x.id, status: x.status, expires: iso(x.expires) })),
      orders: [...c.orders.values()].map((o) => ({ id: o.id, subscriptions: o.lines.map((l) => l.sub.id) })),
    })),
    invariants: invariants(world, query),
  };
}

function subscriptionState(world, s, now) {
  return {
    id: s.id, partner: s.account, commerce: s.commerce,
    offer: s.commerce === 'nce' ? s.product.key : s.offer.offer_id,
    sku_id: s.sku_id, part_number: world.catalogue.sku(s.sku_id).part_number, name: s.friendly_name,
    quantity: s.quantity, status: s.status, trial: s.trial, auto_renew: s.auto_renew, extended: s.extended,
    term: s.term, cycle: s.cycle, created: iso(s.created), term_start: iso(s.term_start), term_end: iso(s.term_end),
    cancel_until: iso(s.cancel_until),
    batches: s.batches.map((b) => ({ quantity: b.quantity, until: iso(b.until), open: b.until > now })),
    scheduled_next: s.scheduled_next, scheduled_actions: subscriptions.scheduledActions(world, s), next_charge: s.next_charge,
    renewing_until: iso(s.renewing_until), pending: Boolean(s.pending), parent: s.parent_id, updates: s.updates,
    version: s.version, order_id: s.order_id, unit_price: s.unit_price, billed_seats: billedSeats(s),
  };
}

const visiblePools = (world, c) => [...c.pools.values()].filter((p) => !world.catalogue.sku(p.sku_id).hidden);

function poolState(world, c, p, now) {
  const sku = world.catalogue.sku(p.sku_id);
  const units = pools.count(c, p);
  const delays = pools.delays(world, c);
  return {
    sku_id: p.sku_id, part_number: sku.part_number, target_type: sku.target_type,
    active: units.active, warning: units.warning, suspended: units.suspended, consumed: pools.consumed(p),
    foreign: p.foreign, assignable: pools.assignable(p, now, delays), reported: pools.reported(p, now, delays),
  };
}

const userState = (world, u) => ({
  id: u.id, upn: u.upn, state: u.state, usage_location: u.usage_location,
  licences: [...u.licences.keys()].map((id) => world.catalogue.sku(id).part_number),
  group_licences: [...u.groups.keys()].map((id) => world.catalogue.sku(id).part_number),
});

/** What should never be: pools with more holders than seats that work. */
function invariants(world, query = new URLSearchParams()) {
  const overdrawn = [];
  for (const c of customersOf(world, query))
    for (const p of visiblePools(world, c)) {
      const { active } = pools.count(c, p);
      if (pools.consumed(p) > active)
        overdrawn.push({ customer: c.id, name: c.name, part_number: world.catalogue.sku(p.sku_id).part_number, active, consumed: pools.consumed(p) });
    }
  return { overdrawn_pools: overdrawn };
}

/** from <= day < to, whole UTC days. */
function bills(world, query) {
  const now = world.clock.now();
  const from = query.get('from') ? must(parseTime(query.get('from')), 'from') : midnight(now) - 30 * DAY;
  const to = query.get('to') ? must(parseTime(query.get('to')), 'to') : midnight(now) + DAY;
  const entries = world.ledger.entries.filter((e) => e.amount !== null && Date.parse(e.time) >= midnight(from) && Date.parse(e.time) < midnight(to));
  const total = { seat_days: 0, amount: 0, charges: 0, refunds: 0, committed: 0 };
  const customers = customersOf(world, query).map((c) => {
    const sum = { seat_days: 0, amount: 0, charges: 0, refunds: 0, committed: 0 };
    const list = [...c.subscriptions.values()].map((s) => {
      const b = bill(s, from, to);
      const mine = entries.filter((e) => e.subscription === s.id);
      const line = {
        subscription: s.id, partner: s.account, commerce: s.commerce, part_number: world.catalogue.sku(s.sku_id).part_number,
        seat_days: b.seat_days, amount: b.amount,
        charges: round(mine.filter((e) => e.amount > 0).reduce((n, e) => n + e.amount, 0)),
        refunds: round(mine.filter((e) => e.amount < 0).reduce((n, e) => n + e.amount, 0)),
        committed: round(committed(s, now)),
      };
      for (const k of Object.keys(sum)) sum[k] = round(sum[k] + line[k]);
      return line;
    });
    for (const k of Object.keys(total)) total[k] = round(total[k] + sum[k]);
    return { customer: c.id, name: c.name, ...sum, subscriptions: list };
  });
  return { from: iso(midnight(from)), to: iso(midnight(to)), ...total, customers };
}

module.exports = { control };
