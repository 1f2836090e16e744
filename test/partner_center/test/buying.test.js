'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { start, one, yearly, PREMIUM } = require('./helper');

const item = (c, product = PREMIUM, extra = {}) => {
  const p = c.world.catalogue.product(product);
  return { id: 0, catalogItemId: `${p.product_id}:${p.sku_id}:${p.availability_id}`, quantity: 2, termDuration: 'P1Y', billingCycle: 'Monthly', ...extra };
};
const carts = (c) => `/v1/customers/${c.customer().id}/carts`;
const cart = (c, ...lines) => c.post(carts(c), { PartnerOnRecordAttestationAccepted: true, lineItems: lines });
const checkout = (c, id, headers) => c.send('POST', `${carts(c)}/${id}/checkout`, { headers });
const empty = (rest) => ({ customers: [{ name: 'Contoso', user_count: 3, ...rest }] });

test('cart, checkout, order, subscription, seat', async () => {
  const c = await start(empty());
  const made = await cart(c, item(c));
  assert.strictEqual(made.status, 201);
  assert.strictEqual(made.json.status, 'Active');
  assert.strictEqual(Date.parse(made.json.expirationTimestamp.slice(0, 19) + 'Z') - c.world.clock.now(), 7 * 86400000);
  assert.deepStrictEqual([made.json.lineItems[0].pricing.listPrice, made.json.lineItems[0].pricing.extendedPrice], [22, 528]);
  assert.strictEqual(c.subs().length, 0, 'a cart buys nothing');
  const done = await checkout(c, made.json.id);
  assert.strictEqual(done.status, 201);
  const [order] = done.json.orders;
  assert.deepStrictEqual([order.status, order.lineItems[0].transactionType], ['pending', 'New']);
  const sub = (await c.get(`/v1/customers/${c.customer().id}/subscriptions/${order.lineItems[0].subscriptionId}`)).json;
  assert.deepStrictEqual([sub.quantity, sub.orderId, sub.autoRenewEnabled, sub.commitmentEndDate], [2, order.id, true, '2027-11-23T00:00:00Z']);
  assert.strictEqual((await c.get(`/v1/customers/${c.customer().id}/orders/${order.id}`)).json.status, 'completed');
  assert.strictEqual((await c.get(`${carts(c)}/${made.json.id}`)).json.status, 'Ordered');
  assert.strictEqual(c.ledger('new')[0].amount, 528);
  assert.strictEqual(c.pool().active, 2);
});

test('a cart is bought once: 800065, or the first answer', async () => {
  const c = await start(empty());
  const id = (await cart(c, item(c))).json.id;
  const first = await checkout(c, id);
  const second = await checkout(c, id);
  assert.deepStrictEqual([second.status, second.json.code], [400, 800065]);
  c.world.options.second_checkout = 'replay';
  assert.deepStrictEqual((await checkout(c, id)).json, first.json);
  assert.strictEqual(c.subs().length, 1);
});

test('the same MS-RequestId on checkout returns the first answer; an expired cart is gone', async () => {
  const c = await start(empty());
  const id = (await cart(c, item(c))).json.id;
  const rid = { 'ms-requestid': '88888888-0000-4000-8000-000000000001' };
  const first = await checkout(c, id, rid);
  assert.deepStrictEqual((await checkout(c, id, rid)).json, first.json);
  const late = (await cart(c, item(c))).json.id;
  await c.advance(8);
  assert.strictEqual((await checkout(c, late)).status, 404);
  assert.strictEqual(c.subs().length, 1);
});

