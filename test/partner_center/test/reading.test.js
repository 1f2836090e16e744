'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { start, one, yearly, SPB } = require('./helper');

const many = (n) => ({ customers: Array.from({ length: n }, (_, i) => ({ name: `Customer ${i + 1}`, user_count: i === 0 ? 7 : 0 })) });
const tokenOf = (r) => r.json.links.next && r.json.links.next.headers.find((h) => h.key === 'MS-ContinuationToken').value;

test('customers come by page; the token goes back in the header with seekOperation=Next', async () => {
  const c = await start(many(7));
  const names = [];
  let r = await c.get('/v1/customers?size=3');
  for (;;) {
    names.push(...r.json.items.map((i) => i.companyProfile.companyName));
    const token = tokenOf(r);
    if (!token) break;
    assert.match(token, /[,/=+]/);
    assert.strictEqual(r.json.totalCount, r.json.items.length, 'totalCount is that of the page');
    r = await c.get('/v1/customers?seekOperation=Next', { 'ms-continuationtoken': token });
  }
  assert.deepStrictEqual(names, Array.from({ length: 7 }, (_, i) => `Customer ${i + 1}`));
});

test('a token is refused without seekOperation, when altered, and for another collection', async () => {
  const c = await start(many(7));
  const token = tokenOf(await c.get('/v1/customers?size=3'));
  assert.strictEqual((await c.get('/v1/customers', { 'ms-continuationtoken': token })).status, 400);
  assert.strictEqual((await c.get('/v1/customers?seekOperation=Next', { 'ms-continuationtoken': token.replace(/=$/, '') })).status, 400);
  assert.strictEqual((await c.get('/v1/customers?seekOperation=Next')).status, 400);
  const users = `/v1/customers/${c.customer().id}/users?seekOperation=Next`;
  assert.strictEqual((await c.get(users, { 'ms-continuationtoken': token })).status, 400);
});

test('the token can be delivered in the body or in a header, and a last page can have one', async () => {
  const c = await start(many(4), { page_token: 'body' });
  let r = await c.get('/v1/customers?size=3');
  assert.ok(r.json.continuationToken && !r.json.links.next);
  c.world.options.page_token = 'header';
  r = await c.get('/v1/customers?size=3');
  assert.ok(r.headers['ms-continuationtoken'] && !r.json.continuationToken);
  c.world.options.trailing_empty_page = true;
  r = await c.get('/v1/customers?size=4');
  r = await c.get('/v1/customers?seekOperation=Next', { 'ms-continuationtoken': r.headers['ms-continuationtoken'] });
  assert.deepStrictEqual([r.json.items.length, r.headers['ms-continuationtoken']], [0, undefined]);
});

test('customers can be filtered by the beginning of their name', async () => {
  const c = await start({ customers: [{ name: 'Alpha' }, { name: 'Beta' }, { name: 'Alpine' }] });
  const filter = encodeURIComponent('{"Field":"CompanyName","Value":"alp","Operator":"starts_with"}');
  const r = await c.get(`/v1/customers?size=10&filter=${filter}`);
  assert.deepStrictEqual(r.json.items.map((i) => i.companyProfile.companyName), ['Alpha', 'Alpine']);
});

test('users: pages, by id, by upn, deleted ones by filter only', async () => {
  const c = await start(one(yearly(), { domain: 'contoso.example', user_count: 5 }));
  const base = `/v1/customers/${c.customer().id}/users`;
  const first = await c.get(`${base}?size=3`);
  assert.strictEqual(first.json.items.length, 3);
  const rest = await c.get(`${base}?seekOperation=Next`, { 'ms-continuationtoken': tokenOf(first) });
  assert.strictEqual(rest.json.items.length, 2);
  const u = first.json.items[0];
  assert.strictEqual((await c.get(`${base}/${u.id.toUpperCase()}`)).json.userPrincipalName, 'user01@contoso.example');
  assert.strictEqual((await c.get(`${base}/USER01%40contoso.example`)).json.id, u.id);
  assert.deepStrictEqual(await c.get(`${base}/nobody@contoso.example`).then((r) => [r.status, r.json.code]), [404, 60002]);
  c.act({ do: 'delete_user', user: 'user01@contoso.example' });
  assert.strictEqual((await c.get(base)).json.items.length, 4);
  assert.strictEqual((await c.get(`${base}/${u.id}`)).json.code, 60002);
  const filter = encodeURIComponent('{"Field":"UserState","Value":"Inactive","Operator":"equals"}');
  const gone = (await c.get(`${base}?size=500&filter=${filter}`)).json.items;
  assert.deepStrictEqual(gone.map((x) => x.userPrincipalName), [u.id.replace(/-/g, '') + 'user01@contoso.example']);
  const back = await c.patch(`${base}/${u.id}`, { State: 'active', Attributes: { ObjectType: 'CustomerUser' } });
  assert.deepStrictEqual([back.status, back.json.userPrincipalName], [200, 'user01@contoso.example']);
});

