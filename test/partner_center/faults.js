'use strict';
// Things that go wrong on purpose. A rule says which requests it means, which of them it hits,
// and what happens. README.md describes the format.

const { tooMany } = require('./throttle');
const { asList, isGuid } = require('./util');
const actors = require('./actors');

const ACTIONS = new Set([
  'none', 'reset_before', 'reset_after', 'hang', 'delay', 'status', 'truncate', 'garbage', 'html', 'empty', 'huge',
  'slow', 'stale_etag', 'accepted_202', 'goaway', 'content_type', 'override',
]);

class Faults {
  constructor(world) {
    this.world = world;
    this.rules = [];
    this.next = 1;
  }

  get active() {
    return this.rules.length > 0;
  }

  add(rule) {
    const r = { action: 'none', match: {}, ...rule, id: this.next++, seen: 0, fired: 0 };
    if (!ACTIONS.has(r.action)) throw new Error(`unknown fault action "${r.action}"`);
    if (r.match.path) r.path = new RegExp(r.match.path, 'i');
    if (r.nth !== undefined && r.count === undefined) r.count = 1;
    if (r.match.customer !== undefined) r.customers = asList(r.match.customer).map((name) => this.customer(name));
    if (r.match.account !== undefined) r.accounts = asList(r.match.account).map((name) => this.account(name));
    const now = this.world.clock.now();
    r.from = now + (r.after_seconds || 0) * 1000;
    r.until = r.for_seconds === undefined ? Infinity : r.from + r.for_seconds * 1000;
    this.rules.push(r);
    return r.id;
  }

  /** By id, also one that nobody knows; by name or domain. */
  customer(name) {
    return isGuid(String(name)) ? String(name).toLowerCase() : actors.findCustomer(this.world, name).id;
  }

  account(name) {
    const found = this.world.accounts.find((a) => a.name === name || a.tenant_id === String(name).toLowerCase());
    if (!found) throw new Error(`no account "${name}"`);
    return found.name;
  }

  remove(id) {
    const before = this.rules.length;
    this.rules = id === undefined ? [] : this.rules.filter((r) => r.id !== id);
    return before - this.rules.length;
  }

  /**
   * The first rule that hits this request, or null. Every matching rule counts the request. `caller` is the name of
   * the account that calls, as far as its token or the tenant in the path tells.
   */
  take(entry, caller) {
    let hit = null;
    const now = this.world.clock.now();
    if (this.rules.some((r) => r.until <= now)) this.rules = this.rules.filter((r) => r.until > now);
    for (const r of this.rules) {
      if (now < r.from || !this.matches(r, entry, caller)) continue;
      r.seen++;
      if (hit) continue;
      if (r.nth !== undefined && r.seen < r.nth) continue;
      if (r.count !== undefined && r.fired >= r.count) continue;
      if (r.probability !== undefined && this.world.random() >= r.probability) continue;
      r.fired++;
      entry.fault = r.id;
      hit = r;
    }
    return hit;
  }

  matches(r, entry, caller) {
    const m = r.match;
    const one = (wanted, value) => wanted === undefined || asList(wanted).some((w) => String(w).toLowerCase() === String(value || '').toLowerCase());
    return one(m.kind, entry.kind) && one(m.method, entry.method)
      && (!r.customers || (entry.customer !== null && r.customers.includes(entry.customer.toLowerCase())))
      && (!r.accounts || r.accounts.includes(caller))
      && (m.mutating === undefined || m.mutating === entry.mutating)
      && (!r.path || r.path.test(entry.path))
      && (m.body === undefined || (entry.body || '').includes(m.body));
  }

