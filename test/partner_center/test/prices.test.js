'use strict';
const test = require('node:test');
const assert = require('node:assert');
const zlib = require('zlib');
const { Client, one, yearly, PREMIUM } = require('./helper');

const path = (market = 'US', view = 'updatedlicensebased', query = '') => `/v1.0/sales/pricesheets(Market='${market}',PricesheetView='${view}')/$value${query}`;

async function client(options, scenario = {}) {
  const c = new Client({ ...one(yearly()), ...scenario }, options);
  return login(c);
}
async function login(c, kind = 'refresh_token', scope = 'https://api.partner.microsoft.com/.default') {
  c.headers = { authorization: `Bearer ${(await c.token(kind, 'v2', undefined, { scope })).json.access_token}` };
  return c;
}

/** [{column: value}] of a CSV whose fields are all quoted. */
function parse(text) {
  const lines = text.replace(/^\ufeff/, '').trim().split('\r\n').map((l) => l.slice(1, -1).split('","').map((f) => f.replace(/""/g, '"')));
  const [names, ...rows] = lines;
  return rows.map((r) => Object.fromEntries(names.map((n, i) => [n, r[i]])));
}
function unzip(bytes) {
  assert.strictEqual(bytes.readUInt32LE(0), 0x04034b50);
  const start = 30 + bytes.readUInt16LE(26) + bytes.readUInt16LE(28);
  return zlib.inflateRawSync(bytes.subarray(start, start + bytes.readUInt32LE(18)));
}
const premium = (rows, more = {}) => rows.filter((r) => r.ProductId === 'CFQ7TTC0LCHC' && r.SkuId === '0002'
  && Object.entries({ TermDuration: 'P1Y', BillingPlan: 'Monthly', Segment: 'Commercial', ...more }).every(([k, v]) => r[k] === v));

test('the sheet of a market: the prices of whole terms, by product, plan, currency and segment', async () => {
  const c = await client();
  const r = await c.get(path());
  assert.deepStrictEqual([r.status, r.headers['content-type'], r.headers['content-disposition']], [200, 'application/octet-stream', 'attachment; filename=sheets.csv']);
  assert.ok(r.text.startsWith('"ProductTitle","ProductId","SkuId","SkuTitle","Publisher","SkuDescription","UnitOfMeasure","TermDuration","BillingPlan","Market","Currency","UnitPrice",'));
  const rows = parse(r.text);
  const [row] = premium(rows);
  assert.deepStrictEqual([row.UnitPrice, row.Currency, row.Market, row.EffectiveStartDate, row.EffectiveEndDate, row.Tags, row['ERP Price']],
    ['264', 'USD', 'US', '1/1/2026 12:00:00 AM', '12/31/9999 11:59:59 PM', 'License', '330']);
  for (const p of c.world.catalogue.products.values()) {
    const mine = rows.filter((x) => x.ProductId === p.product_id && x.SkuId === p.sku_id && x.Segment === 'Commercial');
    assert.deepStrictEqual(mine.map((x) => Number(x.UnitPrice)), p.marketplace ? [] : p.terms.map((t) => t.price), p.title);
  }
  assert.ok(rows.some((x) => x.Segment === 'Education') && rows.some((x) => x.Tags === 'License;Trial'));
});

test('European markets list other currencies, too', async () => {
  const c = await client({}, { accounts: [{ name: 'main', currency: 'EUR' }] });
  const rows = premium(parse((await c.get(path('de'))).text));
  assert.deepStrictEqual(rows.find((r) => r.Currency === 'EUR').UnitPrice, '264');
  assert.ok(rows.length > 3 && rows.every((r) => r.Currency === 'EUR' || r.UnitPrice !== '264'));
});

test('who accepts deflate gets a ZIP; the option decides otherwise', async () => {
  const c = await client();
  const plain = (await c.get(path())).bytes;
  const packed = await c.get(path(), { 'accept-encoding': 'deflate' });
  assert.strictEqual(packed.headers['content-encoding'], undefined);
  assert.ok(packed.bytes.length < plain.length / 3);
  assert.ok(unzip(packed.bytes).equals(plain));
  c.world.options.price_sheet_form = 'zip';
  assert.strictEqual((await c.get(path())).bytes.subarray(0, 2).toString(), 'PK');
  c.world.options.price_sheet_form = 'csv';
  assert.strictEqual((await c.get(path(), { 'accept-encoding': 'deflate' })).bytes[0], '"'.charCodeAt(0));
});

