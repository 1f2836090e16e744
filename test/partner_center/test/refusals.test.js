'use strict';
// Codes of Microsoft's list that need a reason outside of the request.
const test = require('node:test');
const assert = require('node:assert');
const { start, one, yearly, PREMIUM } = require('./helper');

const code = async (promise) => { const r = await promise; return [r.status, r.json && r.json.code]; };
const item = (c, extra = {}) => ({ id: 0, catalogItemId: `CFQ7TTC0LCHC:0002:${c.world.catalogue.product(PREMIUM).availability_id}`, quantity: 1, termDuration: 'P1Y', billingCycle: 'monthly', ...extra });
const carts = (c) => `/v1/customers/${c.customer().id}/carts`;
const cart = async (c, extra) => (await c.post(carts(c), { lineItems: [item(c, extra)] })).json;
const checkout = (c, id) => c.send('POST', `${carts(c)}/${id}/checkout`);
const later = async (c, seconds) => { c.control('POST', 'clock', { advance_seconds: seconds }); await c.login(); };

test('900278 that lasts a day, also for technicians; other codes for changes of one subscription', async () => {
  const c = await start(one(yearly()));
  const [sub] = c.subs();
  c.act({ do: 'refuse_changes', sku: 'SPB', code: 900278, for_seconds: 86400 });
  await later(c, 86399);
  assert.deepStrictEqual(await code(c.change(sub, { quantity: 21 })), [409, 900278]);
  assert.deepStrictEqual(await code(c.change(sub, { autoRenewEnabled: false })), [409, 900278]);
  assert.strictEqual(c.act({ do: 'raise', sku: 'SPB' }).status, 409);
  assert.strictEqual((await c.get(c.path(sub))).status, 200);
  await later(c, 2);
  assert.deepStrictEqual(await code(c.change(sub, { quantity: 21 })), [200, undefined]);
  for (const [status, n] of [[400, 800081], [409, 800082], [400, 900277], [400, 900280]]) {
    c.act({ do: 'refuse_changes', subscription: sub.id, code: n });
    assert.deepStrictEqual(await code(c.change(sub, { friendlyName: `x${n}` })), [status, n]);
  }
  c.act({ do: 'refuse_changes', subscription: sub.id, code: 2001 });
  assert.deepStrictEqual(await code(c.change(sub, { friendlyName: 'y' })), [200, undefined]);
  assert.deepStrictEqual(await code(c.change(sub, { quantity: 22 })), [400, 2001]);
  c.act({ do: 'refuse_changes', subscription: sub.id, code: null });
  assert.deepStrictEqual(await code(c.change(sub, { quantity: 22 })), [200, undefined]);
  assert.strictEqual(c.act({ do: 'refuse_changes', subscription: sub.id, code: 1 }).status, 400);
});

test('2001 while it is being suspended, 900277 shortly before the end', async () => {
  const c = await start(one({ offer: 'legacy-SPB', quantity: 10 }), { suspending_seconds: 60 });
  const [sub] = c.subs();
  await c.change(sub, { status: 'suspended' });
  assert.deepStrictEqual(await code(c.change(sub, { quantity: 9 })), [400, 2001]);
  await later(c, 61);
  assert.deepStrictEqual(await code(c.change(sub, { quantity: 9 })), [400, 800091]);
  const d = await start(one(yearly({ started: '2025-11-25T00:00:00Z', ends: true })), { expiring_hours: 2 });
  assert.deepStrictEqual(await code(d.change(d.subs()[0], { friendlyName: 'x' })), [200, undefined]);
  await later(d, 13.5 * 3600);
  assert.deepStrictEqual(await code(d.change(d.subs()[0], { friendlyName: 'z' })), [400, 900277]);
});

test('an order in progress: 800064 for its cart, 800060 for another of the same, 800082 for its subscription', async () => {
  const c = await start(one(yearly({ product: 'CFQ7TTC0LFLX:0001' })), { order_processing_seconds: 120 });
  const [first, second, other] = [await cart(c), await cart(c), await cart(c, { catalogItemId: `CFQ7TTC0LH18:0001:CFQ7TTC0K971` })];
  const done = await checkout(c, first.id);
  assert.strictEqual(done.status, 201);
  assert.deepStrictEqual(await code(checkout(c, first.id)), [409, 800064]);
  assert.deepStrictEqual(await code(checkout(c, second.id)), [409, 800060]);
  assert.strictEqual((await checkout(c, other.id)).status, 201);
  const sub = c.customer().subscriptions.get(done.json.orders[0].lineItems[0].subscriptionId);
  assert.deepStrictEqual(await code(c.change(sub, { quantity: 2 })), [409, 800082]);
  await later(c, 121);
  assert.deepStrictEqual(await code(checkout(c, first.id)), [400, 800065]);
  assert.strictEqual((await checkout(c, second.id)).status, 201);
  assert.strictEqual((await c.change(sub, { quantity: 2 })).status, 200);
});

