'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { start, one, yearly, SPB } = require('./helper');

const fails = async (promise, status, code) => {
  const r = await promise;
  assert.deepStrictEqual([r.status, r.json && r.json.code], [status, code]);
  return r;
};
const E3 = '05e9a617-0261-4cee-bb44-138d3ef5d965';
const EMS = 'efccb6f7-5641-4e0e-bd10-b4976e1bf68e';
const update = (c, upn, assign, remove) => {
  const user = c.customer().users.get(c.customer().upns.get(upn));
  return c.post(`/v1/customers/${c.customer().id}/users/${user ? user.id : upn}/licenseupdates`, {
    LicensesToAssign: assign ? assign.map((skuId) => ({ ExcludedPlans: null, SkuId: skuId })) : null,
    LicensesToRemove: remove || null, LicenseWarnings: null, Attributes: { ObjectType: 'LicenseUpdate' },
  });
};
const held = async (c, upn) => {
  const id = c.customer().upns.get(upn);
  return (await c.get(`/v1/customers/${c.customer().id}/users/${id}/licenses`)).json.items.map((i) => i.productSku.skuPartNumber);
};
const office = (rest) => one(yearly({ quantity: 3 }), { user_count: 4, assigned: { SPB: 2 }, ...rest });

test('assign, read back, remove', async () => {
  const c = await start(office());
  const r = await update(c, 'user03@contoso.example', [SPB.toUpperCase()]);
  assert.strictEqual(r.status, 201);
  assert.strictEqual(r.json.attributes.objectType, 'LicenseUpdate');
  assert.deepStrictEqual(await held(c, 'user03@contoso.example'), ['SPB']);
  assert.strictEqual(c.pool().consumed, 3);
  assert.strictEqual((await update(c, 'user03@contoso.example', null, [SPB])).status, 201);
  assert.deepStrictEqual(await held(c, 'user03@contoso.example'), []);
  assert.strictEqual(c.pool().consumed, 2);
});

test('without a free seat: 60012, and nothing changes', async () => {
  const c = await start(office());
  await update(c, 'user03@contoso.example', [SPB]);
  const r = await fails(update(c, 'user04@contoso.example', [SPB]), 400, 60012);
  assert.match(r.json.data[0], /LicenseQuotaExceededException/);
  assert.strictEqual((await update(c, 'user03@contoso.example', [SPB])).status, 201, 'who holds it may be given it again');
  assert.strictEqual(c.pool().consumed, 3);
});

test('a bought seat can be assigned only after the provisioning delay', async () => {
  const c = await start(office(), { provisioning_delay: 900 });
  await update(c, 'user03@contoso.example', [SPB]);
  await c.change(c.subs()[0], { quantity: 4 });
  await fails(update(c, 'user04@contoso.example', [SPB]), 400, 60012);
  c.control('POST', 'clock', { advance_seconds: 901 });
  assert.strictEqual((await update(c, 'user04@contoso.example', [SPB])).status, 201);
});

test('warning units do not help to assign', async () => {
  const c = await start(office({ foreign_seats: { SPB: { warning: 5 } } }));
  await update(c, 'user03@contoso.example', [SPB]);
  await fails(update(c, 'user04@contoso.example', [SPB]), 400, 60012);
});

test('GUIDs, unknown SKUs, empty requests, unknown and deleted users', async () => {
  const c = await start(office());
  await fails(update(c, 'user03@contoso.example', ['SPB']), 400, 3000);
  await fails(update(c, 'user03@contoso.example', ['11111111-1111-4111-8111-111111111111']), 400, 3000);
  await fails(update(c, 'user03@contoso.example', null, null), 400, 800002);
  await fails(update(c, '11111111-1111-4111-8111-111111111111', [SPB]), 404, 60002);
  const id = c.customer().upns.get('user01@contoso.example');
  c.act({ do: 'delete_user', user: id });
  await fails(update(c, id, [SPB]), 404, 60002);
  assert.strictEqual(c.pool().consumed, 1, 'a deleted user gives the seat back');
});

test('usage location: needed, and set by PATCH', async () => {
  const c = await start(one(yearly(), { users: [{ upn: 'new@contoso.example', usage_location: null }] }));
  const id = c.customer().upns.get('new@contoso.example');
  const path = `/v1/customers/${c.customer().id}/users/${id}`;
  assert.strictEqual((await c.get(path)).json.usageLocation, undefined);
  const r = await fails(update(c, 'new@contoso.example', [SPB]), 400, 800002);
  assert.match(r.json.description, /invalid usage location/);
  await fails(c.patch(path, { usageLocation: 'Germany' }), 400, 3000);
  assert.strictEqual((await c.patch(path, { usageLocation: 'DE', attributes: { objectType: 'CustomerUser' } })).json.usageLocation, 'DE');
  assert.strictEqual((await update(c, 'new@contoso.example', [SPB])).status, 201);
});