  /**
   * `call` applies the request and returns its answer; `reply` sends an answer.
   * `before_act` plays before the request is applied, `then_act` after it, both before the answer leaves.
   */
  async perform(rule, exchange, entry, call, reply) {
    const world = this.world;
    this.act(rule.before_act);
    const apply = () => {
      const answer = call();
      entry.status = answer.status;
      this.act(rule.then_act);
      return answer;
    };
    const after = rule.when === 'after';
    switch (rule.action) {
      case 'reset_before':
        this.act(rule.then_act);
        return exchange.reset(rule.scope);
      case 'reset_after':
        apply();
        return exchange.reset(rule.scope);
      case 'hang':
        if (after) apply();
        return exchange.hang(rule.seconds);
      case 'delay':
        if (after) {
          const answer = apply();
          await pause(rule.ms);
          return reply(answer);
        }
        await pause(rule.ms);
        return reply(apply());
      case 'status':
        if (after) apply();
        return reply(failure(echoing(rule, exchange)));
      case 'stale_etag':
        return reply({ status: world.options.stale_etag_status, body: { code: 2055, description: 'The ETag is no longer valid.', data: [], source: 'PartnerFD' } });
      case 'goaway':
        if (rule.when === 'before') return exchange.goaway(true);
        reply({ ...apply(), wire: rule });
        return exchange.goaway(false);
      case 'override':
        return reply(override(apply(), rule));
      case 'none':
      case 'accepted_202':
        return reply(apply());
      default:
        return reply({ ...apply(), wire: rule });
    }
  }

  act(acts) {
    for (const a of asList(acts)) {
      try {
        actors.act(this.world, a);
      } catch (e) {
        if (!a.optional) throw e;
      }
    }
  }
}

/** A careless server: "{authorization}" and "{body}" in what a rule says become what the request held. */
function echoing(rule, exchange) {
  const text = JSON.stringify(rule);
  if (!/\{(authorization|body)\}/.test(text)) return rule;
  const sent = { authorization: exchange.headers.authorization || '', body: exchange.body.toString('utf8') };
  return JSON.parse(text, (key, v) => (typeof v === 'string' ? v.replace(/\{(authorization|body)\}/g, (_, name) => sent[name]) : v));
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms || 0));

function failure(rule) {
  const status = rule.status || 503;
  if (status === 429) {
    const e = tooMany(rule.retry_after ?? 5, rule.shape || 'gateway');
    if (rule.retry_after === null) delete e.headers['retry-after'];
    return { status, body: e.body(), headers: e.headers };
  }
  const headers = {};
  if (rule.retry_after !== undefined && rule.retry_after !== null) headers['retry-after'] = String(rule.retry_after);
  if (rule.body !== undefined) {
    if (typeof rule.body === 'string') return { status, buffer: Buffer.from(rule.body), headers: { ...headers, 'content-type': rule.content_type || 'text/html' } };
    return { status, body: rule.body, headers };
  }
  return {
    status, headers,
    body: { code: rule.code ?? (status >= 500 ? 800003 : status), description: rule.description || 'An unexpected error occurred.', data: [], source: 'PartnerFD' },
  };
}

/**
 * Wrong numbers: {set: {consumedUnits: 0}, where: {"productSku.skuPartNumber": "SPB"}} changes items,
 * {remove: true, where} drops them, {keep: n} cuts the list, {first_twice: true} has the first item in the place of the
 * last, too, {member: {...}} changes the top level.
 */
function override(answer, rule) {
  if (!answer.body && answer.buffer) answer = { ...answer, body: JSON.parse(answer.buffer.toString('utf8').replace(/^\ufeff/, '')), buffer: undefined };
  if (!answer.body) return answer;
  const body = structuredClone(answer.body);
  const hit = (item) => Object.entries(rule.where || {}).every(([path, value]) => String(read(item, path)).toLowerCase() === String(value).toLowerCase());
  if (Array.isArray(body.items)) {
    if (rule.remove) body.items = body.items.filter((i) => !hit(i));
    if (rule.keep !== undefined) body.items = body.items.slice(0, rule.keep);
    if (rule.first_twice && body.items.length > 0) body.items = [...body.items.slice(0, Math.max(1, body.items.length - 1)), body.items[0]];
    if (rule.set) for (const i of body.items) if (hit(i)) for (const [p, v] of Object.entries(rule.set)) write(i, p, v);
    if (rule.remove || rule.keep !== undefined) body.totalCount = body.items.length;
  } else if (rule.set) for (const [p, v] of Object.entries(rule.set)) write(body, p, v);
  for (const [p, v] of Object.entries(rule.member || {})) write(body, p, v);
  return { ...answer, body };
}

const read = (o, path) => path.split('.').reduce((v, k) => (v === undefined || v === null ? undefined : v[k]), o);

function write(o, path, value) {
  const keys = path.split('.');
  const last = keys.pop();
  const target = keys.reduce((v, k) => (v[k] = v[k] || {}), o);
  if (value === '__delete__') delete target[last];
  else target[last] = value;
}

module.exports = { Faults, ACTIONS };
