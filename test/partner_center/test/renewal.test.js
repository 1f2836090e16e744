'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { start, one, yearly, PREMIUM } = require('./helper');

// Ends with 2026-11-30, renewed at 00:00 of 1 December.
const ending = (extra = {}) => one(yearly({ started: '2025-12-01T00:00:00Z', ...extra }));

test('a schedule is applied at renewal, and a window opens', async () => {
  const c = await start(ending({ next: 12 }));
  const [sub] = c.subs();
  assert.strictEqual((await c.resource(sub)).commitmentEndDate, '2026-11-30T00:00:00Z');
  await c.advance(7);
  const r = await c.resource(sub);
  assert.deepStrictEqual([r.quantity, r.commitmentEndDate, r.scheduledNextTermInstructions], [12, '2027-11-30T00:00:00Z', undefined]);
  assert.strictEqual(r.effectiveStartDate.slice(0, 19), '2026-12-01T00:00:00');
  assert.strictEqual((await c.change(sub, { quantity: 11 })).status, 200, 'renewed seats can be returned');
  const [renewal] = c.ledger('renew');
  assert.deepStrictEqual([renewal.actor, renewal.time, renewal.before.quantity, renewal.after.quantity, renewal.amount],
    ['renewal', '2026-12-01T00:00:00.000Z', 20, 12, 12 * 264]);
});

test('monthly terms keep their day over short months', async () => {
  const c = await start(one({ product: PREMIUM, quantity: 2, term: 'P1M', cycle: 'monthly', started: '2026-10-31T00:00:00Z' }));
  const [sub] = c.subs();
  const ends = [];
  for (let i = 0; i < 5; i++) {
    ends.push((await c.resource(sub)).commitmentEndDate.slice(0, 10));
    await c.advance(Math.ceil((sub.term_end - c.world.clock.now()) / 86400000));
  }
  assert.deepStrictEqual(ends, ['2026-11-29', '2026-12-30', '2027-01-30', '2027-02-27', '2027-03-30']);
});

test('during the renewal it is 409/900278; the window opens when the renewal is complete', async () => {
  const c = await start(ending({ next: 12 }), { renewal_hours: 10 });
  const [sub] = c.subs();
  c.control('POST', 'clock', { now: '2026-12-01T03:00:00Z' });
  await c.login();
  for (const change of [{ quantity: 21 }, { autoRenewEnabled: false }, { status: 'suspended' }]) {
    const r = await c.change(sub, change);
    assert.deepStrictEqual([r.status, r.json.code], [409, 900278]);
  }
  assert.strictEqual((await c.resource(sub)).quantity, 20);
  c.control('POST', 'clock', { now: '2026-12-01T10:30:00Z' });
  await c.login();
  const r = await c.resource(sub);
  assert.strictEqual(r.quantity, 12);
  assert.strictEqual(r.refundableQuantity.details[0].allowedUntilDateTime.slice(0, 19), '2026-12-08T10:00:00');
  const bill = c.control('GET', 'bill?from=2026-12-01&to=2026-12-02').body;
  assert.strictEqual(bill.seat_days, 12, 'the new quantity is billed from the first day of the term');
});

test('auto-renew off without Cancel runs on in extended terms, 3 % above the monthly price', async () => {
  const c = await start(ending());
  const [sub] = c.subs();
  const off = await c.change(sub, { autoRenewEnabled: false });
  assert.deepStrictEqual(off.json.scheduledActions, [{ scheduleType: 'TermEnd', actionType: 'RenewToExtendedServiceTerm' }]);
  await c.advance(7);
  const r = await c.resource(sub);
  assert.deepStrictEqual([r.status, r.quantity, r.termDuration, r.commitmentEndDate], ['active', 20, 'P1M', '2026-12-31T00:00:00Z']);
  const [e] = c.ledger('extended_term');
  assert.strictEqual(e.amount, Math.round(20 * 26.4 * 1.03 * 1e6) / 1e6);
  await c.advance(40);
  assert.strictEqual(c.ledger('extended_term').length, 2);
  assert.strictEqual((await c.change(sub, { quantity: 19 })).json.code, 800090, 'seats only inside a window');
  const cancelled = await c.change(sub, { status: 'deleted' });
  assert.strictEqual(cancelled.status, 200, 'the whole at any time');
  assert.ok(c.ledger('cancel')[0].amount < 0);
});

