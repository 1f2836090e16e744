'use strict';
// The token endpoints of Entra, v1 and v2, for the partner tenants of the scenario.

const crypto = require('crypto');
const { errors } = require('./errors');
const signin = require('./signin');
const { DAY } = require('./util');

class Tokens {
  constructor() {
    this.access = new Map();
    this.refresh = new Map();
    this.codes = new Map();
    this.issued = 0;
  }

  /** Registers the refresh token that a person got by signing in. */
  consent(account, token, now, options, { mfa = true, upn = account.agent_upn } = {}) {
    this.refresh.set(token, { account: account.name, expires: now + options.refresh_token_days * DAY, revoked: false, mfa, upn });
  }

  /** A new refresh token of that person. */
  refreshToken(account, now, options, person) {
    const token = `1.AX0A${crypto.randomBytes(60).toString('base64url')}`;
    this.consent(account, token, now, options, person);
    return token;
  }

  revokeRefresh(accountName) {
    for (const t of this.refresh.values()) if (t.account === accountName) t.revoked = true;
  }

  revokeAccess(accountName) {
    for (const [k, t] of this.access) if (t.account === accountName) this.access.delete(k);
  }

  /** What is known of the token in that header, valid or not. */
  bearer(header) {
    const m = /^Bearer\s+(\S+)$/i.exec(header || '');
    return m ? this.access.get(m[1]) || null : null;
  }

  /** Who calls? Refuses with 401 as Partner Center does. */
  identify(header, now) {
    const m = /^Bearer\s+(\S+)$/i.exec(header || '');
    if (!m) throw errors.tokenMissing();
    const token = this.access.get(m[1]);
    if (!token || token.expires <= now) throw errors.tokenInvalid();
    if (token.retired) throw errors.audience();
    if (token.foreign) throw errors.tokenInvalid();
    return token;
  }
}

class OAuthError extends Error {
  constructor(status, error, number, text) {
    super(text);
    Object.assign(this, { status, error, number });
  }
}

const oauth = (status, error, number, text) => new OAuthError(status, error, number, text);

function answer(world, request, params, origin) {
  const now = world.clock.now();
  const v2 = params.version === 'v2';
  try {
    return grant(world, request, params.tenant, v2, now, origin);
  } catch (e) {
    if (!(e instanceof OAuthError)) throw e;
    const stamp = new Date(now).toISOString().slice(0, 19).replace('T', ' ') + 'Z';
    const trace = crypto.randomUUID();
    const correlation = crypto.randomUUID();
    return {
      status: e.status,
      body: {
        error: e.error,
        error_description: `AADSTS${e.number}: ${e.message}\r\nTrace ID: ${trace}\r\nCorrelation ID: ${correlation}\r\nTimestamp: ${stamp}`,
        error_codes: [e.number],
        timestamp: stamp,
        trace_id: trace,
        correlation_id: correlation,
      },
    };
  }
}

function grant(world, request, tenant, v2, now, origin) {
  if (request.method !== 'POST') throw oauth(400, 'invalid_request', 900561, 'The endpoint only accepts POST requests.');
  const type = (request.headers['content-type'] || '').split(';')[0].trim().toLowerCase();
  if (type !== 'application/x-www-form-urlencoded')
    throw oauth(400, 'invalid_request', 900144, 'The request body must be of type application/x-www-form-urlencoded.');
  const form = new URLSearchParams(request.body.toString('utf8'));
  const account = world.accountOfTenant(tenant);
  if (!account) throw oauth(400, 'invalid_request', 90002, `Tenant '${tenant}' not found.`);
  const need = (name) => {
    const v = form.get(name);
    if (!v) throw oauth(400, 'invalid_request', 900144, `The request body must contain the following parameter: '${name}'.`);
    return v;
  };
  const type2 = need('grant_type');
  if (!['client_credentials', 'refresh_token', 'authorization_code'].includes(type2))
    throw oauth(400, 'unsupported_grant_type', 70003, `The app requested an unsupported grant type '${type2}'.`);
  if (need('client_id').toLowerCase() !== account.client_id.toLowerCase())
    throw oauth(400, 'unauthorized_client', 700016, 'Application was not found in the directory.');
  if (need('client_secret') !== account.client_secret)
    throw oauth(401, 'invalid_client', 7000215, 'Invalid client secret provided.');
  const audience = v2 ? scopeAudience(form.get('scope') || signin.scopeOf(world, form.get('code')) || need('scope')) : need('resource').replace(/\/$/, '');
  const known = [...world.options.audiences, ...world.options.price_audiences].includes(audience) || audience === origin;
  const retired = world.options.retired_audiences.includes(audience);
  if (!known && !retired) {
    if (v2) throw oauth(400, 'invalid_scope', 70011, `The provided value for the input parameter 'scope' is not valid.`);
    throw oauth(400, 'invalid_resource', 500011, `The resource principal named ${audience} was not found in the tenant.`);
  }
  const kind = { retired, audience, v2, person: null };
  if (type2 === 'refresh_token') Object.assign(kind, exchange(world, account, need('refresh_token'), now));
  if (type2 === 'authorization_code') {
    need('code');
    const { person, offline } = signin.redeem(world, account, form, now, oauth);
    Object.assign(kind, { person, refresh_token: offline ? world.tokens.refreshToken(account, now, world.options, person) : undefined });
  }
  return issue(world, account, kind, now);
}

