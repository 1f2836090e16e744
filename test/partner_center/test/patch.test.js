'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { start, one, yearly, PREMIUM } = require('./helper');

const fails = async (promise, status, code) => {
  const r = await promise;
  assert.deepStrictEqual([r.status, r.json && r.json.code], [status, code]);
  return r;
};
const legacy = (extra) => one({ offer: 'legacy-SPB', quantity: 10, started: '2026-02-01T00:00:00Z', ...extra });
const instructions = (c, quantity, extra = {}) => ({
  product: {
    productId: 'CFQ7TTC0LCHC', skuId: '0002', availabilityId: c.world.catalogue.product(PREMIUM).availability_id,
    billingCycle: 'monthly', termDuration: 'P1Y', ...extra,
  },
  quantity,
});

test('members left out of a PATCH are reset: auto-renew, schedule, next charge', async () => {
  const c = await start(one(yearly({ next: 15 })));
  const [sub] = c.subs();
  const r = await c.patch(c.path(sub), { id: sub.id, friendlyName: 'renamed' });
  assert.strictEqual(r.status, 200);
  assert.strictEqual(r.json.friendlyName, 'renamed');
  assert.strictEqual(r.json.autoRenewEnabled, false);
  assert.strictEqual(r.json.scheduledNextTermInstructions, undefined);
  assert.strictEqual(c.ledger('reset_by_omission').length, 1);
});

test('a null instruction deletes it and keeps auto-renew', async () => {
  const c = await start(one(yearly({ next: 15 })));
  const [sub] = c.subs();
  const r = await c.change(sub, { scheduledNextTermInstructions: null });
  assert.deepStrictEqual([r.json.autoRenewEnabled, r.json.scheduledNextTermInstructions], [true, undefined]);
});

test('the whole resource sent back unchanged changes nothing', async () => {
  const c = await start(one(yearly({ next: 15 })));
  const [sub] = c.subs();
  const before = await c.resource(sub);
  const r = await c.change(sub, {});
  assert.deepStrictEqual(r.json, before);
  assert.strictEqual(c.ledger().length, 0);
});

test('only one property can be changed at a time', async () => {
  const c = await start(one(yearly()));
  const [sub] = c.subs();
  await fails(c.change(sub, { quantity: 21, friendlyName: 'x' }), 400, 800002);
  assert.strictEqual(sub.quantity, 20);
  assert.strictEqual((await c.change(sub, { autoRenewEnabled: true, scheduledNextTermInstructions: instructions(c, 7) })).status, 200);
});

test('member names in any case', async () => {
  const c = await start(one(yearly()));
  const [sub] = c.subs();
  const r = await c.patch(c.path(sub), { Id: sub.id, QUANTITY: 22, AutoRenewEnabled: true });
  assert.deepStrictEqual([r.status, r.json.quantity, r.json.autoRenewEnabled], [200, 22, true]);
});

test('an increase opens a batch of its own and wipes the schedule', async () => {
  const c = await start(one(yearly({ next: 15 })));
  const [sub] = c.subs();
  const r = await c.change(sub, { quantity: 25 });
  assert.strictEqual(r.json.scheduledNextTermInstructions, undefined);
  assert.strictEqual(r.json.autoRenewEnabled, true);
  const open = r.json.refundableQuantity.details.filter((d) => Date.parse(d.allowedUntilDateTime) > c.world.clock.now());
  assert.strictEqual(open.length, 1);
  assert.strictEqual(open[0].quantity, 5);
  assert.strictEqual(Date.parse(open[0].allowedUntilDateTime.slice(0, 23) + 'Z') - c.world.clock.now(), 168 * 3600 * 1000);
  assert.strictEqual(c.ledger('schedule_wiped').length, 1);
});

