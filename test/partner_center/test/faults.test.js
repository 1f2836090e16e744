'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { start, one, yearly } = require('./helper');

const fault = (c, rule) => c.control('POST', 'faults', rule).body.id;
const raise = { kind: 'patch_subscription' };

test('reset before applies nothing, reset after applies', async () => {
  const c = await start(one(yearly()));
  const [sub] = c.subs();
  fault(c, { match: raise, nth: 1, action: 'reset_before' });
  assert.strictEqual((await c.change(sub, { quantity: 21 })).wire, 'reset');
  assert.strictEqual(sub.quantity, 20);
  fault(c, { match: raise, nth: 1, action: 'reset_after' });
  const id = { 'ms-requestid': '66666666-0000-4000-8000-000000000001' };
  assert.strictEqual((await c.change(sub, { quantity: 21 }, id)).wire, 'reset');
  assert.strictEqual(sub.quantity, 21);
  assert.strictEqual((await c.change(sub, { quantity: 21 }, id)).status, 200, 'the lost answer can be had again');
  assert.strictEqual(c.ledger('raise').length, 1);
});

test('nth, count and probability', async () => {
  const c = await start(one(yearly()));
  const statuses = async (n) => { const s = []; for (let i = 0; i < n; i++) s.push((await c.get('/v1/customers')).status); return s; };
  fault(c, { match: { kind: 'customers' }, nth: 3, action: 'status', status: 500 });
  assert.deepStrictEqual(await statuses(5), [200, 200, 500, 200, 200]);
  c.control('DELETE', 'faults');
  fault(c, { match: { path: '^/v1/customers' }, nth: 2, count: 2, action: 'status', status: 429, retry_after: 7, shape: 'partner' });
  assert.deepStrictEqual(await statuses(4), [200, 429, 429, 200]);
  c.control('DELETE', 'faults');
  fault(c, { probability: 0.5, action: 'status', status: 502 });
  const got = await statuses(40);
  assert.ok(got.includes(200) && got.includes(502));
});

test('an error after applying, 409 with a code, 429 with Retry-After', async () => {
  const c = await start(one(yearly()));
  const [sub] = c.subs();
  fault(c, { match: raise, count: 1, action: 'status', status: 500, code: 800094, when: 'after' });
  const r = await c.change(sub, { quantity: 21 });
  assert.deepStrictEqual([r.status, r.json.code, sub.quantity], [500, 800094, 21]);
  fault(c, { match: raise, count: 1, action: 'status', status: 429, retry_after: 3 });
  const t = await c.change(sub, { quantity: 22 });
  assert.deepStrictEqual([t.status, t.headers['retry-after'], t.json.statusCode, sub.quantity], [429, '3', 429, 21]);
});

test('wrong numbers: a SKU at zero, a SKU gone, half a list', async () => {
  const c = await start(one(yearly(), { user_count: 4, assigned: { SPB: 4 }, foreign_seats: { EMS: 3 } }));
  const path = `/v1/customers/${c.customer().id}/subscribedskus`;
  const where = { 'productSku.skuPartNumber': 'SPB' };
  fault(c, { match: { kind: 'subscribedskus' }, count: 1, action: 'override', where, set: { consumedUnits: 0 } });
  assert.deepStrictEqual((await c.get(path)).json.items.map((i) => i.consumedUnits), [0, 0]);
  fault(c, { match: { kind: 'subscribedskus' }, count: 1, action: 'override', where, remove: true });
  assert.deepStrictEqual((await c.get(path)).json.items.map((i) => i.productSku.skuPartNumber), ['EMS']);
  fault(c, { match: { kind: 'subscribedskus' }, count: 1, action: 'override', keep: 1 });
  assert.strictEqual((await c.get(path)).json.items.length, 1);
  assert.deepStrictEqual((await c.get(path)).json.items.map((i) => i.consumedUnits), [4, 0]);
});