test('conflicting and missing plans; excluded plans', async () => {
  const c = await start(one(yearly(), { user_count: 2, assigned: { SPB: 1 }, foreign_seats: { SPE_E3: 5, EXCHANGEARCHIVE_ADDON: 5 } }));
  const r = await fails(update(c, 'user01@contoso.example', [E3]), 400, 800002);
  assert.match(r.json.data[0], /MutuallyExclusiveViolation/);
  const archive = c.world.catalogue.sku('EXCHANGEARCHIVE_ADDON').sku_id;
  const d = await fails(update(c, 'user02@contoso.example', [archive]), 400, 800002);
  assert.match(d.json.data[0], /DependencyViolation/);
  assert.strictEqual((await update(c, 'user01@contoso.example', [archive])).status, 201);
  const plans = c.world.catalogue.sku('SPE_E3').plans.filter((p) => /EXCHANGE|SHAREPOINT/.test(p.service)).map((p) => p.id);
  const id = c.customer().upns.get('user01@contoso.example');
  const path = `/v1/customers/${c.customer().id}/users/${id}/licenseupdates`;
  assert.strictEqual((await c.post(path, { licensesToAssign: [{ skuId: E3, excludedPlans: plans }] })).status, 201);
  await fails(c.post(path, { licensesToAssign: [{ skuId: E3, excludedPlans: [SPB] }] }), 400, 3000);
});

test('a swap in one call is all or nothing', async () => {
  const c = await start(one(yearly({ quantity: 1 }), { user_count: 2, assigned: { SPB: 1 }, foreign_seats: { SPE_E3: 1 } }));
  assert.strictEqual((await update(c, 'user01@contoso.example', [E3], [SPB])).status, 201);
  assert.deepStrictEqual(await held(c, 'user01@contoso.example'), ['SPE_E3']);
  await fails(update(c, 'user01@contoso.example', [SPB], [EMS]), 400, 800002);
  assert.deepStrictEqual(await held(c, 'user01@contoso.example'), ['SPE_E3']);
});

test('licences from a group count, and cannot be removed from the user', async () => {
  const c = await start(one(yearly(), { users: [{ upn: 'g@contoso.example', group_licences: ['SPB'] }] }));
  assert.strictEqual(c.pool().consumed, 1);
  assert.deepStrictEqual(await held(c, 'g@contoso.example'), ['SPB']);
  const r = await fails(update(c, 'g@contoso.example', null, [SPB]), 400, 800002);
  assert.match(r.json.description, /inherited from a group/);
});

test('Tenant SKUs are not assigned to users; one licence group per call', async () => {
  const c = await start(one(yearly(), { user_count: 1, foreign_seats: { SHAREPOINTSTORAGE: 5, MINECRAFT_EDU: 2 } }));
  await fails(update(c, 'user01@contoso.example', [c.world.catalogue.sku('SHAREPOINTSTORAGE').sku_id]), 400, 800002);
  await fails(update(c, 'user01@contoso.example', [SPB, c.world.catalogue.sku('MINECRAFT_EDU').sku_id]), 400, 800002);
});

test('acts of others: a technician, the customer’s own admin; who is seen in the audit', async () => {
  const c = await start(office());
  c.act({ do: 'assign', user: 'user03@contoso.example', sku: 'SPB' });
  c.act({ do: 'unassign', actor: 'customer', user: 'user01@contoso.example', sku: 'SPB' });
  assert.deepStrictEqual(c.ledger().map((e) => [e.actor, e.action]), [['technician', 'assign'], ['customer portal', 'unassign']]);
  const audit = (await c.get('/v1/auditrecords')).json.items;
  assert.strictEqual(audit.length, 1);
  assert.strictEqual(audit[0].operationType, 'update_customer_user_licenses');
  const none = c.act({ do: 'lower', sku: 'SPB' });
  assert.deepStrictEqual([none.status, none.body.code], [409, 800090], 'people in the portal have the same windows');
});

test('a group gives a licence only where a seat is free, and takes it back', async () => {
  const c = await start(one(yearly({ quantity: 2 }), { user_count: 3, assigned: { SPB: 1 } }));
  const group = (act, n) => c.act({ do: act, actor: 'customer', user: `user0${n}@contoso.example`, sku: 'SPB' });
  assert.strictEqual(group('group_assign', 1).status, 200);
  assert.deepStrictEqual([c.pool().consumed, c.ledger().length], [1, 0], 'who has it already holds one seat');
  assert.strictEqual(group('group_assign', 2).status, 200);
  const none = group('group_assign', 3);
  assert.deepStrictEqual([none.status, none.body.code, c.pool().consumed], [409, 60012, 2]);
  assert.strictEqual(group('group_unassign', 1).status, 200);
  assert.deepStrictEqual([c.pool().consumed, await held(c, 'user01@contoso.example')], [2, ['SPB']]);
  assert.strictEqual(group('group_unassign', 2).status, 200);
  assert.deepStrictEqual([c.pool().consumed, await held(c, 'user02@contoso.example')], [1, []]);
  assert.strictEqual(group('group_unassign', 2).status, 400);
});