test('outside the window seats cannot be decreased; the code is configurable', async () => {
  const c = await start(one(yearly()));
  const [sub] = c.subs();
  const r = await fails(c.change(sub, { quantity: 19 }), 400, 800090);
  assert.deepStrictEqual(r.json.data, []);
  for (const code of [900214, 900257]) {
    c.world.options.decrease_error = code;
    await fails(c.change(sub, { quantity: 19 }), 400, code);
  }
});

for (const [order, left] of [['newest', [5, 1]], ['oldest', [2, 4]]])
  test(`a decrease takes the ${order} open batch first and never a closed one`, async () => {
    const c = await start(one(yearly({ quantity: 29, batches: [
      { quantity: 20, hours_left: -100 }, { quantity: 5, hours_left: 24 }, { quantity: 4, hours_left: 100 }] })), { credit_order: order });
    const [sub] = c.subs();
    await fails(c.change(sub, { quantity: 19 }), 400, 800090);
    assert.strictEqual((await c.change(sub, { quantity: 26 })).status, 200);
    const shown = async () => (await c.resource(sub)).refundableQuantity;
    assert.deepStrictEqual((await shown()).details.map((d) => d.quantity), left);
    assert.strictEqual((await shown()).totalQuantity, 6);
    c.world.options.closed_batches = 'listed';
    assert.deepStrictEqual((await shown()).details.map((d) => d.quantity), [20, ...left], 'a closed batch is listed, but gives nothing back');
    c.world.options.closed_batches = 'dropped';
    await c.advance(7);
    assert.strictEqual(await shown(), undefined);
  });

test('each batch has its own deadline', async () => {
  const c = await start(one(yearly()));
  const [sub] = c.subs();
  await c.change(sub, { quantity: 23 });
  await c.advance(4);
  await c.change(sub, { quantity: 25 });
  await c.advance(4);
  await fails(c.change(sub, { quantity: 22 }), 400, 800090);
  assert.strictEqual((await c.change(sub, { quantity: 23 })).status, 200);
});

test('a decrease below the assigned seats goes through; available units go negative', async () => {
  const c = await start(one(yearly({ quantity: 10, started: '2026-11-22T00:00:00Z' }), { user_count: 8, assigned: { SPB: 8 } }));
  const [sub] = c.subs();
  assert.strictEqual((await c.change(sub, { quantity: 5 })).status, 200);
  const p = (await c.get(`/v1/customers/${sub.customer.id}/subscribedskus`)).json.items[0];
  assert.deepStrictEqual([p.activeUnits, p.consumedUnits, p.availableUnits], [5, 8, -3]);
  assert.strictEqual(c.control('GET', 'invariants').body.overdrawn_pools.length, 1);
});

test('minimum and maximum, of the subscription and pooled over the tenant', async () => {
  const c = await start(one(yearly()));
  const [sub] = c.subs();
  await fails(c.change(sub, { quantity: 0 }), 400, 900275);
  await fails(c.change(sub, { quantity: 301 }), 400, 900275);
  await fails(c.change(sub, { quantity: 2.5 }), 400, 3000);
  const two = await start({ accounts: [{ name: 'one' }, { name: 'two' }], customers: [{ name: 'S', partners: ['one', 'two'],
    subscriptions: [yearly(), yearly({ partner: 'two', quantity: 275 })] }] });
  await fails(two.change(two.subs()[0], { quantity: 26 }), 403, 800088);
  assert.strictEqual((await two.change(two.subs()[0], { quantity: 25 })).status, 200);
  const old = await start(one({ offer: 'legacy-PROJECT-min5', quantity: 9 }));
  await fails(old.change(old.subs()[0], { quantity: 4 }), 400, 2002);
});