test('races: somebody takes the seat just before our change, or just after', async () => {
  const c = await start(one(yearly({ started: '2026-11-22T00:00:00Z', quantity: 10 }), { user_count: 10, assigned: { SPB: 8 } }));
  const [sub] = c.subs();
  const assign = (n) => ({ customer: 'Contoso', do: 'assign', user: `user${n}@contoso.example`, sku: 'SPB' });
  fault(c, { match: raise, nth: 1, action: 'none', before_act: assign('09') });
  await c.change(sub, { quantity: 8 });
  assert.deepStrictEqual([c.pool().active, c.pool().consumed], [8, 9]);
  fault(c, { match: { kind: 'subscription' }, nth: 1, action: 'none', then_act: [{ customer: 'Contoso', do: 'raise', sku: 'SPB', seats: 3 }, assign('10')] });
  assert.strictEqual((await c.resource(sub)).quantity, 8, 'the answer shows the state before the act');
  assert.deepStrictEqual([c.pool().active, c.pool().consumed], [11, 10]);
});

test('202 by a fault, stale etag by a fault', async () => {
  const c = await start(one(yearly()));
  const [sub] = c.subs();
  fault(c, { match: raise, count: 1, action: 'stale_etag' });
  assert.strictEqual((await c.change(sub, { quantity: 21 })).json.code, 2055);
  fault(c, { match: raise, count: 1, action: 'accepted_202', seconds: 30 });
  assert.strictEqual((await c.change(sub, { quantity: 21 })).status, 202);
  assert.strictEqual(sub.quantity, 20);
  c.control('POST', 'clock', { advance_seconds: 31 });
  assert.strictEqual(sub.quantity, 21);
});

test('throttling: 500 a minute per tenant, both bodies, refused requests count', async () => {
  const c = await start(one(yearly()));
  let r;
  for (let i = 0; i < 500; i++) r = await c.get('/v1/customers');
  assert.strictEqual(r.status, 200);
  r = await c.get('/v1/customers');
  assert.strictEqual(r.status, 429);
  assert.strictEqual(r.headers['retry-after'], '60');
  assert.deepStrictEqual(r.json, { statusCode: 429, message: 'Rate limit is exceeded. Try again in 60 seconds.' });
  c.world.options.throttle_body = 'partner';
  assert.strictEqual((await c.get('/v1/customers')).json.source, 'PartnerFD');
  c.real += 59000;
  assert.strictEqual((await c.get('/v1/customers')).status, 429);
  c.real += 1000;
  assert.strictEqual((await c.get('/v1/customers')).status, 200);
  c.world.options.requests_per_minute = 0;
  for (let i = 0; i < 600; i++) r = await c.get('/v1/customers');
  assert.strictEqual(r.status, 200);
});

test('the log of requests counts by kind and says what was mutating', async () => {
  const c = await start(one(yearly()));
  await c.change(c.subs()[0], { quantity: 21 });
  const counts = c.control('GET', 'counts').body;
  assert.deepStrictEqual(counts.by_kind, { token: 1, subscription: 1, patch_subscription: 1 });
  assert.strictEqual(counts.mutating, 1);
  const [p] = c.control('GET', 'requests?kind=patch_subscription').body;
  assert.deepStrictEqual([p.status, p.method, p.token, JSON.parse(p.body).quantity], [200, 'PATCH', 'app+user', 21]);
});

test('a careless server repeats what it was sent', async () => {
  const c = await start(one(yearly()));
  fault(c, { match: { kind: 'customers' }, count: 1, action: 'status', status: 400, description: 'bad header {authorization}.' });
  assert.match((await c.get('/v1/customers')).json.description, /^bad header Bearer ey[\w.-]+\.$/);
  fault(c, { match: { kind: 'token' }, count: 1, action: 'status', status: 400, body: { error: 'x', error_description: 'sent {body}' } });
  assert.match((await c.token()).json.error_description, /^sent .*client_secret=/);
});