function scopeAudience(scope) {
  const first = scope.split(' ').find((s) => /^https?:/.test(s)) || '';
  if (!first.endsWith('/.default') && !first.endsWith('/user_impersonation'))
    throw oauth(400, 'invalid_scope', 70011, `The provided value for the input parameter 'scope' is not valid. The scope ${scope} is not valid.`);
  return first.replace(/\/(\.default|user_impersonation)$/, '');
}

function exchange(world, account, given, now) {
  const found = world.tokens.refresh.get(given);
  if (!found || found.account !== account.name) throw oauth(400, 'invalid_grant', 9002313, 'The provided refresh token is malformed or invalid.');
  if (found.revoked) throw oauth(400, 'invalid_grant', 50173, 'The provided grant has expired due to it being revoked. The user must sign in again.');
  if (found.expires <= now) throw oauth(400, 'invalid_grant', 700082, 'The refresh token has expired due to inactivity.');
  const person = { mfa: found.mfa, upn: found.upn };
  if (!world.options.rotate_refresh_token) return { person };
  if (!world.options.old_refresh_tokens_valid) found.revoked = true;
  return { person, refresh_token: world.tokens.refreshToken(account, now, world.options, person) };
}

function issue(world, account, kind, now) {
  const seconds = world.options.access_token_seconds;
  const exp = Math.floor(now / 1000) + seconds;
  const part = (o) => Buffer.from(JSON.stringify(o)).toString('base64url');
  const claims = {
    aud: kind.audience, iss: `https://sts.windows.net/${account.tenant_id}/`, nbf: Math.floor(now / 1000), exp,
    appid: account.client_id, tid: account.tenant_id, jti: crypto.randomUUID(),
  };
  const { person } = kind;
  if (person) Object.assign(claims, { scp: 'user_impersonation', upn: person.upn, amr: person.mfa ? ['pwd', 'mfa'] : ['pwd'] });
  const token = `${part({ typ: 'JWT', alg: 'RS256' })}.${part(claims)}.${crypto.randomBytes(48).toString('base64url')}`;
  world.tokens.issued++;
  world.tokens.access.set(token, {
    account: account.name, user: Boolean(person), mfa: Boolean(person && person.mfa), upn: person && person.upn,
    expires: exp * 1000, retired: kind.retired, audience: kind.audience,
    foreign: world.options.price_audiences.includes(kind.audience) && !world.options.audiences.includes(kind.audience),
  });
  if (world.tokens.access.size > 5000) world.tokens.access.delete(world.tokens.access.keys().next().value);

  const number = (n) => (kind.v2 ? n : String(n));
  const body = { token_type: 'Bearer' };
  if (person) body.scope = kind.v2 ? `${kind.audience}/user_impersonation` : 'user_impersonation';
  body.expires_in = number(seconds);
  body.ext_expires_in = number(seconds);
  if (!kind.v2) {
    body.expires_on = String(exp);
    body.not_before = String(Math.floor(now / 1000));
    body.resource = kind.audience;
  }
  body.access_token = token;
  if (kind.refresh_token) body.refresh_token = kind.refresh_token;
  if (person && !kind.v2) body.id_token = `${part({ typ: 'JWT', alg: 'none' })}.${part({ tid: account.tenant_id, upn: person.upn })}.`;
  return { status: 200, body, headers: { 'cache-control': 'no-store', pragma: 'no-cache' } };
}

module.exports = { Tokens, answer };
