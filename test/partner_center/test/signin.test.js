'use strict';
const test = require('node:test');
const assert = require('node:assert');
const crypto = require('crypto');
const { Client, one, yearly } = require('./helper');

const VERIFIER = 'a-verifier_of~43.characters-or-more-0123456789abcdef';
const challenge = crypto.createHash('sha256').update(VERIFIER).digest('base64url');
const SCOPE = 'https://api.partnercenter.microsoft.com/.default offline_access';

const client = (options) => new Client(one(yearly(), { user_count: 1 }), options);
function address(c, extra = {}, version = 'v2.0/') {
  const a = c.world.accounts[0];
  const q = new URLSearchParams({
    client_id: a.client_id, response_type: 'code', redirect_uri: 'http://localhost', scope: SCOPE, state: 's+/= 1',
    code_challenge: challenge, code_challenge_method: 'S256',
  });
  for (const [k, v] of Object.entries(extra)) v === null ? q.delete(k) : q.set(k, v);
  return `/${a.tenant_id}/oauth2/${version}authorize?${q}`;
}
const signIn = (c, extra, person) => c.control('POST', 'sign_in', { url: `http://127.0.0.1:1${address(c, extra)}`, ...person });
const codeOf = (answer) => new URL(answer.body.location).searchParams.get('code');
const redeem = (c, code, extra = {}) => c.token('authorization_code', 'v2', undefined, { code, redirect_uri: 'http://localhost', code_verifier: VERIFIER, scope: SCOPE, ...extra });
const refused = async (promise, error, number) => {
  const t = await promise;
  assert.deepStrictEqual([t.json.error, t.json.error_codes], [error, [number]]);
};

test('sign in, trade the code, call, renew', async () => {
  const c = client({ mfa: 'all' });
  const { location } = signIn(c).body;
  assert.match(location, /^http:\/\/localhost\/\?code=[\w.-]+&state=s%2B%2F%3D\+1&session_state=/);
  const t = await redeem(c, codeOf({ body: { location } }));
  assert.strictEqual(t.status, 200);
  assert.ok(t.json.refresh_token);
  assert.strictEqual((await c.get('/v1/customers', { authorization: `Bearer ${t.json.access_token}` })).status, 200);
  const next = await c.token('refresh_token', 'v2', undefined, { refresh_token: t.json.refresh_token });
  assert.strictEqual((await c.get('/v1/customers', { authorization: `Bearer ${next.json.access_token}` })).status, 200);
  assert.ok(next.json.refresh_token && next.json.refresh_token !== t.json.refresh_token);
});

test('a code is good once, for ten minutes, for its redirect_uri and its verifier', async () => {
  const c = client();
  const code = codeOf(signIn(c));
  await refused(redeem(c, code, { redirect_uri: 'http://localhost/' }), 'invalid_client', 500112);
  await refused(redeem(c, code, { redirect_uri: null }), 'invalid_client', 500112);
  await refused(redeem(c, code, { code_verifier: null }), 'invalid_grant', 50148);
  await refused(redeem(c, code, { code_verifier: VERIFIER.replace('a', 'b') }), 'invalid_grant', 501481);
  await refused(redeem(c, code, { code_verifier: 'short' }), 'invalid_grant', 501481);
  await refused(redeem(c, code, { client_secret: 'wrong' }), 'invalid_client', 7000215);
  assert.strictEqual((await redeem(c, code)).status, 200);
  await refused(redeem(c, code), 'invalid_grant', 54005);
  await refused(redeem(c, 'nonsense'), 'invalid_grant', 9002313);
  const late = codeOf(signIn(c));
  c.control('POST', 'clock', { advance_seconds: 601 });
  await refused(redeem(c, late), 'invalid_grant', 70008);
});

test('a code of one account is nothing to another', async () => {
  const c = new Client({ accounts: [{ name: 'one' }, { name: 'two' }], customers: [] });
  const t = await c.token('authorization_code', 'v2', c.world.accounts[1], { code: codeOf(signIn(c)), redirect_uri: 'http://localhost', code_verifier: VERIFIER });
  assert.strictEqual(t.json.error, 'invalid_grant');
});

test('without offline_access there is no refresh token; the scope need not be repeated', async () => {
  const c = client();
  const t = await redeem(c, codeOf(signIn(c, { scope: 'https://api.partnercenter.microsoft.com/user_impersonation' })), { scope: null });
  assert.deepStrictEqual([t.status, t.json.refresh_token], [200, undefined]);
});

test('a sign-in without MFA has no claim', async () => {
  const c = client({ mfa: 'all' });
  const t = await redeem(c, codeOf(signIn(c, {}, { mfa: false })));
  const r = await c.get('/v1/customers', { authorization: `Bearer ${t.json.access_token}` });
  assert.deepStrictEqual([r.status, r.json.code], [401, 900421]);
});

test('what is wrong with the address: sent back with an error, or shown on the page', async () => {
  const c = client();
  const back = (extra, person) => new URL(signIn(c, extra, person).body.location).searchParams;
  assert.deepStrictEqual([back({}, { deny: true }).get('error'), back({}, { deny: true }).get('state')], ['access_denied', 's+/= 1']);
  assert.strictEqual(back({ response_type: 'token' }).get('error'), 'unsupported_response_type');
  assert.strictEqual(back({ code_challenge: null }).get('error'), 'invalid_request');
  for (const [extra, number] of [[{ redirect_uri: 'http://localhost/elsewhere' }, 50011], [{ redirect_uri: 'https://localhost' }, 50011],
    [{ client_id: '11111111-1111-4111-8111-111111111111' }, 700016], [{ redirect_uri: null }, 900144]]) {
    const r = signIn(c, extra);
    assert.strictEqual(r.status, 400);
    assert.match(r.body.error, new RegExp(`^AADSTS${number}:`));
    assert.strictEqual((await c.get(address(c, extra))).status, 400);
  }
  assert.match(signIn(c, { redirect_uri: 'http://localhost:8400' }).body.location, /^http:\/\/localhost:8400\/\?code=/);
  assert.strictEqual(c.control('POST', 'sign_in', { url: 'http://127.0.0.1:1/v1/customers' }).status, 400);
});

test('a browser sees a page and is sent back by its button', async () => {
  const c = client();
  const form = (body) => c.send('POST', address(c), { body, headers: { 'content-type': 'application/x-www-form-urlencoded' } });
  const shown = await c.get(address(c, { scope: `${SCOPE} <b>` }));
  assert.deepStrictEqual([shown.status, shown.headers['content-type']], [200, 'text/html; charset=utf-8']);
  assert.ok(!shown.text.includes('<b>') && shown.text.includes('Accept'));
  const accepted = await form('answer=accept');
  assert.strictEqual(accepted.status, 302);
  assert.strictEqual((await redeem(c, new URL(accepted.headers.location).searchParams.get('code'))).status, 200);
  assert.match((await form('answer=cancel')).headers.location, /error=access_denied/);
  assert.strictEqual(c.control('GET', 'counts').body.by_kind.authorize, 3);
});

test('v1: a code brings a refresh token', async () => {
  const c = client();
  const { location } = c.control('POST', 'sign_in', { url: `http://127.0.0.1:1${address(c, { scope: null }, '')}` }).body;
  const t = await c.token('authorization_code', 'v1', undefined, { code: new URL(location).searchParams.get('code'), redirect_uri: 'http://localhost', code_verifier: VERIFIER });
  assert.ok(t.json.refresh_token && t.json.id_token);
});