test('no monthly plan: 23 % above the yearly price', async () => {
  const c = await start(ending({ product: 'CFQ7TTC0P0HP:0001', auto_renew: false }));
  await c.advance(7);
  assert.strictEqual(c.subs()[0].unit_price, 3 * 1.23);
});

test('auto-renew off with the explicit Cancel ends it at term', async () => {
  const c = await start(ending());
  const [sub] = c.subs();
  const cancel = [{ scheduleType: 'TermEnd', actionType: 'Cancel' }];
  const r = await c.change(sub, { autoRenewEnabled: false, scheduledActions: cancel });
  assert.strictEqual(r.status, 200);
  assert.deepStrictEqual((await c.resource(sub)).scheduledActions, cancel);
  await c.advance(7);
  assert.strictEqual((await c.resource(sub)).status, 'disabled');
  assert.strictEqual(c.pool().active, 0);
  assert.strictEqual(c.control('GET', 'bill?from=2026-12-01&to=2026-12-02').body.seat_days, 0);
  await c.advance(91);
  assert.strictEqual((await c.resource(sub)).status, 'deleted');
});

test('a quantity change wipes the explicit Cancel as well', async () => {
  const c = await start(ending({ ends: true }));
  const [sub] = c.subs();
  const r = await c.change(sub, { quantity: 21 });
  assert.deepStrictEqual(r.json.scheduledActions.map((a) => a.actionType), ['RenewToExtendedServiceTerm']);
});

test('an action that contradicts auto-renew is refused', async () => {
  const c = await start(ending());
  const r = await c.change(c.subs()[0], { autoRenewEnabled: true, scheduledActions: [{ scheduleType: 'TermEnd', actionType: 'Cancel' }] });
  assert.deepStrictEqual([r.status, r.json.code], [400, 800002]);
});

test('a service that drops scheduledActions shows none and extends', async () => {
  const c = await start(ending(), { scheduled_actions: 'dropped' });
  const [sub] = c.subs();
  const r = await c.change(sub, { autoRenewEnabled: false, scheduledActions: [{ scheduleType: 'TermEnd', actionType: 'Cancel' }] });
  assert.deepStrictEqual([r.status, r.json.autoRenewEnabled, r.json.scheduledActions], [200, false, undefined]);
  await c.advance(7);
  assert.strictEqual(sub.extended, true);
});

test('without extended terms: expired for 30 days (warning units), then disabled, then deleted', async () => {
  const c = await start(ending({ auto_renew: false }), { extended_terms: false });
  const [sub] = c.subs();
  await c.advance(7);
  assert.strictEqual(sub.status, 'expired');
  assert.deepStrictEqual([c.pool().active, c.pool().warning], [0, 20]);
  assert.strictEqual((await c.change(sub, { status: 'active' })).json.code, 900279);
  await c.advance(31);
  assert.strictEqual(sub.status, 'disabled');
  await c.advance(90);
  assert.strictEqual(sub.status, 'deleted');
});

test('suspended new commerce is billed to the end of its term and then disabled', async () => {
  const c = await start(ending());
  const [sub] = c.subs();
  await c.change(sub, { status: 'suspended' });
  await c.advance(9);
  assert.strictEqual(sub.status, 'disabled');
  const bill = c.control('GET', 'bill?from=2026-11-24&to=2026-12-03').body;
  assert.strictEqual(bill.seat_days, 7 * 20);
});

