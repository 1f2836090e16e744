'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { Client, start, one, yearly } = require('./helper');

const scenario = () => one(yearly());

test('v1 answers numbers as strings, v2 as numbers', async () => {
  const c = new Client(scenario());
  const v1 = (await c.token('refresh_token', 'v1')).json;
  assert.strictEqual(v1.expires_in, '3599');
  assert.match(v1.expires_on, /^\d+$/);
  assert.strictEqual(v1.resource, 'https://api.partnercenter.microsoft.com');
  assert.strictEqual(v1.scope, 'user_impersonation');
  assert.ok(v1.id_token);
  const v2 = (await c.token('client_credentials', 'v2')).json;
  assert.strictEqual(v2.expires_in, 3599);
  assert.strictEqual(v2.scope, undefined);
  assert.strictEqual(v2.refresh_token, undefined);
});

test('each exchange brings a new refresh token; old ones may be refused', async () => {
  const c = new Client(scenario());
  const first = (await c.token()).json.refresh_token;
  assert.ok(first && first !== c.world.accounts[0].refresh_token);
  assert.strictEqual((await c.token()).status, 200, 'the old one still works by default');
  c.world.options.old_refresh_tokens_valid = false;
  assert.strictEqual((await c.token('refresh_token', 'v2', undefined, { refresh_token: first })).status, 200);
  const again = await c.token('refresh_token', 'v2', undefined, { refresh_token: first });
  assert.strictEqual(again.status, 400);
  assert.strictEqual(again.json.error, 'invalid_grant');
});

test('refresh tokens expire after 90 days', async () => {
  const c = new Client(scenario());
  c.control('POST', 'clock', { advance_days: 91 });
  const t = await c.token();
  assert.strictEqual(t.json.error, 'invalid_grant');
  assert.deepStrictEqual(t.json.error_codes, [700082]);
  assert.match(t.json.error_description, /^AADSTS700082: .*\r\nTrace ID: /);
});

test('error bodies of the token endpoint', async () => {
  const c = new Client(scenario());
  const cases = [
    [{ client_secret: 'wrong' }, 401, 'invalid_client'],
    [{ client_id: '11111111-1111-4111-8111-111111111111' }, 400, 'unauthorized_client'],
    [{ scope: 'https://foo.example/.default' }, 400, 'invalid_scope'],
    [{ grant_type: 'password' }, 400, 'unsupported_grant_type'],
    [{ grant_type: null }, 400, 'invalid_request'],
    [{ refresh_token: 'nonsense' }, 400, 'invalid_grant'],
  ];
  for (const [extra, status, error] of cases) {
    const t = await c.token('refresh_token', 'v2', undefined, extra);
    assert.strictEqual(t.status, status, error);
    assert.strictEqual(t.json.error, error);
  }
  const v1 = await c.token('client_credentials', 'v1', undefined, { resource: 'https://foo.example' });
  assert.strictEqual(v1.json.error, 'invalid_resource');
});

test('secrets must be form-encoded: a plus sent as such is a blank', async () => {
  const c = new Client(scenario());
  const a = c.world.accounts[0];
  assert.match(a.client_secret, /\+/);
  const body = `grant_type=client_credentials&client_id=${a.client_id}&client_secret=${a.client_secret}&scope=https://api.partnercenter.microsoft.com/.default`;
  const t = await c.send('POST', `/${a.tenant_id}/oauth2/v2.0/token`, { body, headers: { 'content-type': 'application/x-www-form-urlencoded' } });
  assert.strictEqual(t.json.error, 'invalid_client');
});

test('401 without, with a wrong and with an expired token', async () => {
  const c = new Client(scenario());
  const none = await c.get('/v1/customers');
  assert.strictEqual(none.status, 401);
  assert.match(none.headers['www-authenticate'], /^OAuth realm=/);
  assert.strictEqual((await c.get('/v1/customers', { authorization: 'Bearer x' })).status, 401);
  await c.login();
  assert.strictEqual((await c.get('/v1/customers')).status, 200);
  c.control('POST', 'clock', { advance_seconds: 3600 });
  const late = await c.get('/v1/customers');
  assert.strictEqual(late.status, 401);
  assert.match(late.headers['www-authenticate'], /^OAuth realm=/);
});

test('a token for the retired audience is refused with 900420', async () => {
  const c = new Client(scenario());
  const t = await c.token('client_credentials', 'v1', undefined, { resource: 'https://graph.windows.net' });
  const r = await c.get('/v1/customers', { authorization: `Bearer ${t.json.access_token}` });
  assert.deepStrictEqual([r.status, r.json.code], [401, 900420]);
});