test('legacy: any decrease at any time; the etag moves on and a stale one is refused', async () => {
  const c = await start(legacy());
  const [sub] = c.subs();
  const old = await c.resource(sub);
  const r = await c.patch(c.path(sub), { ...old, quantity: 3 }, { 'if-match': `"${old.attributes.etag}"` });
  assert.strictEqual(r.status, 200);
  assert.notStrictEqual(r.json.attributes.etag, old.attributes.etag);
  await fails(c.patch(c.path(sub), { ...old, quantity: 2 }), 400, 2055);
  const now = await c.resource(sub);
  await fails(c.patch(c.path(sub), { ...now, quantity: 2 }, { 'if-match': `"${old.attributes.etag}"` }), 400, 2055);
  c.world.options.stale_etag_status = 412;
  await fails(c.patch(c.path(sub), { ...old, quantity: 2 }), 412, 2055);
  assert.strictEqual(sub.quantity, 3);
  const { etag, ...attributes } = now.attributes;
  assert.strictEqual((await c.patch(c.path(sub), { ...now, attributes, quantity: 2 })).status, 200, 'without an etag it goes through');
});

test('legacy: somebody else’s change makes the etag stale', async () => {
  const c = await start(legacy());
  const [sub] = c.subs();
  const old = await c.resource(sub);
  c.act({ do: 'raise', sku: 'SPB', seats: 2 });
  await fails(c.patch(c.path(sub), { ...old, quantity: 8 }), 400, 2055);
  assert.strictEqual(sub.quantity, 12);
});

test('new commerce: a lost update is not noticed', async () => {
  const c = await start(one(yearly({ started: '2026-11-22T00:00:00Z' })));
  const [sub] = c.subs();
  const old = await c.resource(sub);
  c.act({ do: 'raise', sku: 'SPB', seats: 5 });
  assert.strictEqual((await c.patch(c.path(sub), { ...old, quantity: 18 })).json.quantity, 18);
});

test('suspending: legacy stops billing and keeps auto-renew, new commerce the other way round', async () => {
  const old = await start(legacy());
  let r = await old.change(old.subs()[0], { status: 'suspended' });
  assert.deepStrictEqual([r.json.status, r.json.autoRenewEnabled], ['suspended', true]);
  const nce = await start(one(yearly({ next: 15 })));
  const [sub] = nce.subs();
  r = await nce.change(sub, { status: 'suspended' });
  assert.deepStrictEqual([r.json.status, r.json.autoRenewEnabled, r.json.scheduledNextTermInstructions], ['suspended', false, undefined]);
  await fails(nce.change(sub, { quantity: 21 }), 400, 800091);
  r = await nce.change(sub, { status: 'active' });
  assert.deepStrictEqual([r.json.status, r.json.autoRenewEnabled], ['active', false], 'auto-renew stays off');
  const bill = (c, days) => c.control('GET', `bill?from=2026-11-25&to=2026-11-${25 + days}`).body.seat_days;
  await old.advance(3);
  assert.strictEqual(bill(old, 3), 0);
  await nce.change(sub, { status: 'suspended' });
  await nce.advance(3);
  assert.strictEqual(bill(nce, 3), 60);
});

test('a suspended pool is not assignable', async () => {
  const c = await start(legacy());
  await c.change(c.subs()[0], { status: 'suspended' });
  assert.deepStrictEqual([c.pool().active, c.pool().suspended], [0, 10]);
});

test('cancel: inside the window only, refunded to the day, not recoverable; legacy not at all', async () => {
  const c = await start(one(yearly({ started: '2026-11-20T12:00:00Z' })));
  const [sub] = c.subs();
  const r = await c.change(sub, { status: 'deleted' });
  assert.deepStrictEqual([r.status, r.json.status], [200, 'deleted']);
  assert.strictEqual(c.ledger('cancel')[0].amount, -Math.round(20 * 264 * 361 / 365 * 1e6) / 1e6);
  await fails(c.change(sub, { status: 'active' }), 400, 2011);
  const late = await start(one(yearly()));
  await fails(late.change(late.subs()[0], { status: 'deleted' }), 400, 900213);
  const old = await start(legacy());
  await fails(old.change(old.subs()[0], { status: 'deleted' }), 400, 800063);
});