test('a new commerce subscription has the members of the resource', async () => {
  const c = await start(one(yearly()));
  const s = await c.resource(c.subs()[0]);
  assert.match(s.offerId, /^CFQ7TTC0LCHC:0002:CFQ7TTC[0-9A-Z]+$/);
  assert.deepStrictEqual(s.productType, { id: 'OnlineServicesNCE', displayName: 'OnlineServicesNCE' });
  assert.strictEqual(s.commitmentEndDate, '2027-05-31T00:00:00Z', 'the last day, inclusive');
  assert.strictEqual(s.commitmentEndDateTime, '2027-05-31T23:59:59Z');
  assert.match(s.cancellationAllowedUntilDate, /^2026-06-08T10:00:00/);
  assert.strictEqual(s.attributes.etag, undefined);
  assert.ok(!('scheduledNextTermInstructions' in s), 'null members are omitted');
  assert.match(s.links.product.uri, /country=US$/);
});

test('a legacy subscription: no productType, GUIDs in upper case, exclusive end, etag with version', async () => {
  const c = await start(one({ offer: 'legacy-SPB', quantity: 10, started: '2026-02-01T00:00:00Z' }));
  const s = await c.resource(c.subs()[0]);
  assert.strictEqual(s.productType, undefined);
  assert.strictEqual(s.id, c.subs()[0].id.toUpperCase());
  assert.strictEqual(s.commitmentEndDate, '2027-02-01T00:00:00Z');
  assert.deepStrictEqual(JSON.parse(Buffer.from(s.attributes.etag, 'base64').toString()), { id: c.subs()[0].id, version: 1 });
});

test('bodies: BOM, PascalCase, missing members, per kind', async () => {
  const c = await start(one(yearly()), { quirks_by_kind: { subscriptions: { bom: true, pascal: true, omit: ['isTrial'] } } });
  const r = await c.get(`/v1/customers/${c.customer().id}/subscriptions`);
  assert.deepStrictEqual([...r.bytes.subarray(0, 3)], [0xef, 0xbb, 0xbf]);
  assert.strictEqual(r.json.Items[0].Quantity, 20);
  assert.strictEqual(r.json.Items[0].Attributes.ObjectType, 'Subscription');
  assert.ok(!('IsTrial' in r.json.Items[0]));
  const other = await c.get('/v1/customers');
  assert.strictEqual(other.bytes[0], '{'.charCodeAt(0));
});

test('subscribedskus: group1 by default, arithmetic of the units', async () => {
  const c = await start({
    customers: [{
      name: 'Contoso', user_count: 4, assigned: { SPB: 4, MINECRAFT_EDU: 1 }, foreign_seats: { SPB: { active: 3, warning: 2 }, MINECRAFT_EDU: 5 },
      subscriptions: [yearly(), { offer: 'legacy-SPB', quantity: 7, status: 'suspended' }],
    }],
  });
  const base = `/v1/customers/${c.customer().id}/subscribedskus`;
  const items = (await c.get(base)).json.items;
  assert.strictEqual(items.length, 1);
  const p = items[0];
  assert.deepStrictEqual(
    [p.activeUnits, p.warningUnits, p.suspendedUnits, p.totalUnits, p.consumedUnits, p.availableUnits], [23, 2, 7, 25, 4, 21]);
  assert.strictEqual(p.productSku.id, SPB);
  const both = (await c.get(`${base}?licenseGroupIds=group1&licenseGroupIds=group2`)).json.items;
  assert.deepStrictEqual(both.map((i) => i.productSku.licenseGroupId).sort(), ['group1', 'group2']);
});

test('reports lag behind by the configured delays', async () => {
  const c = await start(one(yearly(), { user_count: 3 }), { report_delay_active: 600, report_delay_consumed: 1200, provisioning_delay: 300 });
  const sub = c.subs()[0];
  const read = async () => (await c.get(`/v1/customers/${c.customer().id}/subscribedskus`)).json.items[0];
  await c.change(sub, { quantity: 22 });
  c.act({ do: 'assign', user: 'user01@contoso.example', sku: 'SPB' });
  let p = await read();
  assert.deepStrictEqual([p.activeUnits, p.consumedUnits], [20, 0]);
  const status = async () => (await c.get(`${c.path(sub)}/provisioningstatus`)).json;
  assert.deepStrictEqual(await status().then((s) => [s.status, s.quantity]), ['pending', 20]);
  c.control('POST', 'clock', { advance_seconds: 601 });
  p = await read();
  assert.deepStrictEqual([p.activeUnits, p.consumedUnits], [22, 0]);
  assert.deepStrictEqual(await status().then((s) => [s.status, s.quantity]), ['success', 22]);
  c.control('POST', 'clock', { advance_seconds: 600 });
  assert.strictEqual((await read()).consumedUnits, 1);
});

