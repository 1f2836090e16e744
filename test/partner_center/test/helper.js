'use strict';
// An emulator without sockets and with a real clock that stands still: requests go straight to the gateway.

const { Emulator } = require('../server');
const { control } = require('../control');
const { handle } = require('../gateway');

const START = Date.parse('2026-11-24T09:00:00Z');
const PREMIUM = 'CFQ7TTC0LCHC:0002';
const SPB = 'cbdc14ab-d96c-4c30-b9f4-6ada7cdc1d46';

class Client {
  constructor(scenario, options = {}) {
    this.real = START;
    this.emulator = new Emulator({ now: new Date(START).toISOString(), ...scenario }, { real: () => this.real, options });
    this.headers = {};
  }

  get world() {
    return this.emulator.world;
  }

  send(method, path, { body, headers = {} } = {}) {
    return new Promise((resolve) => {
      const done = (kind) => () => resolve({ wire: kind, status: 0 });
      const exchange = {
        method, path, protocol: 'test', origin: 'http://127.0.0.1:1',
        headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...this.headers, ...headers },
        body: body === undefined ? Buffer.alloc(0) : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
        send: (answer, wire) => {
          const text = answer.body.toString('utf8');
          let json = null;
          try { json = JSON.parse(text.replace(/^\ufeff/, '')); } catch { /* not every answer is JSON */ }
          resolve({ status: answer.status, headers: answer.headers, bytes: answer.body, text, json, wire });
        },
        reset: done('reset'), hang: done('hang'), goaway: done('goaway'),
      };
      handle(this.world, exchange).catch((e) => resolve({ status: 599, text: e.stack }));
    });
  }

  async token(kind = 'refresh_token', version = 'v2', account = this.world.accounts[0], extra = {}) {
    const form = new URLSearchParams({ client_id: account.client_id, client_secret: account.client_secret, grant_type: kind });
    if (version === 'v2') form.set('scope', 'https://api.partnercenter.microsoft.com/.default');
    else form.set('resource', 'https://api.partnercenter.microsoft.com');
    if (kind === 'refresh_token') form.set('refresh_token', account.refresh_token);
    for (const [k, v] of Object.entries(extra)) v === null ? form.delete(k) : form.set(k, v);
    return this.send('POST', `/${account.tenant_id}/oauth2/${version === 'v2' ? 'v2.0/' : ''}token`, {
      body: form.toString(), headers: { authorization: '', 'content-type': 'application/x-www-form-urlencoded' },
    });
  }

  /** As after a fresh sign-in of a person: the refresh token is good for another 90 days. */
  async login(kind, account = this.world.accounts[0]) {
    if (account.refresh_token) this.world.tokens.consent(account, account.refresh_token, this.world.clock.now(), this.world.options);
    const t = await this.token(kind, 'v2', account);
    this.headers = { authorization: `Bearer ${t.json.access_token}` };
    return this;
  }

  get(path, headers) { return this.send('GET', path, { headers }); }
  post(path, body, headers) { return this.send('POST', path, { body, headers }); }
  patch(path, body, headers) { return this.send('PATCH', path, { body, headers }); }

  /** The only customer, or one by name. */
  customer(name) {
    const all = [...this.world.directory.loaded()];
    return name ? all.find((c) => c.name === name) : all[0];
  }

  subs(customer = this.customer()) { return [...customer.subscriptions.values()]; }
  path(sub) { return `/v1/customers/${sub.customer.id}/subscriptions/${sub.id}`; }
  async resource(sub) { return (await this.get(this.path(sub))).json; }

  /** GET, change, PATCH: the way the documents ask for. */
  async change(sub, changes, headers) {
    return this.patch(this.path(sub), { ...(await this.resource(sub)), ...changes }, headers);
  }

  control(method, path, body) {
    return control(this.emulator, method, `/_emulator/${path}`, Buffer.from(body === undefined ? '' : JSON.stringify(body)));
  }
  act(a) { return this.control('POST', 'act', { customer: this.customer() && this.customer().name, ...a }); }
  /** Days later, with a fresh token: the old one has expired meanwhile. */
  async advance(days) {
    this.control('POST', 'clock', { advance_days: days });
    return this.login();
  }
  ledger(action) { return this.world.ledger.entries.filter((e) => !action || e.action === action); }
  pool(part = 'SPB', customer = this.customer()) {
    return this.control('GET', `state?customer=${customer.id}`).body.customers[0].pools.find((p) => p.part_number === part);
  }
}

const one = (subscription, rest = {}) => ({ customers: [{ name: 'Contoso', domain: 'contoso.example', subscriptions: [subscription], ...rest }] });
/** A yearly subscription in the middle of its term, its first window closed. */
const yearly = (extra = {}) => ({ product: PREMIUM, quantity: 20, term: 'P1Y', cycle: 'monthly', started: '2026-06-01T10:00:00Z', ...extra });
const start = (scenario, options) => new Client(scenario, options).login();

module.exports = { Client, start, one, yearly, START, PREMIUM, SPB };