test('legacy renews by itself and is deleted 90 days after suspension', async () => {
  const c = await start({ customers: [{ name: 'C', subscriptions: [
    { offer: 'legacy-SPB', quantity: 4, started: '2025-12-01T00:00:00Z' }, { offer: 'legacy-SPB', quantity: 6, started: '2025-11-27T00:00:00Z' }] }] });
  const [a, b] = c.subs();
  await c.change(b, { status: 'suspended' });
  await c.advance(8);
  assert.strictEqual((await c.resource(a)).commitmentEndDate, '2027-12-01T00:00:00Z');
  assert.strictEqual(b.status, 'suspended');
  await c.advance(83);
  assert.strictEqual(b.status, 'deleted');
  assert.strictEqual((await c.change(b, { status: 'active' })).json.code, 2011);
});

test('trials end', async () => {
  const c = await start(one({ product: 'CFQ7TTC0LCHC:0003', quantity: 25, ends_in_days: 5 }));
  await c.advance(6);
  assert.strictEqual(c.subs()[0].status, 'expired');
  const bill = c.control('GET', 'bill').body;
  assert.deepStrictEqual([bill.amount, bill.seat_days], [0, 0]);
});

test('one leap of the clock does everything in its order', async () => {
  const c = await start({ customers: [
    { name: 'A', subscriptions: [{ product: PREMIUM, quantity: 1, term: 'P1M', cycle: 'monthly', started: '2026-11-20T00:00:00Z' }] },
    { name: 'B', subscriptions: [{ product: PREMIUM, quantity: 1, term: 'P1M', cycle: 'monthly', started: '2026-11-10T00:00:00Z' }] }] });
  await c.advance(60);
  const times = c.ledger().map((e) => Date.parse(e.time));
  assert.deepStrictEqual(times, [...times].sort((x, y) => x - y));
  assert.strictEqual(c.ledger('renew').length, 4);
});

test('the clock does not run backwards', async () => {
  const c = await start(ending());
  assert.strictEqual(c.control('POST', 'clock', { now: '2026-01-01T00:00:00Z' }).status, 400);
});

test('extended terms in a shape of their own: another SKU, monthly, auto-renew back on', async () => {
  const c = await start(ending(), { extended_terms_shape: 'separate' });
  const [sub] = c.subs();
  await c.change(sub, { autoRenewEnabled: false });
  await c.advance(7);
  let r = await c.resource(sub);
  assert.match(r.offerId, /^CFQ7TTC0LCHC:E002:CFQ7TTC/);
  assert.deepStrictEqual([r.status, r.quantity, r.termDuration, r.billingCycle, r.autoRenewEnabled], ['active', 20, 'P1M', 'monthly', true]);
  assert.deepStrictEqual([c.pool().active, c.ledger('extended_term')[0].amount], [20, Math.round(20 * 26.4 * 1.03 * 1e6) / 1e6]);
  const base = `/v1/customers/${sub.customer.id}/products/CFQ7TTC0LCHC`;
  assert.strictEqual((await c.get(`${base}/skus/E002`)).json.dynamicAttributes.provisioningId, sub.sku_id);
  assert.strictEqual((await c.get(`${base}/skus/E002/availabilities`)).json.items[0].isPurchasable, false);
  assert.ok(!(await c.get(`${base}/skus`)).json.items.some((s) => s.id === 'E002'));
  await c.advance(32);
  assert.strictEqual(c.ledger('extended_term').length, 2, 'it renews by itself');
  // Fewer seats at the next month, and off at the end; or back to a year.
  const [product, sku, availability] = r.offerId.split(':');
  const next = { product: { productId: product, skuId: sku, availabilityId: availability, billingCycle: 'monthly', termDuration: 'P1M' }, quantity: 15 };
  assert.strictEqual((await c.change(sub, { scheduledNextTermInstructions: next })).status, 200);
  await c.advance(31);
  r = await c.resource(sub);
  assert.deepStrictEqual([r.quantity, r.offerId.split(':')[1], sub.extended], [15, 'E002', true]);
  const year = { product: { productId: product, skuId: '0002', availabilityId: c.world.catalogue.product(PREMIUM).availability_id, billingCycle: 'monthly', termDuration: 'P1Y' }, quantity: 15 };
  assert.strictEqual((await c.change(sub, { scheduledNextTermInstructions: year })).status, 200);
  await c.advance(31);
  assert.deepStrictEqual([sub.product.sku_id, sub.term, sub.extended, sub.unit_price], ['0002', 'P1Y', false, 264]);
});

