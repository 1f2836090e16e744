'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { start } = require('./helper');
const { loadScenario } = require('../scenario/load');
const { kinds } = require('../router');

test('msp: 45 customers, some 1,100 seats, one overdrawn pool, one customer without access', async () => {
  const c = await start(loadScenario('msp'));
  const all = [...c.world.directory.loaded()];
  assert.strictEqual(all.length, 45);
  const seats = all.flatMap((x) => [...x.subscriptions.values()]).reduce((n, s) => n + s.quantity, 0);
  assert.ok(seats >= 1050 && seats <= 1150, `${seats} seats`);
  assert.strictEqual(c.control('GET', 'invariants').body.overdrawn_pools.length, 1);
  assert.strictEqual(all.filter((x) => !x.licence_access).length, 1);
  assert.ok(all.every((x) => x.domain.endsWith('.example')));
});

test('msp is the same each time', async () => {
  const dump = async () => {
    const c = await start(loadScenario('msp'));
    const { customers } = c.control('GET', 'state?users=1').body;
    return JSON.stringify(customers);
  };
  assert.strictEqual(await dump(), await dump());
});

test('msp survives a year and goes on billing', async () => {
  const c = await start(loadScenario('msp'));
  await c.advance(80);
  await c.advance(80);
  c.control('POST', 'clock', { advance_days: 205 });
  const bill = c.control('GET', 'bill?from=2027-11-01&to=2027-11-02').body;
  assert.ok(bill.seat_days > 900);
  assert.ok(c.ledger('renew').length > 100);
});

test('scale: a distributor’s customers are made on demand, changes are kept', async () => {
  const c = await start(loadScenario('scale:340000'));
  let r = await c.get('/v1/customers?size=500');
  assert.strictEqual(r.json.items.length, 500);
  const id = r.json.items[499].id;
  const path = `/v1/customers/${id}`;
  r = await c.get(`${path}/subscriptions`);
  assert.strictEqual(r.json.items.length, 5);
  const sub = r.json.items[0];
  const p = await c.patch(`${path}/subscriptions/${sub.id}`, { ...sub, quantity: sub.quantity + 1 });
  assert.strictEqual(p.status, 200);
  c.world.directory.looked.clear();
  assert.strictEqual((await c.get(`${path}/subscriptions/${sub.id}`)).json.quantity, sub.quantity + 1);
  assert.strictEqual((await c.get(`${path}/subscribedskus`)).json.items.length, 5);
  assert.strictEqual((await c.get('/v1/customers/5ca1e000-0000-4000-8000-ffffffffffff')).status, 404);
});

test('prerendered lists follow changes', async () => {
  const c = await start(loadScenario('scale:10'));
  c.world.prerender = true;
  const id = (await c.get('/v1/customers')).json.items[0].id;
  const path = `/v1/customers/${id}/subscriptions`;
  const [sub] = (await c.get(path)).json.items;
  await c.patch(`${path}/${sub.id}`, { ...sub, quantity: sub.quantity + 2 });
  assert.strictEqual((await c.get(path)).json.items[0].quantity, sub.quantity + 2);
});

test('load, reset and options over the control API; a wrong option is an error', async () => {
  const c = await start(loadScenario('msp'));
  const r = c.control('POST', 'load', { builtin: 'msp', options: { credit_order: 'oldest' } });
  assert.strictEqual(r.body.customers, 45);
  assert.strictEqual(c.world.options.credit_order, 'oldest');
  assert.strictEqual(c.control('POST', 'options', { creditorder: 'x' }).status, 400);
  c.control('POST', 'options', { bad: 1 });
  assert.strictEqual(c.control('POST', 'act', { customer: 'Nobody', do: 'raise', sku: 'SPB' }).status, 400);
  c.control('POST', 'reset');
  assert.strictEqual(c.world.ledger.entries.length, 0);
});

test('every kind of the README exists', () => {
  const readme = require('fs').readFileSync(require('path').join(__dirname, '../README.md'), 'utf8');
  for (const kind of kinds) assert.ok(readme.includes(kind), kind);
});