test('purchases refused, of one customer or of a partner: checkout, order and raise, not a decrease', async () => {
  const c = await start(one(yearly({ started: '2026-11-22T00:00:00Z' })));
  const [sub] = c.subs();
  const { id } = await cart(c);
  const order = () => c.post(`/v1/customers/${sub.customer.id}/orders`, { billingCycle: 'monthly', lineItems: [{ lineItemNumber: 0, offerId: item(c).catalogItemId, quantity: 1, termDuration: 'P1Y' }] });
  for (const [who, status, n] of [[{ customer: 'Contoso' }, 403, 800073], [{ customer: 'Contoso' }, 403, 800074], [{ customer: 'Contoso' }, 403, 800075], [{ customer: undefined, partner: 'main' }, 403, 900124], [{ customer: 'Contoso' }, 409, 900112]]) {
    c.act({ do: 'refuse_purchases', ...who, code: n, for_seconds: 3600 });
    assert.deepStrictEqual(await code(checkout(c, id)), [status, n]);
    assert.deepStrictEqual(await code(order()), [status, n]);
    assert.deepStrictEqual(await code(c.change(sub, { quantity: sub.quantity + 1 })), [status, n]);
    assert.strictEqual((await c.change(sub, { quantity: sub.quantity - 1 })).status, 200);
    await later(c, 3601);
  }
  assert.strictEqual((await checkout(c, id)).status, 201);
  assert.strictEqual(c.act({ do: 'refuse_purchases', code: 5 }).status, 400);
});

test('800089: as many subscriptions as a customer may have', async () => {
  const c = await start(one(yearly()), { max_subscriptions: 1 });
  assert.deepStrictEqual(await code(checkout(c, (await cart(c)).id)), [403, 800089]);
  c.world.options.max_subscriptions = 2;
  assert.strictEqual((await checkout(c, (await cart(c)).id)).status, 201);
});

test('conditional access blocks calls for licences, 20002 comes in other words', async () => {
  const c = await start(one(yearly()));
  const base = `/v1/customers/${c.customer().id}`;
  c.act({ do: 'conditional_access', for_seconds: 60 });
  assert.deepStrictEqual(await code(c.get(`${base}/subscribedskus`)), [403, 900309]);
  assert.strictEqual((await c.get(`${base}/subscriptions`)).status, 200);
  await later(c, 61);
  assert.strictEqual((await c.get(`${base}/subscribedskus`)).status, 200);
  c.world.options.relationship_words = 'caller';
  c.act({ do: 'relationship', on: false });
  const r = await c.get(base);
  assert.deepStrictEqual([r.status, r.json.code, r.json.description], [403, 20002, 'No relationship between caller and account.']);
});

test('an availability changes: the old id is unknown to carts and schedules; an item that is not available', async () => {
  const c = await start(one(yearly()));
  const [sub] = c.subs();
  const old = item(c).catalogItemId;
  const { id } = await cart(c);
  const made = c.act({ do: 'new_availability', product: PREMIUM }).body.catalogItemId;
  assert.notStrictEqual(made, old);
  const path = `/v1/customers/${sub.customer.id}/products/CFQ7TTC0LCHC/skus/0002/availabilities`;
  assert.strictEqual((await c.get(path)).json.items[0].catalogItemId, made);
  assert.strictEqual((await c.resource(sub)).offerId, old);
  assert.deepStrictEqual(await code(checkout(c, id)), [404, 400019]);
  const late = await cart(c, { catalogItemId: old });
  assert.strictEqual(late.lineItems[0].error.errorCode, 10001);
  c.world.options.unknown_availability = 'refused';
  assert.deepStrictEqual(await code(c.post(carts(c), { lineItems: [item(c, { catalogItemId: old })] })), [404, 400019]);
  const [productId, skuId, availabilityId] = old.split(':');
  const schedule = (a) => c.change(sub, { scheduledNextTermInstructions: { product: { productId, skuId, availabilityId: a, billingCycle: 'monthly', termDuration: 'P1Y' }, quantity: 5 } });
  assert.deepStrictEqual(await code(schedule(availabilityId)), [404, 400019]);
  assert.strictEqual((await schedule(made.split(':')[2])).status, 200);
  c.act({ do: 'available', product: PREMIUM, on: false });
  assert.deepStrictEqual(await code(c.get(path)), [200, 400072]);
  assert.strictEqual((await cart(c)).lineItems[0].error.errorCode, 10001);
  c.act({ do: 'available', product: PREMIUM });
  assert.strictEqual((await c.get(path)).json.items.length, 1);
});