test('extended terms of their own end with the explicit Cancel, or at once as a whole', async () => {
  const own = { product: 'CFQ7TTC0LCHC:E002', quantity: 5, ends_in_days: 10 };
  const c = await start(one(own), { extended_terms_shape: 'separate' });
  const [sub] = c.subs();
  assert.strictEqual((await c.change(sub, { autoRenewEnabled: false, scheduledActions: [{ scheduleType: 'TermEnd', actionType: 'Cancel' }] })).status, 200);
  await c.advance(11);
  assert.strictEqual(sub.status, 'disabled');
  const d = await start(one(own), { extended_terms_shape: 'separate' });
  assert.strictEqual((await d.change(d.subs()[0], { status: 'deleted' })).status, 200);
});

test('announced actions say what happens anyway; coming back as shown they mean nothing', async () => {
  const c = await start(ending({ next: 12 }), { scheduled_actions: 'announced' });
  const [sub] = c.subs();
  const shown = async () => (await c.resource(sub)).scheduledActions.map((a) => [a.actionType, a.instructions && a.instructions.quantity]);
  assert.deepStrictEqual(await shown(), [['RenewToNewTerm', 12]]);
  assert.strictEqual((await c.change(sub, {})).json.scheduledNextTermInstructions.quantity, 12);
  assert.strictEqual(c.ledger().length, 0, 'the whole resource sent back changes nothing');
  assert.strictEqual((await c.change(sub, { scheduledNextTermInstructions: null })).json.scheduledNextTermInstructions, undefined);
  assert.deepStrictEqual(await shown(), [['RenewToNewTerm', 20]]);
  assert.strictEqual((await c.change(sub, { quantity: 21 })).json.scheduledNextTermInstructions, undefined);
  assert.deepStrictEqual(await shown(), [['RenewToNewTerm', 21]]);
  await c.change(sub, { autoRenewEnabled: false });
  assert.deepStrictEqual(await shown(), [['RenewToExtendedServiceTerm', undefined]]);
  const cancel = [{ scheduleType: 'TermEnd', actionType: 'Cancel' }];
  await c.change(sub, { autoRenewEnabled: true, scheduledActions: null });
  assert.strictEqual((await c.change(sub, { autoRenewEnabled: false, scheduledActions: cancel })).status, 200);
  assert.deepStrictEqual(await shown(), [['Cancel', undefined]]);
});

test('a custom end of the next term; the date can stay to be seen for ever', async () => {
  const c = await start(ending(), { custom_term_end_date: 'kept' });
  const [sub] = c.subs();
  const next = { product: { productId: 'CFQ7TTC0LCHC', skuId: '0002', availabilityId: c.world.catalogue.product(PREMIUM).availability_id, billingCycle: 'monthly', termDuration: 'P1M' },
    quantity: 20, customTermEndDate: '2026-12-15T00:00:00' };
  assert.strictEqual((await c.change(sub, { scheduledNextTermInstructions: next })).status, 200);
  await c.advance(8);
  let r = await c.resource(sub);
  assert.deepStrictEqual([r.commitmentEndDate, r.customTermEndDate], ['2026-12-15T00:00:00Z', '2026-12-15T00:00:00']);
  await c.advance(30);
  r = await c.resource(sub);
  assert.strictEqual(r.customTermEndDate, '2026-12-15T00:00:00', 'long past');
  assert.ok(r.commitmentEndDate > '2026-12-31');
  c.act({ do: 'schedule', sku: 'SPB', quantity: 9, custom_term_end: '2027-01-31' });
  assert.strictEqual((await c.resource(sub)).scheduledNextTermInstructions.customTermEndDate, '2027-01-31');
  const d = await start(ending({ custom_term_end: '2019-01-09' }));
  assert.strictEqual((await d.resource(d.subs()[0])).customTermEndDate, '2019-01-09T00:00:00');
});
