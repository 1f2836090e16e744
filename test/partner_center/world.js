'use strict';
// Everything one emulator holds, made from a scenario.

const { Clock } = require('./clock');
const { withDefaults } = require('./options');
const { Catalogue } = require('./catalogue');
const { Directory } = require('./directory');
const { Books } = require('./books');
const { Ledger } = require('./ledger');
const { Audit } = require('./audit');
const { Tokens } = require('./token');
const { Pages } = require('./paging');
const { Throttle } = require('./throttle');
const { Replay } = require('./replay');
const { Faults } = require('./faults');
const { Requests } = require('./requests');
const { Timers } = require('./lifecycle');
const { buildAccount, buildCustomer } = require('./scenario');
const { random, parseTime } = require('./util');
const defaultCatalogue = require('./scenario/catalogue');

class World {
  /** `shared` = {clock, seed, prerender}: what a new scenario takes over from the server. */
  constructor(scenario, shared = {}) {
    this.scenario = scenario;
    this.prerender = Boolean(shared.prerender);
    this.clock = shared.clock || new Clock();
    this.clock.start(scenario.now === undefined ? undefined : parseTime(scenario.now));
    this.started = this.clock.now();
    this.random = random(scenario.seed ?? shared.seed ?? 1);
    this.options = withDefaults({ ...(scenario.options || {}), ...(shared.options || {}) });
    this.catalogue = new Catalogue(mergeCatalogue(scenario.catalogue));
    this.ledger = new Ledger((entry) => this.books.note(entry));
    this.books = new Books(this);
    this.audit = new Audit();
    this.tokens = new Tokens();
    this.pages = new Pages();
    this.throttle = new Throttle(this.clock.real);
    this.replay = new Replay();
    this.faults = new Faults(this);
    this.requests = new Requests();
    this.timers = new Timers(this);
    this.alarms = [];
    this.accounts = (scenario.accounts && scenario.accounts.length ? scenario.accounts : [{ name: 'main' }]).map(buildAccount);
    for (const a of this.accounts) if (a.refresh_token) this.tokens.consent(a, a.refresh_token, this.clock.now(), this.options, { mfa: a.mfa });
    this.directory = new Directory(this, scenario.lazy || null);
    for (const c of scenario.customers || []) this.directory.add(this.build(c));
    this.quirksRevision = 0;
    this.ready = new Map();
    this.sheets = new Map();
  }

  build(json) {
    return buildCustomer(this, json);
  }

  account(name) {
    return this.accounts.find((a) => a.name === name);
  }

  accountOfTenant(tenant) {
    const wanted = tenant.toLowerCase();
    return this.accounts.find((a) => a.tenant_id === wanted || a.domain === wanted);
  }

  /** Lets everything happen that is due by now, in order of time. */
  settle() {
    const now = this.clock.now();
    while (this.alarms.length && this.alarms[0].at <= now) {
      const { at, ring } = this.alarms.shift();
      this.timers.run(at);
      ring();
    }
    this.timers.run(now);
    return now;
  }

  /** Calls `ring` so many seconds from now by the emulator's clock. */
  alarm(seconds, ring) {
    this.alarms.push({ at: this.clock.now() + seconds * 1000, ring });
    this.alarms.sort((a, b) => a.at - b.at);
  }

  newSubscription(fields) {
    return {
      status: 'active', offer: null, product: null, partner_id: null, custom_term_end: null,
      scheduled_next: null, scheduled_actions: null, next_charge: null, pending: null, renewing_until: null,
      extended: false, parent_id: null, updates: 0, version: 1, suspended_at: null, ended_at: null, delete_at: null,
      auto_renew_off_at: -Infinity, planned_by: null, refuses: null, meter: [],
      anchor_day: new Date(fields.term_start_day).getUTCDate(),
      ...fields,
    };
  }
}

/** The shipped catalogue, with the scenario's entries added or put in place of it. */
function mergeCatalogue(given) {
  if (!given) return defaultCatalogue;
  if (given.replace) return given;
  return {
    skus: [...defaultCatalogue.skus, ...(given.skus || [])],
    products: [...defaultCatalogue.products, ...(given.products || [])],
    offers: [...defaultCatalogue.offers, ...(given.offers || [])],
  };
}

module.exports = { World };
