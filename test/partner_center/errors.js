'use strict';
// What Partner Center says when it refuses. The pair of HTTP status and code matters:
// one code can come with several statuses.

class ApiError extends Error {
  constructor(status, code, description, extra = {}) {
    super(description);
    this.status = status;
    this.code = code;
    this.data = extra.data;
    this.headers = extra.headers || {};
    this.raw = extra.raw;
  }

  body() {
    if (this.raw) return this.raw;
    const body = { code: this.code, description: this.message };
    if (this.data) body.data = this.data;
    body.source = 'PartnerFD';
    return body;
  }
}

const refuse = (status, code, description, extra) => new ApiError(status, code, description, extra);

const REALM = 'OAuth realm="https://api.partnercenter.microsoft.com"';

const errors = {
  tokenMissing: () => refuse(401, 800001, 'Access denied. The token is missing.', { headers: { 'www-authenticate': REALM } }),
  tokenInvalid: () => refuse(401, 400, 'Access denied. The token is invalid or has expired.', { headers: { 'www-authenticate': REALM } }),
  audience: () => refuse(401, 900420, 'The audience of the token is no longer supported.', { headers: { 'www-authenticate': REALM } }),
  mfa: () => refuse(401, 900421, 'MFA required. The access token has no claim of multifactor authentication.', { headers: { 'www-authenticate': REALM } }),
  appOnly: () => refuse(403, 900329, 'This API does not support application-only authentication.'),
  partnerToken: () => refuse(400, 900316, 'Partner token is not allowed in license management calls. Please call with Partner Access Token.'),
  privileges: () => refuse(403, 900308, 'The caller has insufficient privileges to perform the operation on this customer.'),
  relationship: (words) => refuse(403, 20002, words === 'caller'
    ? 'No relationship between caller and account.' : 'The partner ID has no commerce relationship with the customer ID.'),
  conditionalAccess: () => refuse(403, 900309, 'Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.'),
  tenant: () => refuse(404, 60003, 'Tenant not found.'),
  notFound: () => refuse(404, 1000, 'The requested resource was not found.'),
  user: () => refuse(404, 60002, 'The user object id was not found.'),
  subscription: () => refuse(404, 20003, 'Subscription not found.'),
  order: () => refuse(404, 20000, 'Order not found.'),
  method: () => refuse(405, 1001, 'The method is not allowed on this resource.'),
  input: (text) => refuse(400, 800002, text || 'Invalid request input.'),
  property: (text) => refuse(400, 3000, text || 'Invalid property.'),
  staleEtag: (status) => refuse(status || 400, 2055, 'The ETag is no longer valid. Read the resource again and retry.'),
  agreement: () => refuse(403, 13605, 'The customer has not confirmed the Microsoft Customer Agreement.'),
};

/**
 * What an act can make Partner Center refuse for a while: purchases of a customer or of a partner, changes of one
 * subscription. code -> status and words.
 */
const PURCHASE = {
  13605: [403, 'The customer must accept the Microsoft Customer Agreement before you can complete this purchase.'],
  800023: [403, "You aren't eligible for this transaction because your Credit Line isn't reaching minimum threshold for this purchase."],
  800039: [403, "Reseller program status isn't active."],
  800060: [409, 'Your order is in progress. Check your order history for recent orders in few minutes.'],
  800066: [403, 'The desired number of subscriptions exceeded the maximum number of subscriptions allowed per customer.'],
  800069: [403, 'Order failed Risk Management check.'],
  800073: [403, 'Your customer account is currently under review. Check back in few days.'],
  800074: [403, 'Your customer account is currently under review. Check back in few days.'],
  800075: [403, "Your customer account wasn't approved. Transactions for this customer aren't allowed."],
  800089: [403, 'The requested number of 1 asset/s exceeded the remaining limit of 0 assets allowed per customer.'],
  900112: [409, "This purchase isn't allowed as the upgrade request is in pending state."],
  900121: [403, 'Unable to process order due to insufficient credit limit.'],
  900124: [403, "Your company hasn't accepted the Microsoft Partner Agreement (MPA). The global admin of the CSP account must accept it to resume the full transactional capabilities."],
};

const CHANGE = {
  2001: [400, "Subscription quantity can't be increased or decreased while subscription is being suspended."],
  800014: [409, "There's a pending adjustment requested for this order."],
  800027: [403, "The catalog item isn't eligible for add or remove quantity."],
  800081: [400, "Can't update a subscription before activating it."],
  800082: [409, 'Subscription is not ready to be updated. Try again after sometime.'],
  900277: [400, 'Your subscription is in the process of being expired. No further updates are allowed on this subscription.'],
  900278: [409, 'There is a pending operation on this subscription. Please try again after 24 hours.'],
  900279: [400, 'Update operations are no longer allowed for this subscription.'],
  900280: [400, 'Update operations are currently not allowed for this subscription.'],
};

function known(table, code) {
  if (!table[code]) throw new Error(`code is one of ${Object.keys(table).join(', ')}`);
  return Number(code);
}

const told = (table, code) => refuse(table[code][0], code, table[code][1]);

module.exports = { ApiError, refuse, errors, PURCHASE, CHANGE, known, told };
