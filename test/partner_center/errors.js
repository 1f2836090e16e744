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
  relationship: () => refuse(403, 20002, 'The partner has no commerce relationship with the customer.'),
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

module.exports = { ApiError, refuse, errors };
