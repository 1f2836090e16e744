'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { start, one, yearly } = require('./helper');

const books = (c, call) => c.control('GET', call).body;
const brief = (rows) => rows.map((r) => [r.owned, r.active, r.holders, r.actor, r.action]);
const world = (extra) => one(yearly({ quantity: 10, started: '2026-11-22T00:00:00Z', ...extra }), { user_count: 9, assigned: { SPB: 8 } });

test('the timeline says after each change what a pool was, and by whose act', async () => {
  const c = await start(world());
  const [sub] = c.subs();
  assert.deepStrictEqual(brief(books(c, 'timeline')), [[10, 10, 8, 'scenario', 'start']]);
  c.act({ do: 'foreign', sku: 'SPB', seats: 2 });
  c.control('POST', 'clock', { advance_seconds: 60 });
  await c.change(sub, { quantity: 7 }, { 'ms-requestid': '77777777-0000-4000-8000-000000000009' });
  c.act({ do: 'assign', user: 'user09@contoso.example', sku: 'SPB' });
  c.act({ do: 'unassign', user: 'user01@contoso.example', sku: 'SPB', actor: 'customer' });
  await c.change(sub, { autoRenewEnabled: false });
  assert.deepStrictEqual(brief(books(c, 'timeline?customer=Contoso&sku=SPB')), [
    [10, 10, 8, 'scenario', 'start'], [10, 12, 8, 'technician', 'foreign'], [7, 9, 8, 'app+user', 'lower'],
    [7, 9, 9, 'technician', 'assign'], [7, 9, 8, 'customer portal', 'unassign']]);
  const [lower] = books(c, 'timeline?since=1');
  assert.deepStrictEqual([lower.seq, lower.time, lower.ms_request_id, lower.subscription, lower.lacking, lower.lacking_owned],
    [2, '2026-11-24T09:01:00.000Z', '77777777-0000-4000-8000-000000000009', sub.id, 0, 1]);
  assert.strictEqual(books(c, 'timeline?from=2026-11-24T09:00:30Z').length, 3);
  assert.strictEqual(books(c, 'timeline?sku=EMS').length, 0);
  assert.strictEqual(c.control('GET', 'timeline?from=soon').status, 400);
});

test('shortages: from when to when, how many, who began and who ended it', async () => {
  const c = await start(world());
  const [sub] = c.subs();
  c.act({ do: 'assign', user: 'user09@contoso.example', sku: 'SPB' });
  await c.change(sub, { quantity: 8 });
  c.control('POST', 'clock', { advance_seconds: 90 });
  c.act({ do: 'lower', sku: 'SPB', seats: 2 });
  c.control('POST', 'clock', { advance_seconds: 10 });
  c.act({ do: 'raise', sku: 'SPB', seats: 3 });
  const [s, ...more] = books(c, 'shortages');
  assert.strictEqual(more.length, 0);
  assert.deepStrictEqual([s.seconds, s.most, s.rows.length, s.rows[0].actor, s.rows[0].action, s.ended.actor, s.from, s.to],
    [100, 3, 2, 'app+user', 'lower', 'technician', '2026-11-24T09:00:00.000Z', '2026-11-24T09:01:40.000Z']);
  assert.strictEqual(books(c, 'shortages?from=2026-11-24T09:02:00Z').length, 0);
  assert.strictEqual(books(c, 'shortages?to=2026-11-24T09:00:00Z').length, 0);
});

test('foreign seats hide a shortage of owned ones unless one asks against owned', async () => {
  const c = await start(one(yearly({ quantity: 5 }), { user_count: 8, assigned: { SPB: 8 }, foreign_seats: { SPB: 4 } }));
  assert.strictEqual(books(c, 'shortages').length, 0);
  const [s] = books(c, 'shortages?against=owned');
  assert.deepStrictEqual([s.most, s.to, s.rows[0].actor], [3, null, 'scenario']);
});

test('what a renewal takes is the act of who planned it', async () => {
  const c = await start(world({ started: '2025-12-01T00:00:00Z' }));
  const [sub] = c.subs();
  await c.change(sub, { autoRenewEnabled: false });
  c.act({ do: 'schedule', sku: 'SPB', quantity: 6 });
  await c.advance(8);
  const [s] = books(c, 'shortages');
  const [planned] = c.ledger('schedule');
  assert.deepStrictEqual([s.rows[0].actor, s.rows[0].planned_by.actor, s.rows[0].planned_by.seq], ['renewal', 'technician', planned.seq]);
  assert.strictEqual(c.ledger('renew')[0].planned_by.seq, planned.seq);
  await c.advance(366);
  assert.strictEqual(c.ledger('renew')[1].planned_by, null, 'the next renewal was nobody’s plan');
});

test('a product change at renewal shows in both pools', async () => {
  const c = await start(world({ started: '2025-12-01T00:00:00Z', next: { product: 'CFQ7TTC0LH1G:0001', quantity: 10 } }));
  await c.advance(8);
  const last = (sku) => brief(books(c, `timeline?sku=${sku}`)).pop();
  assert.deepStrictEqual(last('SPB'), [0, 0, 8, 'renewal', 'renew']);
  assert.deepStrictEqual(last('O365_BUSINESS'), [10, 10, 0, 'renewal', 'renew']);
});

test('holders: who held what from when to when, and at a moment', async () => {
  const c = await start(world());
  c.control('POST', 'clock', { advance_seconds: 60 });
  c.act({ do: 'assign', user: 'user09@contoso.example', sku: 'SPB' });
  c.control('POST', 'clock', { advance_seconds: 60 });
  c.act({ do: 'unassign', user: 'user09@contoso.example', sku: 'SPB', actor: 'customer' });
  c.act({ do: 'unassign', user: 'user01@contoso.example', sku: 'SPB' });
  const all = books(c, 'holders?customer=Contoso&sku=SPB');
  assert.strictEqual(all.length, 9);
  const of = (n) => all.filter((h) => h.upn === `user0${n}@contoso.example`).map((h) => [h.from, h.by.actor, h.to, h.ended_by && h.ended_by.actor]);
  assert.deepStrictEqual(of(9), [['2026-11-24T09:01:00.000Z', 'technician', '2026-11-24T09:02:00.000Z', 'customer portal']]);
  assert.deepStrictEqual(of(1), [['2026-11-24T09:00:00.000Z', 'scenario', '2026-11-24T09:02:00.000Z', 'technician']]);
  assert.deepStrictEqual(of(2), [['2026-11-24T09:00:00.000Z', 'scenario', null, null]]);
  assert.strictEqual(books(c, 'holders?at=2026-11-24T09:01:30Z').length, 9);
  assert.strictEqual(books(c, 'holders?at=2026-11-24T09:02:00Z').length, 7);
});

test('a new pool begins empty; a deleted user holds nothing', async () => {
  const c = await start(world());
  c.act({ do: 'buy', product: 'CFQ7TTC0HL8W:0001', quantity: 3 });
  c.act({ do: 'delete_user', user: 'user01@contoso.example' });
  assert.deepStrictEqual(brief(books(c, 'timeline?sku=POWER_BI_PRO')), [[0, 0, 0, 'scenario', 'start'], [3, 3, 0, 'technician', 'new']]);
  assert.strictEqual(books(c, 'holders?at=2026-11-24T09:00:01Z').length, 7);
});