test('a token of its own audience, of a person with a role; errors in the shape of that service', async () => {
  const c = await client();
  const refused = async (extra) => { const r = await c.get(path(), extra); return [r.status, typeof r.json.error.code]; };
  assert.deepStrictEqual(await refused({ authorization: '' }), [401, 'string']);
  assert.strictEqual((await c.get('/v1/customers')).status, 401, 'such a token is nothing to Partner Center');
  await login(c, 'refresh_token', 'https://api.partnercenter.microsoft.com/.default');
  assert.deepStrictEqual(await refused(), [401, 'string']);
  await login(c, 'client_credentials');
  assert.deepStrictEqual(await refused(), [400, 'string']);
  c.world.options.price_sheet_app_only = true;
  assert.strictEqual((await c.get(path())).status, 200);
  await login(c);
  c.world.accounts[0].roles = ['HelpdeskAgent'];
  assert.deepStrictEqual(await refused(), [403, 'string']);
  c.world.accounts[0].roles = ['SalesAgent'];
  c.world.options.mfa = 'all';
  assert.deepStrictEqual(await refused(), [401, 'string']);
  // With one origin for all hosts, the token for that origin will do.
  await login(c, 'refresh_token', 'http://127.0.0.1:1/.default');
  c.world.options.mfa = 'off';
  assert.strictEqual((await c.get(path())).status, 200);
});

test('wrong markets, views and months; no changes to come: 404', async () => {
  const c = await client();
  const status = async (...a) => (await c.get(path(...a))).status;
  assert.deepStrictEqual([await status('USA'), await status('US', 'nothing'), await status('US', undefined, '?timeline=history'), await status('US', undefined, '?timeline=later')], [400, 400, 400, 400]);
  assert.strictEqual((await c.get('/v1.0/sales/pricesheets/$value')).status, 400);
  assert.strictEqual(parse((await c.get(path('US', 'software'))).text).length, 0);
});

test('a price that changes: both rows in the month of the change, the old one in its history', async () => {
  const c = await client();
  c.act({ do: 'price', product: PREMIUM, term: 'P1Y', price: 300 });
  c.control('POST', 'clock', { advance_seconds: 60 });
  const shown = async (query) => premium(parse((await c.get(path('US', undefined, query))).text)).map((r) => [r.UnitPrice, r.EffectiveStartDate, r.EffectiveEndDate]);
  const both = [['264', '1/1/2026 12:00:00 AM', '11/24/2026 9:00:00 AM'], ['300', '11/24/2026 9:00:00 AM', '12/31/9999 11:59:59 PM']];
  assert.deepStrictEqual(await shown('?Timeline=current'), both);
  assert.deepStrictEqual((await shown('?timeline=history&month=202610')).map((r) => r[0]), ['264']);
  await c.advance(20);
  await login(c);
  assert.deepStrictEqual(await shown(''), [both[1]]);
  assert.deepStrictEqual(await shown('?timeline=history&month=202611'), both);
});

test('a sheet that is not ready: 204 with Retry-After', async () => {
  const c = await client({ price_sheet_delay: 300 });
  let r = await c.get(path());
  assert.deepStrictEqual([r.status, r.headers['retry-after'], r.text], [204, '300', '']);
  c.control('POST', 'clock', { advance_seconds: 200 });
  r = await c.get(path());
  assert.deepStrictEqual([r.status, r.headers['retry-after']], [204, '100']);
  c.control('POST', 'clock', { advance_seconds: 101 });
  assert.strictEqual((await c.get(path())).status, 200);
});

test('extended terms have a view of their own', async () => {
  const c = await client();
  const row = parse((await c.get(path('US', 'licensebasedest'))).text).find((r) => r.ProductId === 'CFQ7TTC0LCHC' && r.Segment === 'Commercial');
  assert.deepStrictEqual([row.SkuId, row.TermDuration, row.UnitPrice], ['E002', 'P1M', '27.192']);
});
