'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { start, one, yearly } = require('./helper');

const LINES = 'provider=onetime&invoicelineitemtype=billinglineitems';
const unbilled = async (c, more = '&currencycode=usd&period=current') => (await c.get(`/v1/invoices/unbilled/lineitems?${LINES}${more}`)).json.items;
const sum = (lines) => Math.round(lines.reduce((n, l) => n + Number(l.subtotal), 0) * 100) / 100;
const brief = (lines) => lines.map((l) => [l.chargeType, l.quantity, l.chargeStartDate.slice(0, 10), l.chargeEndDate.slice(0, 10)]);
const monthly = { product: 'CFQ7TTC0LCHC:0002', quantity: 10, term: 'P1M', cycle: 'monthly', started: '2026-11-24T00:00:00Z' };
const cents = (n) => Math.round(n * 100) / 100;

test('unbilled lines of a month are the charges of the ledger, to the cent', async () => {
  const c = await start(one({ ...monthly, started: '2026-10-27T00:00:00Z', batches: [{ quantity: 10, hours_left: 50 }] }));
  const [sub] = c.subs();
  await c.change(sub, { quantity: 13 });
  await c.change(sub, { quantity: 11 });
  await c.advance(4);
  const lines = await unbilled(c);
  assert.deepStrictEqual(brief(lines), [['addQuantity', '3', '2026-11-24', '2026-11-26'], ['removeQuantity', '-2', '2026-11-24', '2026-11-26'], ['renew', '11', '2026-11-27', '2026-12-26']]);
  assert.deepStrictEqual(lines.map((l) => Number(l.subtotal)), c.ledger().filter((e) => e.amount !== null).map((e) => cents(e.amount)));
  const [l] = lines;
  assert.deepStrictEqual([l.unitPrice, l.subscriptionId, l.currency, l.billingFrequency, l.taxTotal, l.customerName], ['26.4', sub.id, 'USD', 'Monthly', '0', 'Contoso']);
  assert.strictEqual(typeof l.subtotal, 'string');
});

test('a year that is billed by the month: a line each month, all of them the charge', async () => {
  const c = await start(one(yearly({ started: '2025-12-01T00:00:00Z', quantity: 7 })));
  await c.advance(7);
  const first = await unbilled(c);
  assert.deepStrictEqual([brief(first), first[0].unitPrice], [[['renew', '7', '2026-12-01', '2026-12-31']], '22']);
  let all = first.slice();
  const [sub] = c.subs();
  await c.change(sub, { quantity: 9 });
  all.push(...(await unbilled(c)).slice(1));
  for (let m = 1; m < 12; m++) {
    await c.advance(Math.round((Date.UTC(2026, 11 + m, 2) - c.world.clock.now()) / 86400000));
    const lines = await unbilled(c);
    assert.deepStrictEqual(lines.map((l) => [l.chargeType, l.quantity]), [['cycleCharge', '9']], `month ${m}`);
    all.push(...lines);
  }
  assert.strictEqual(sum(all), cents(c.ledger().reduce((n, e) => n + cents(e.amount || 0), 0)));
  assert.strictEqual(c.ledger('renew').length, 1);
});

test('a whole that is cancelled comes back', async () => {
  const c = await start(one(yearly({ started: '2025-12-01T00:00:00Z' })));
  await c.advance(7);
  await c.change(c.subs()[0], { status: 'deleted' });
  const lines = await unbilled(c);
  assert.deepStrictEqual(lines.map((l) => [l.chargeType, l.quantity]), [['renew', '20'], ['cancel', '-20']]);
  assert.strictEqual(sum(lines), 0);
});

test('invoices are out some days after the month; their lines come by page', async () => {
  const c = await start({ customers: [{ name: 'A', subscriptions: [monthly, { ...monthly, product: 'CFQ7TTC0HL8W:0001' }] }] });
  await c.advance(30); // 24 December: both have renewed
  assert.deepStrictEqual((await c.get('/v1/invoices')).json.items.map((i) => i.totalCharges), [0], 'November, without a charge');
  await c.advance(10);
  assert.strictEqual((await c.get('/v1/invoices')).json.totalCount, 1, '3 January');
  assert.strictEqual((await unbilled(c, '&currencycode=usd&period=previous')).length, 2);
  await c.advance(6);
  const [invoice] = (await c.get('/v1/invoices')).json.items;
  assert.match(invoice.id, /^G\d{9}$/);
  assert.strictEqual(invoice.totalCharges, 10 * 26.4 + 10 * 12);
  assert.strictEqual((await unbilled(c, '&currencycode=usd&period=previous')).length, 0);
  const page = await c.get(`/v1/invoices/${invoice.id}/lineitems?${LINES}&size=1`);
  const token = page.json.links.next.headers[0].value;
  const rest = await c.get(`/v1/invoices/${invoice.id}/lineitems?seekOperation=Next`, { 'ms-continuationtoken': token });
  assert.strictEqual(sum([...page.json.items, ...rest.json.items]), invoice.totalCharges);
  assert.deepStrictEqual([rest.json.items[0].invoiceNumber, rest.json.links.next], [invoice.id, undefined]);
  assert.strictEqual((await c.get(`/v1/invoices/OneTime-${invoice.id}`)).json.id, invoice.id);
  assert.strictEqual((await c.get('/v1/invoices/G1')).status, 404);
  assert.strictEqual((await c.get(`/v1/invoices/${invoice.id}/lineitems`)).status, 400);
  assert.strictEqual((await c.get(`/v1/invoices/${invoice.id}/lineitems?provider=office&invoicelineitemtype=billinglineitems`)).json.totalCount, 0);
});

test('each account has its own lines; subscriptions may be named by other ids; a currency it does not have', async () => {
  const c = await start({ accounts: [{ name: 'one' }, { name: 'two' }], customers: [{ name: 'A', partners: ['one', 'two'], subscriptions: [
    { ...monthly, partner: 'one' }, { ...monthly, partner: 'two', quantity: 3 }] }] }, { invoice_subscription_ids: 'own' });
  c.act({ do: 'raise', subscription: c.subs()[1].id, partner: 'one' });
  assert.strictEqual((await unbilled(c)).length, 0, 'whoever acts: it is charged to whose subscription it is');
  await c.login('refresh_token', c.world.account('two'));
  const [l] = await unbilled(c);
  assert.strictEqual(l.chargeType, 'addQuantity');
  assert.notStrictEqual(l.subscriptionId, c.subs()[1].id);
  assert.strictEqual((await unbilled(c, '&currencycode=eur')).length, 0);
});