test('add-ons: suspended with their base, not enabled before it', async () => {
  const base = 'a0000000-0000-4000-8000-000000000001';
  const c = await start({ customers: [{ name: 'C', subscriptions: [
    { offer: 'legacy-EXCHANGESTANDARD', quantity: 5, id: base }, { offer: 'legacy-EXCHANGEARCHIVE_ADDON', quantity: 2, parent: base }] }] });
  const [b, addon] = c.subs();
  await c.change(b, { status: 'suspended' });
  assert.strictEqual(addon.status, 'suspended');
  await fails(c.change(addon, { status: 'active' }), 409, 27009);
});

test('trials can be neither changed in quantity nor in status', async () => {
  const c = await start(one({ product: 'CFQ7TTC0LCHC:0003', quantity: 25, ends_in_days: 20 }));
  const [sub] = c.subs();
  await fails(c.change(sub, { quantity: 10 }), 400, 800095);
  await fails(c.change(sub, { status: 'suspended' }), 400, 800096);
});

test('scheduling: needs auto-renew, a whole and valid product, an allowed quantity; not for legacy', async () => {
  const c = await start(one(yearly()));
  const [sub] = c.subs();
  const r = await c.change(sub, { scheduledNextTermInstructions: instructions(c, 7) });
  assert.strictEqual(r.status, 200);
  assert.deepStrictEqual((await c.resource(sub)).scheduledNextTermInstructions, instructions(c, 7));
  assert.strictEqual(sub.quantity, 20);
  await fails(c.change(sub, { scheduledNextTermInstructions: instructions(c, 0) }), 400, 900275);
  await fails(c.change(sub, { scheduledNextTermInstructions: instructions(c, 5, { availabilityId: 'CFQ7TTC0AAAA' }) }), 404, 400019);
  await fails(c.change(sub, { scheduledNextTermInstructions: instructions(c, 5, { termDuration: 'P3Y' }) }), 400, 3000);
  const off = await c.change(sub, { autoRenewEnabled: false });
  assert.strictEqual(off.json.scheduledNextTermInstructions, undefined, 'auto-renew off deletes the schedule');
  await fails(c.change(sub, { scheduledNextTermInstructions: instructions(c, 7) }), 400, 800002);
  const old = await start(legacy());
  await fails(old.change(old.subs()[0], { scheduledNextTermInstructions: instructions(c, 7) }), 403, 900263);
  await fails(old.change(old.subs()[0], { billingCycle: 'annual' }), 400, 2054);
});

test('what cannot be set by PATCH: billing cycle, term, offer, another id', async () => {
  const c = await start(one(yearly()));
  const [sub] = c.subs();
  await fails(c.change(sub, { billingCycle: 'annual' }), 400, 800097);
  await fails(c.change(sub, { termDuration: 'P1M' }), 400, 800002);
  await fails(c.change(sub, { offerId: 'CFQ7TTC0LH18:0001:CFQ7TTC0K971' }), 400, 800002);
  await fails(c.change(sub, { id: '11111111-1111-4111-8111-111111111111' }), 400, 800002);
});

test('more than 1200 updates are refused', async () => {
  const c = await start(one(yearly({ updates: 1199 })));
  const [sub] = c.subs();
  assert.strictEqual((await c.change(sub, { quantity: 21 })).status, 200);
  await fails(c.change(sub, { quantity: 22 }), 400, 900311);
});

test('202: the change shows later, and others wait for it', async () => {
  const c = await start(one(yearly()), { patch_async_seconds: 120 });
  const [sub] = c.subs();
  const r = await c.change(sub, { quantity: 21 });
  assert.deepStrictEqual([r.status, r.headers.location, r.text], [202, `/customers/${sub.customer.id}/subscriptions/${sub.id}`, '']);
  assert.strictEqual((await c.resource(sub)).quantity, 20);
  await fails(c.change(sub, { quantity: 22 }), 409, 800014);
  c.control('POST', 'clock', { advance_seconds: 121 });
  assert.strictEqual((await c.resource(sub)).quantity, 21);
  await fails(c.change(sub, { quantity: 2 }), 400, 800090);
});