test('the catalogue gives the Entra SKU and the limits, with country or under the customer', async () => {
  const c = await start(one(yearly()));
  const sku = (await c.get('/v1/products/CFQ7TTC0LCHC/skus/0002?country=US')).json;
  assert.strictEqual(sku.dynamicAttributes.provisioningId, SPB);
  assert.deepStrictEqual([sku.minimumQuantity, sku.maximumQuantity], [1, 300]);
  assert.strictEqual((await c.get('/v1/products/CFQ7TTC0LCHC/skus/0002')).status, 400, 'country is required');
  const base = `/v1/customers/${c.customer().id}/products/CFQ7TTC0LCHC/skus/0002`;
  assert.strictEqual((await c.get(base)).json.id, '0002');
  const a = (await c.get(`${base}/availabilities`)).json.items[0];
  assert.strictEqual(a.catalogItemId, `CFQ7TTC0LCHC:0002:${a.id}`);
  assert.deepStrictEqual(a.terms.map((t) => t.duration), ['P1Y', 'P1Y', 'P1M']);
  const codes = [];
  for (const path of ['NOPE/skus/0002', 'CFQ7TTC0LCHC/skus/9999', 'CFQ7TTC0LCHC/skus/0002/availabilities/NOPE'])
    codes.push((await c.get(`/v1/products/${path}?country=US`)).json.code);
  assert.deepStrictEqual(codes, [400013, 400018, 400019]);
  const offer = (await c.get('/v1/offers/2828BE95-46BA-4F91-B2FD-0BEF192ECF60?country=US')).json;
  assert.deepStrictEqual([offer.isAddOn, offer.minimumQuantity], [true, 1]);
});

test('subscriptions by order, add-ons of a base, unknown ones', async () => {
  const base = 'a0000000-0000-4000-8000-000000000001';
  const c = await start({ customers: [{ name: 'C', subscriptions: [
    { offer: 'legacy-EXCHANGESTANDARD', quantity: 5, id: base }, { offer: 'legacy-EXCHANGEARCHIVE_ADDON', quantity: 2, parent: base }] }] });
  const path = `/v1/customers/${c.customer().id}/subscriptions`;
  const addons = (await c.get(`${path}/${base}/addons`)).json.items;
  assert.deepStrictEqual(addons.map((a) => a.parentSubscriptionId), [base.toUpperCase()]);
  const order = addons[0].orderId;
  assert.strictEqual((await c.get(`${path}?order_id=${order}`)).json.totalCount, 1);
  const none = await c.get(`${path}/11111111-1111-4111-8111-111111111111`);
  assert.deepStrictEqual([none.status, none.json.code], [404, 20003]);
});

test('audit records: newest first, by customer, by page, with old and new values', async () => {
  const c = await start({ customers: [{ name: 'A', subscriptions: [yearly()] }, { name: 'B', subscriptions: [yearly()] }] });
  const [a] = c.subs(c.customer('A'));
  const [b] = c.subs(c.customer('B'));
  await c.change(a, { quantity: 21 }, { 'ms-correlationid': 'aaaaaaaa-0000-4000-8000-000000000001' });
  await c.change(b, { quantity: 30 });
  c.control('POST', 'act', { customer: 'A', do: 'raise', sku: 'SPB' });
  const filter = encodeURIComponent(JSON.stringify({ Field: 'CustomerId', Value: a.customer.id, Operator: 'equals' }));
  const r = await c.get(`/v1/auditrecords?startDate=2026-11-20&filter=${filter}`);
  const [tech, app] = r.json.items;
  assert.deepStrictEqual(r.json.items.map((i) => JSON.parse(i.resourceNewValue).Quantity), [22, 21]);
  assert.deepStrictEqual(JSON.parse(app.resourceOldValue).Quantity, 20);
  assert.strictEqual(app.originalCorrelationId, 'aaaaaaaa-0000-4000-8000-000000000001');
  assert.strictEqual(app.applicationId, c.world.accounts[0].client_id);
  assert.match(tech.userPrincipalName, /^technician01@/);
  const page = await c.get('/v1/auditrecords?startDate=2026-11-20&size=2');
  assert.strictEqual(page.json.items.length, 2);
  const rest = await c.get('/v1/auditrecords?startDate=2026-11-20', { 'ms-continuationtoken': tokenOf(page) });
  assert.strictEqual(rest.json.items.length, 1);
  assert.strictEqual((await c.get('/v1/auditrecords?startDate=2026-01-01')).status, 400, '90 days are kept');
});