test('a 201 cart can hold line errors; checkout can succeed in part', async () => {
  const c = await start(empty());
  const bad = item(c, PREMIUM, { id: 1, catalogItemId: 'CFQ7TTC0LCHC:0002:CFQ7TTC0XXXX', termDuration: 'P1M' });
  const much = item(c, PREMIUM, { id: 2, quantity: 400, termDuration: 'P1M' });
  const made = await cart(c, item(c), bad, much);
  assert.strictEqual(made.status, 201);
  assert.deepStrictEqual(made.json.lineItems.map((l) => l.error && l.error.errorCode), [undefined, 10001, 10015]);
  assert.deepStrictEqual(made.json.lineItems.map((l) => l.orderGroup), ['0', '1', '1']);
  const done = await checkout(c, made.json.id);
  assert.deepStrictEqual([done.status, done.json.orders.length, done.json.orderErrors.length], [201, 1, 1]);
  const hopeless = await checkout(c, (await cart(c, bad)).json.id);
  assert.strictEqual(hopeless.status, 400);
});

test('seats are pooled over the tenant, and the error tells how many are left', async () => {
  const c = await start(one(yearly({ quantity: 295 })));
  const line = (await cart(c, item(c, PREMIUM, { quantity: 10 }))).json.lineItems[0];
  assert.deepStrictEqual(line.error.additionalInformation, { availableQuantity: 5, purchasedQuantity: 295 });
});

test('no agreement: 403/13605; a reseller cannot buy', async () => {
  const c = await start(empty({ agreement: false }));
  const r = await cart(c, item(c));
  assert.deepStrictEqual([r.status, r.json.code], [403, 13605]);
  const reseller = await start({ accounts: [{ name: 'r', kind: 'indirect_reseller' }], ...empty() });
  assert.strictEqual((await cart(reseller, item(reseller))).status, 403);
});

test('delays: no subscription id in the answer, order and subscription listed later', async () => {
  const c = await start(empty(), { order_delay: 600, subscription_id_in_answer: false, checkout_shape: 'bare' });
  const done = await checkout(c, (await cart(c, item(c))).json.id);
  assert.strictEqual(done.json.lineItems[0].subscriptionId, undefined, 'a bare order');
  const path = `/v1/customers/${c.customer().id}`;
  assert.strictEqual((await c.get(`${path}/subscriptions`)).json.totalCount, 0);
  assert.deepStrictEqual(await c.get(`${path}/orders/${done.json.id}`).then((r) => [r.status, r.json.code]), [404, 20000]);
  c.control('POST', 'clock', { advance_seconds: 601 });
  assert.strictEqual((await c.get(`${path}/subscriptions?order_id=${done.json.id}`)).json.totalCount, 1);
  assert.ok((await c.get(`${path}/orders/${done.json.id}`)).json.lineItems[0].subscriptionId);
});

test('an order without a cart; attestation where a partner is on record', async () => {
  const c = await start(empty());
  const { catalogItemId } = item(c);
  const path = `/v1/customers/${c.customer().id}/orders`;
  const line = { lineItemNumber: 0, offerId: catalogItemId, quantity: 1, termDuration: 'P1M' };
  assert.strictEqual((await c.post(path, { billingCycle: 'monthly', lineItems: [line] })).status, 201);
  const indirect = await c.post(path, { billingCycle: 'monthly', lineItems: [{ ...line, partnerIdOnRecord: '873452' }] });
  assert.deepStrictEqual([indirect.status, indirect.json.code], [400, 900206]);
});

test('add-ons of a cart line are kept, priced and bought with it', async () => {
  const c = await start(empty());
  const addon = item(c, 'CFQ7TTC0P0HP:0001', { id: 1 });
  const made = await cart(c, { ...item(c), addonItems: [addon] });
  const [line] = made.json.lineItems;
  assert.deepStrictEqual(line.addonItems.map((a) => [a.catalogItemId, a.pricing.extendedPrice, a.orderGroup]), [[addon.catalogItemId, 72, '0']]);
  const done = await checkout(c, made.json.id);
  assert.deepStrictEqual(done.json.orders[0].lineItems.map((l) => l.offerId), [line.catalogItemId, addon.catalogItemId]);
  assert.strictEqual(c.subs().length, 2);
  const bad = await cart(c, { ...item(c), addonItems: [{ ...addon, termDuration: 'P1M' }] });
  assert.strictEqual(bad.json.lineItems[0].addonItems[0].error.errorCode, 10001, 'it has no monthly term');
});