test('MS-RequestId: a repeated change returns the first answer and is applied once', async () => {
  const c = await start(one(yearly()));
  const [sub] = c.subs();
  const id = { 'ms-requestid': '77777777-0000-4000-8000-000000000001' };
  const body = { ...(await c.resource(sub)), quantity: 21 };
  const first = await c.patch(c.path(sub), body, id);
  assert.strictEqual(first.headers['ms-requestid'], id['ms-requestid']);
  c.act({ do: 'raise', sku: 'SPB', seats: 4 });
  const again = await c.patch(c.path(sub), body, id);
  assert.deepStrictEqual(again.json, first.json);
  assert.strictEqual(sub.quantity, 25);
  assert.strictEqual(c.control('GET', 'counts').body.replayed, 1);
  c.control('POST', 'forget');
  assert.strictEqual((await c.patch(c.path(sub), body, id)).status, 200);
  assert.strictEqual(sub.quantity, 21, 'once forgotten it is a new request');
});

test('MS-RequestId: refusals are remembered too, throttling and failures are not', async () => {
  const c = await start(one(yearly(), { user_count: 1 }));
  const [sub] = c.subs();
  const id = { 'ms-requestid': '77777777-0000-4000-8000-000000000002' };
  await fails(c.change(sub, { quantity: 19 }, id), 400, 800090);
  await fails(c.change(sub, { quantity: 22 }, id), 400, 800090);
  c.control('POST', 'clock', { advance_seconds: 3500 });
  c.world.options.request_id_memory_seconds = 60;
  assert.strictEqual((await c.change(sub, { quantity: 22 }, id)).status, 200);
  const other = { 'ms-requestid': '77777777-0000-4000-8000-000000000003' };
  c.control('POST', 'faults', { match: { kind: 'patch_subscription' }, nth: 1, action: 'status', status: 503 });
  assert.strictEqual((await c.change(sub, { quantity: 23 }, other)).status, 503);
  assert.strictEqual((await c.change(sub, { quantity: 23 }, other)).status, 200);
});

test('headers: JSON content type, GUIDs, a quoted If-Match', async () => {
  const c = await start(legacy());
  const [sub] = c.subs();
  const r = await c.resource(sub);
  await fails(c.change(sub, { quantity: 9 }, { 'content-type': 'text/plain' }), 400, 800002);
  await fails(c.change(sub, { quantity: 9 }, { 'ms-requestid': '42' }), 400, 800002);
  await fails(c.change(sub, { quantity: 9 }, { 'if-match': r.attributes.etag }), 400, 800002);
  await fails(c.patch(c.path(sub), '[]'), 400, 800002);
  assert.strictEqual(sub.quantity, 10);
  assert.strictEqual((await c.get(c.path(sub), { validatemfa: 'true' })).headers.ismfacompliant, 'true');
});

test('a partial resource of the .NET SDK: defaults of the types count as left out', async () => {
  const c = await start(legacy());
  const [sub] = c.subs();
  const sdk = { status: 'suspended', billingCycle: 'unknown', quantity: 0, autoRenewEnabled: false, isTrial: false };
  const r = await c.patch(c.path(sub), sdk);
  assert.deepStrictEqual([r.status, r.json.status, r.json.quantity, r.json.autoRenewEnabled], [200, 'suspended', 10, false]);
  assert.strictEqual((await c.patch(c.path(sub), { ...sdk, status: 'active' })).json.status, 'active');
  const named = await c.patch(c.path(sub), { ...sdk, status: 'none', friendlyName: 'renamed' });
  assert.deepStrictEqual([named.status, named.json.status, named.json.friendlyName], [200, 'active', 'renamed']);
  const nce = await start(one(yearly({ next: 15 })));
  assert.strictEqual((await nce.patch(nce.path(nce.subs()[0]), sdk)).json.status, 'suspended');
  await fails(nce.change(nce.subs()[0], { billingCycle: 'annual' }), 400, 800097);
});