test('audit records: dates as the documents and as the .NET SDK write them', async () => {
  const c = await start(one(yearly()));
  await c.change(c.subs()[0], { quantity: 21 });
  const count = async (query) => (await c.get(`/v1/auditrecords?${query}`)).json.totalCount;
  for (const date of ['2026-11-24', '11/24/2026', '11/24/2026 00:00:00', '11/24/2026 12:00:00 AM', '2026-11-24T00:00:00Z'])
    assert.strictEqual(await count(`startDate=${encodeURIComponent(date)}`), 1, date);
  assert.strictEqual(await count(`startDate=${encodeURIComponent('11/20/2026 10:00:00')}&endDate=${encodeURIComponent('11/23/2026')}`), 0);
  for (const date of ['24/11/2026', '2026-11-31', '24.11.2026', 'yesterday'])
    assert.strictEqual((await c.get(`/v1/auditrecords?startDate=${encodeURIComponent(date)}`)).status, 400, date);
});

test('endless paging: the same token for the same page, or always another for empty pages', async () => {
  const c = await start(many(4), { endless_paging: 'same', page_token: 'body' });
  const next = (token) => c.get('/v1/customers?seekOperation=Next', { 'ms-continuationtoken': token });
  let r = await c.get('/v1/customers?size=3');
  const first = r.json.continuationToken;
  assert.strictEqual(r.json.links.next, undefined);
  r = await next(first);
  assert.deepStrictEqual([r.json.items.length, r.json.continuationToken], [1, first]);
  r = await next(first);
  assert.deepStrictEqual([r.json.items.length, r.json.continuationToken], [1, first]);
  c.world.options.endless_paging = 'new';
  const seen = new Set();
  for (let i = 0, token = first; i < 5; i++) {
    r = await next(token);
    token = r.json.continuationToken;
    seen.add(token);
  }
  assert.deepStrictEqual([r.json.items.length, seen.size], [0, 5]);
});

test('deleted users among the others, with state inactive', async () => {
  const c = await start(one(yearly(), { user_count: 3 }), { deleted_users: 'listed' });
  c.act({ do: 'delete_user', user: 'user02@contoso.example' });
  const users = (await c.get(`/v1/customers/${c.customer().id}/users`)).json.items;
  assert.deepStrictEqual(users.map((u) => u.state), ['active', 'inactive', 'active']);
  assert.ok(users[1].softDeletionTime && users[1].userPrincipalName.endsWith('user02@contoso.example'));
});

test('a subscription of the marketplace: not Microsoft’s, no productType, no pool', async () => {
  const c = await start({ customers: [{ name: 'Contoso', user_count: 1, subscriptions: [yearly(), { product: 'DZH318Z0BXWC:0002', quantity: 4 }] }] });
  const base = `/v1/customers/${c.customer().id}`;
  const s = (await c.get(`${base}/subscriptions`)).json.items[1];
  assert.deepStrictEqual([s.isMicrosoftProduct, s.productType, s.billingType, s.refundableQuantity, s.publisherName],
    [false, undefined, 'license', undefined, 'Example Networks, Inc.']);
  assert.strictEqual(s.offerId, 'DZH318Z0BXWC:0002:DZH318Z0BMJX');
  assert.deepStrictEqual((await c.get(`${base}/subscribedskus`)).json.items.map((i) => i.productSku.skuPartNumber), ['SPB']);
  assert.deepStrictEqual(c.control('GET', 'state').body.customers[0].pools.map((p) => p.part_number), ['SPB']);
  assert.deepStrictEqual(c.control('GET', 'timeline').body.map((r) => r.part_number), ['SPB']);
  const sku = (await c.get(`${base}/products/DZH318Z0BXWC/skus/0002`)).json;
  assert.deepStrictEqual([sku.dynamicAttributes.isMicrosoftProduct, sku.dynamicAttributes.provisioningId], [false, undefined]);
  await c.advance(70);
  assert.strictEqual((await c.get(`${base}/subscriptions`)).json.items[1].status, 'active');
});

test('the report may run ahead of what can be assigned', async () => {
  const c = await start(one(yearly({ quantity: 1 }), { user_count: 2, assigned: { SPB: 1 } }), { provisioning_delay: 86400, report_ahead: true });
  const [, user] = c.customer().users.keys();
  await c.change(c.subs()[0], { quantity: 2 });
  const base = `/v1/customers/${c.customer().id}`;
  assert.strictEqual((await c.get(`${base}/subscribedskus`)).json.items[0].availableUnits, 1);
  const assign = () => c.post(`${base}/users/${user}/licenseupdates`, { licensesToAssign: [{ skuId: SPB }] });
  assert.strictEqual((await assign()).json.code, 60012);
  await c.advance(1);
  assert.strictEqual((await assign()).status, 201);
});