test('a fault at one customer, by name, for a time of the emulator’s clock, from a moment on', async () => {
  const c = await start({ customers: [{ name: 'A', subscriptions: [yearly()] }, { name: 'B', subscriptions: [yearly()] }] });
  const status = async (name) => (await c.get(`/v1/customers/${c.customer(name).id}/subscriptions`)).status;
  fault(c, { match: { customer: 'A' }, action: 'status', status: 503, after_seconds: 60, for_seconds: 86400 });
  assert.deepStrictEqual([await status('A'), await status('B')], [200, 200]);
  c.control('POST', 'clock', { advance_seconds: 61 });
  assert.deepStrictEqual([await status('A'), await status('B')], [503, 200]);
  assert.deepStrictEqual(c.control('GET', 'faults').body.map((r) => [r.from, r.until]), [['2026-11-24T09:01:00.000Z', '2026-11-25T09:01:00.000Z']]);
  c.control('POST', 'clock', { advance_seconds: 86400 });
  await c.login();
  assert.strictEqual(await status('A'), 200);
  assert.deepStrictEqual(c.control('GET', 'faults').body, [], 'a rule that is over is gone');
  assert.strictEqual(c.control('POST', 'faults', { match: { customer: 'Nobody' } }).status, 400);
});

test('a fault at one account, its token calls among them', async () => {
  const c = await start({ accounts: [{ name: 'one' }, { name: 'two' }], customers: [{ name: 'Shared', partners: ['one', 'two'] }] });
  const [one, two] = c.world.accounts;
  fault(c, { match: { account: 'two' }, action: 'status', status: 502 });
  assert.strictEqual((await c.get('/v1/customers')).status, 200);
  assert.strictEqual((await c.token('refresh_token', 'v2', two)).status, 502);
  assert.strictEqual((await c.token('refresh_token', 'v2', one)).status, 200);
  c.control('DELETE', 'faults');
  await c.login('refresh_token', two);
  fault(c, { match: { account: two.tenant_id, kind: 'customers' }, action: 'status', status: 502 });
  assert.strictEqual((await c.get('/v1/customers')).status, 502);
  assert.strictEqual(c.control('POST', 'faults', { match: { account: 'three' } }).status, 400);
});

test('weather that ends by itself: a customer gone, no rights, delays of one customer, options', async () => {
  const c = await start({ customers: [{ name: 'A', subscriptions: [yearly()], user_count: 2 }, { name: 'B', subscriptions: [yearly()], user_count: 2 }] });
  const path = (name) => `/v1/customers/${c.customer(name).id}`;
  const names = async () => (await c.get('/v1/customers')).json.items.map((i) => i.companyProfile.companyName);
  const units = async (name) => (await c.get(`${path(name)}/subscribedskus`)).json.items[0].activeUnits;
  c.act({ customer: 'A', do: 'tenant', on: false, for_seconds: 600 });
  assert.deepStrictEqual([await names(), (await c.get(path('A'))).json.code], [['B'], 60003]);
  c.act({ customer: 'B', do: 'relationship', on: false, for_seconds: 300 });
  assert.deepStrictEqual([await names(), (await c.get(path('B'))).json.code], [[], 20002]);
  c.control('POST', 'clock', { advance_seconds: 301 });
  assert.deepStrictEqual(await names(), ['B']);
  c.control('POST', 'clock', { advance_seconds: 300 });
  assert.deepStrictEqual(await names(), ['A', 'B']);
  c.act({ customer: 'B', do: 'licence_access', on: false, for_seconds: 5 });
  assert.strictEqual((await c.get(`${path('B')}/users`)).status, 403);
  c.control('POST', 'clock', { advance_seconds: 6 });
  assert.strictEqual((await c.get(`${path('B')}/users`)).status, 200);
  c.act({ customer: 'A', do: 'delays', report_delay_active: 100000, for_seconds: 900 });
  for (const customer of ['A', 'B']) c.act({ customer, do: 'raise', sku: 'SPB' });
  assert.deepStrictEqual([await units('A'), await units('B')], [20, 21]);
  c.control('POST', 'clock', { advance_seconds: 901 });
  assert.strictEqual(await units('A'), 21);
  c.act({ do: 'options', options: { page_size: 1 }, for_seconds: 60 });
  assert.strictEqual((await names()).length, 1);
  c.control('POST', 'clock', { advance_seconds: 61 });
  assert.strictEqual((await names()).length, 2);
  assert.strictEqual(c.act({ customer: 'A', do: 'raise', sku: 'SPB', for_seconds: 60 }).status, 400);
});
