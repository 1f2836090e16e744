'use strict';
// Paths of the API: which kind of call it is, whether it changes something, who answers.

const customers = require('./customers');
const subscriptions = require('./subscriptions');
const changes = require('./changes');
const pools = require('./pools');
const users = require('./users');
const licences = require('./licences');
const catalogue = require('./catalogue');
const carts = require('./carts');
const orders = require('./orders');
const audit = require('./audit');
const token = require('./token');
const signin = require('./signin');
const invoices = require('./invoices');
const pricesheets = require('./pricesheets');

// method, path below /v1, kind, handler, flags: `user` = needs app+user access and the customer's consent
const TABLE = [
  ['GET', 'customers', 'customers', customers.list],
  ['GET', 'customers/:customer', 'customer', customers.get],
  ['GET', 'customers/:customer/subscriptions', 'subscriptions', subscriptions.list],
  ['GET', 'customers/:customer/subscriptions/:subscription', 'subscription', subscriptions.get],
  ['PATCH', 'customers/:customer/subscriptions/:subscription', 'patch_subscription', changes.patch],
  ['GET', 'customers/:customer/subscriptions/:subscription/addons', 'addons', subscriptions.addons],
  ['GET', 'customers/:customer/subscriptions/:subscription/provisioningstatus', 'provisioningstatus', subscriptions.provisioningStatus, 'user'],
  ['GET', 'customers/:customer/subscribedskus', 'subscribedskus', pools.list, 'user'],
  ['GET', 'customers/:customer/users', 'users', users.list, 'user'],
  ['GET', 'customers/:customer/users/:user', 'user', users.get, 'user'],
  ['PATCH', 'customers/:customer/users/:user', 'patch_user', users.patch, 'user'],
  ['GET', 'customers/:customer/users/:user/licenses', 'licenses', licences.list, 'user'],
  ['POST', 'customers/:customer/users/:user/licenseupdates', 'licenseupdates', licences.update, 'user'],
  ['GET', 'customers/:customer/products', 'products', catalogue.products],
  ['GET', 'customers/:customer/products/:product', 'product', catalogue.product],
  ['GET', 'customers/:customer/products/:product/skus', 'skus', catalogue.skus],
  ['GET', 'customers/:customer/products/:product/skus/:sku', 'sku', catalogue.sku],
  ['GET', 'customers/:customer/products/:product/skus/:sku/availabilities', 'availabilities', catalogue.availabilities],
  ['GET', 'customers/:customer/products/:product/skus/:sku/availabilities/:availability', 'availability', catalogue.availability],
  ['POST', 'customers/:customer/carts', 'cart', carts.create],
  ['GET', 'customers/:customer/carts/:cart', 'get_cart', carts.get],
  ['POST', 'customers/:customer/carts/:cart/checkout', 'checkout', carts.checkout],
  ['GET', 'customers/:customer/orders', 'orders', orders.list],
  ['POST', 'customers/:customer/orders', 'create_order', orders.create],
  ['GET', 'customers/:customer/orders/:order', 'order', orders.get],
  ['GET', 'customers/:customer/orders/:order/provisioningstatus', 'order_provisioningstatus', orders.provisioning, 'user'],
  ['GET', 'products', 'products', catalogue.products],
  ['GET', 'products/:product', 'product', catalogue.product],
  ['GET', 'products/:product/skus', 'skus', catalogue.skus],
  ['GET', 'products/:product/skus/:sku', 'sku', catalogue.sku],
  ['GET', 'products/:product/skus/:sku/availabilities', 'availabilities', catalogue.availabilities],
  ['GET', 'products/:product/skus/:sku/availabilities/:availability', 'availability', catalogue.availability],
  ['GET', 'offers/:offer', 'offer', catalogue.offer],
  ['GET', 'auditrecords', 'audit', audit.list],
  ['GET', 'invoices', 'invoices', invoices.list],
  ['GET', 'invoices/unbilled/lineitems', 'unbilled', invoices.unbilled],
  ['GET', 'invoices/:invoice', 'invoice', invoices.get],
  ['GET', 'invoices/:invoice/lineitems', 'invoice_lines', invoices.lineItems],
];

const byLength = new Map();
for (const [method, path, kind, handler, flag] of TABLE) {
  const parts = path.split('/');
  if (!byLength.has(parts.length)) byLength.set(parts.length, []);
  byLength.get(parts.length).push({ method, parts, kind, handler, user: flag === 'user', mutating: method !== 'GET' });
}

/** {route, params}, or {route: null, known} where only the method is wrong or nothing fits. */
function match(method, path) {
  const parts = path.split('/');
  if (parts[0] !== '' || (parts[1] || '').toLowerCase() !== 'v1') return loginSide(method, parts) || priceSide(method, parts) || { route: null, known: false };
  const rest = parts.slice(2);
  if (rest[rest.length - 1] === '') rest.pop();
  let known = false;
  for (const route of byLength.get(rest.length) || []) {
    if (!fits(route.parts, rest)) continue;
    known = true;
    if (route.method !== method) continue;
    const params = {};
    route.parts.forEach((p, i) => { if (p[0] === ':') params[p.slice(1)] = decode(rest[i]); });
    return { route, params };
  }
  return { route: null, known };
}

function fits(pattern, parts) {
  for (let i = 0; i < parts.length; i++)
    if (pattern[i][0] !== ':' && pattern[i] !== parts[i].toLowerCase()) return false;
  return true;
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Hosts of their own: they know no Partner Center headers, and look after tokens themselves. */
const elsewhere = (kind, handler) => ({ kind, handler, user: false, mutating: false, elsewhere: true });
const TOKEN = elsewhere('token', token.answer);
const AUTHORIZE = elsewhere('authorize', signin.page);

const PRICES = elsewhere('price_sheet', pricesheets.answer);

/** /v1.0/sales/pricesheets(Market='US',PricesheetView='updatedlicensebased')/$value */
function priceSide(method, parts) {
  const [, version, sales, sheet, value] = parts.map(decode);
  if (method !== 'GET' || parts.length !== 5 || version !== 'v1.0' || sales.toLowerCase() !== 'sales' || value !== '$value') return null;
  return { route: PRICES, params: { sheet } };
}

/** /{tenant}/oauth2/[v2.0/]token and .../authorize */
function loginSide(method, parts) {
  const [, tenant, oauth2, ...rest] = parts;
  if (oauth2 !== 'oauth2') return null;
  const version = rest[0] === 'v2.0' ? 'v2' : 'v1';
  if (version === 'v2') rest.shift();
  if (rest.length !== 1) return null;
  if (rest[0] === 'token' && method === 'POST') return { route: TOKEN, params: { tenant, version } };
  if (rest[0] === 'authorize' && (method === 'GET' || method === 'POST')) return { route: AUTHORIZE, params: { tenant, version } };
  return null;
}

module.exports = { match, kinds: [...new Set(TABLE.map((r) => r[2]).concat('token', 'authorize', 'price_sheet'))] };