test('app-only tokens read and change subscriptions, but get 403/900329 on licences', async () => {
  const c = new Client(one(yearly(), { user_count: 1 }));
  await c.login('client_credentials');
  const sub = c.subs()[0];
  const base = `/v1/customers/${sub.customer.id}`;
  assert.strictEqual((await c.get(`${base}/subscriptions`)).status, 200);
  assert.strictEqual((await c.change(sub, { quantity: 21 })).status, 200);
  const user = [...c.customer().users.keys()][0];
  for (const [method, path] of [
    ['GET', `${base}/subscribedskus`], ['GET', `${base}/users`], ['GET', `${base}/users/${user}`],
    ['GET', `${base}/users/${user}/licenses`], ['POST', `${base}/users/${user}/licenseupdates`], ['PATCH', `${base}/users/${user}`],
    ['GET', `${base}/subscriptions/${sub.id}/provisioningstatus`], ['GET', `${base}/orders/${sub.order_id}/provisioningstatus`],
  ]) {
    const r = await c.send(method, path, { body: method === 'GET' ? undefined : {} });
    assert.deepStrictEqual([r.status, r.json.code], [403, 900329], path);
  }
  c.world.options.licence_token_error = 900316;
  assert.deepStrictEqual(await c.get(`${base}/users`).then((r) => [r.status, r.json.code]), [400, 900316]);
});

test('licence access is per customer: 403/900308, while subscriptions can be read', async () => {
  const c = await start(one(yearly(), { licence_access: false }));
  const base = `/v1/customers/${c.customer().id}`;
  const r = await c.get(`${base}/subscribedskus`);
  assert.deepStrictEqual([r.status, r.json.code], [403, 900308]);
  assert.strictEqual((await c.get(`${base}/subscriptions`)).json.totalCount, 1);
});

test('each partner sees its own customers and subscriptions of a shared pool', async () => {
  const c = new Client({
    accounts: [{ name: 'one' }, { name: 'two' }],
    customers: [
      { name: 'Shared', partners: ['one', 'two'], subscriptions: [yearly({ partner: 'one' }), yearly({ partner: 'two', quantity: 5 })] },
      { name: 'Only One', partners: ['one'], subscriptions: [yearly()] },
    ],
  });
  await c.login('refresh_token', c.world.account('two'));
  const list = (await c.get('/v1/customers')).json;
  assert.deepStrictEqual(list.items.map((i) => i.companyProfile.companyName), ['Shared']);
  const subs = (await c.get(`/v1/customers/${list.items[0].id}/subscriptions`)).json.items;
  assert.deepStrictEqual(subs.map((s) => s.quantity), [5]);
  const pool = (await c.get(`/v1/customers/${list.items[0].id}/subscribedskus`)).json.items[0];
  assert.strictEqual(pool.activeUnits, 25);
  const other = await c.get(`/v1/customers/${c.customer('Only One').id}`);
  assert.deepStrictEqual([other.status, other.json.code], [403, 20002]);
  const unknown = await c.get('/v1/customers/11111111-1111-4111-8111-111111111111');
  assert.deepStrictEqual([unknown.status, unknown.json.code], [404, 60003]);
});

test('MFA: calls of app+user access need the claim, all of them or those for licences', async () => {
  const c = new Client(one(yearly(), { user_count: 1 }));
  const as = async (kind) => { c.headers = { authorization: `Bearer ${(await c.token(kind)).json.access_token}` }; };
  const base = `/v1/customers/${c.customer().id}`;
  const codes = async () => {
    const list = [];
    for (const path of ['/v1/customers', `${base}/subscriptions`, `${base}/subscribedskus`, `${base}/users`, `${c.path(c.subs()[0])}/provisioningstatus`])
      list.push((await c.get(path)).json.code);
    return list;
  };
  const none = [undefined, undefined, undefined, undefined, undefined];
  await as('refresh_token');
  assert.deepStrictEqual(await codes(), none, 'off: nobody asks');
  c.world.options.mfa = 'licences';
  assert.deepStrictEqual(await codes(), [undefined, undefined, 900421, 900421, 900421]);
  c.world.options.mfa = 'all';
  assert.deepStrictEqual(await codes(), [900421, 900421, 900421, 900421, 900421]);
  const r = await c.get('/v1/customers', { validatemfa: 'true' });
  assert.deepStrictEqual([r.status, r.headers.ismfacompliant], [401, 'false']);
  assert.match(r.headers['www-authenticate'], /^OAuth realm=/);
  await c.login();
  assert.deepStrictEqual(await codes(), none, 'a sign-in with MFA brings the claim');
  await as('client_credentials');
  assert.strictEqual((await c.get('/v1/customers')).status, 200, 'nobody is behind app-only access');
});

test('an account whose refresh token came of a sign-in with MFA keeps the claim when it rotates', async () => {
  const c = new Client({ ...scenario(), accounts: [{ name: 'main', mfa: true }] }, { mfa: 'all' });
  const first = (await c.token()).json;
  const next = (await c.token('refresh_token', 'v2', undefined, { refresh_token: first.refresh_token })).json;
  assert.strictEqual((await c.get('/v1/customers', { authorization: `Bearer ${next.access_token}` })).status, 200);
  const claims = JSON.parse(Buffer.from(next.access_token.split('.')[1], 'base64url'));
  assert.deepStrictEqual(claims.amr, ['pwd', 'mfa']);
});
