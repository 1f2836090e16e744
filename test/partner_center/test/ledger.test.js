'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { start, one, yearly } = require('./helper');

const near = (a, b) => assert.ok(Math.abs(a - b) < 1e-4, `${a} is not ${b}`);

test('new commerce: prorated charge and refund, to the day', async () => {
  const c = await start(one(yearly())); // 1 June 2026 to 31 May 2027, 264 a year
  const [sub] = c.subs();
  const left = (Date.parse('2027-06-01') - Date.parse('2026-11-24')) / 86400000;
  assert.strictEqual(left, 189);
  await c.change(sub, { quantity: 25 });
  near(c.ledger('raise')[0].amount, (5 * 264 * left) / 365);
  await c.advance(3);
  await c.change(sub, { quantity: 23 });
  near(c.ledger('lower')[0].amount, (-2 * 264 * (left - 3)) / 365);
  await c.advance(1);
  const bill = c.control('GET', 'bill?from=2026-11-24&to=2026-11-29').body;
  // 24, 25, 26: 25 seats; 27, 28: 23 seats
  assert.strictEqual(bill.seat_days, 3 * 25 + 2 * 23);
  near(bill.amount, ((3 * 25 + 2 * 23) * 264) / 365);
  near(bill.charges, (5 * 264 * left) / 365);
  near(bill.refunds, (-2 * 264 * (left - 3)) / 365);
  near(bill.committed, (23 * 264 * (left - 4)) / 365);
});

test('bought and returned on one day costs nothing', async () => {
  const c = await start(one(yearly()));
  const [sub] = c.subs();
  await c.change(sub, { quantity: 22 });
  c.control('POST', 'clock', { advance_seconds: 3000 });
  await c.change(sub, { quantity: 20 });
  near(c.ledger('raise')[0].amount + c.ledger('lower')[0].amount, 0);
  assert.strictEqual(c.control('GET', 'bill?from=2026-11-24&to=2026-11-26').body.seat_days, 40);
});

test('the charges of a whole term are what the seat-days cost', async () => {
  const c = await start(one({ product: 'CFQ7TTC0LCHC:0002', quantity: 10, term: 'P1M', cycle: 'monthly', started: '2026-11-24T00:00:00Z' }));
  const [sub] = c.subs();
  await c.change(sub, { quantity: 12 });
  await c.advance(2);
  await c.change(sub, { quantity: 9 });
  await c.advance(60);
  const bill = c.control('GET', 'bill?from=2026-12-24&to=2027-01-24').body;
  near(bill.amount, bill.charges);
  near(bill.amount, 9 * 26.4);
});

test('legacy is billed by the day, from the day of the change', async () => {
  const c = await start(one({ offer: 'legacy-SPB', quantity: 10 }));
  const [sub] = c.subs();
  await c.advance(2);
  await c.change(sub, { quantity: 6 });
  await c.advance(2);
  await c.change(sub, { status: 'suspended' });
  await c.advance(5);
  const bill = c.control('GET', 'bill?from=2026-11-24&to=2026-12-03').body;
  assert.strictEqual(bill.seat_days, 2 * 10 + 2 * 6);
  near(bill.amount, ((2 * 10 + 2 * 6) * 20 * 12) / 365);
  assert.strictEqual(c.ledger('lower')[0].amount, null);
});

test('an entry says who, what, before, after and under which request', async () => {
  const c = await start(one(yearly()));
  const [sub] = c.subs();
  await c.change(sub, { quantity: 21 }, { 'ms-requestid': '99999999-0000-4000-8000-000000000001' });
  const [e] = c.control('GET', 'ledger?action=raise').body;
  assert.strictEqual(e.ms_request_id, '99999999-0000-4000-8000-000000000001');
  assert.deepStrictEqual([e.seq, e.actor, e.subscription, e.before.quantity, e.after.quantity], [1, 'app+user', sub.id, 20, 21]);
  assert.throws(() => { 'use strict'; c.world.ledger.entries[0].amount = 0; }, TypeError);
  assert.deepStrictEqual(c.control('GET', 'ledger?since=1').body, []);
});
