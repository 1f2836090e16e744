'use strict';
// The sign-in of a person at Entra: the authorization code flow with PKCE. A browser sees a page and presses a button;
// a test asks the control API for the address at which such a browser ends.

const crypto = require('crypto');

const LIFETIME = 10 * 60 * 1000;

/** An error that the sign-in page shows: nobody is sent back. */
class PageError extends Error {
  constructor(number, text) {
    super(`AADSTS${number}: ${text}`);
  }
}

/** What the address of a sign-in asks for; refuses what a page would refuse. */
function understand(world, tenant, version, query) {
  const account = world.accountOfTenant(tenant);
  if (!account) throw new PageError(90002, `Tenant '${tenant}' not found.`);
  const need = (name) => {
    if (!query.get(name)) throw new PageError(900144, `The request body must contain the following parameter: '${name}'.`);
    return query.get(name);
  };
  if (need('client_id').toLowerCase() !== account.client_id) throw new PageError(700016, 'Application was not found in the directory.');
  const redirect = need('redirect_uri');
  if (!account.redirect_uris.some((known) => samePlace(known, redirect)))
    throw new PageError(50011, `The redirect URI '${redirect}' specified in the request does not match the redirect URIs configured for the application.`);
  const asked = {
    account, version, redirect,
    state: query.get('state'),
    scope: version === 'v2' ? query.get('scope') || '' : 'openid offline_access',
    challenge: query.get('code_challenge'),
    method: query.get('code_challenge_method') || 'plain',
    error: null,
  };
  if (need('response_type') !== 'code') asked.error = ['unsupported_response_type', 'The response type is not supported.'];
  else if ((query.get('response_mode') || 'query') !== 'query') asked.error = ['invalid_request', 'The response mode is not supported.'];
  else if (version === 'v2' && !asked.scope) asked.error = ['invalid_request', "AADSTS900144: The request must contain the following parameter: 'scope'."];
  else if (!['plain', 'S256'].includes(asked.method)) asked.error = ['invalid_request', 'The code_challenge_method is not supported.'];
  else if (query.get('code_challenge_method') && !asked.challenge) asked.error = ['invalid_request', 'The code_challenge is missing.'];
  return asked;
}

/** Registered addresses are compared as wholes, but any port of localhost will do. */
function samePlace(known, given) {
  let a;
  let b;
  try {
    a = new URL(known);
    b = new URL(given);
  } catch {
    return false;
  }
  if (a.hostname === 'localhost') a.port = b.port = '';
  return a.href === b.href;
}

/** What the person does: {mfa, upn, deny}. Returns the address the browser ends at. */
function decide(world, asked, { mfa = true, upn, deny = false } = {}) {
  const to = new URL(asked.redirect);
  const error = asked.error || (deny ? ['access_denied', 'AADSTS65004: User declined to consent to access the app.'] : null);
  if (error) {
    to.searchParams.set('error', error[0]);
    to.searchParams.set('error_description', error[1]);
  } else {
    const code = `1.AXoA${crypto.randomBytes(120).toString('base64url')}`;
    world.tokens.codes.set(code, { ...asked, expires: world.clock.now() + LIFETIME, person: { mfa, upn: upn || asked.account.agent_upn }, used: false });
    to.searchParams.set('code', code);
  }
  if (asked.state !== null) to.searchParams.set('state', asked.state);
  if (!error) to.searchParams.set('session_state', crypto.randomUUID());
  return to.href;
}

const escape = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const html = (status, body) => ({
  status, buffer: Buffer.from(`<!DOCTYPE html><html><head><title>Sign in to your account</title></head><body>${body}</body></html>\n`),
  headers: { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' },
});

/** GET: the page; POST, what its buttons send: back to the application. */
function page(world, request, params) {
  try {
    const asked = understand(world, params.tenant, params.version, request.query);
    if (request.method === 'POST') {
      const form = new URLSearchParams(request.body.toString('utf8'));
      const to = decide(world, asked, { mfa: form.get('mfa') !== 'no', deny: form.get('answer') === 'cancel' });
      return { status: 302, body: null, headers: { location: to, 'cache-control': 'no-store' } };
    }
    return html(200, `<h1>Permissions requested</h1><p>${escape(asked.account.agent_upn)}, the application ${escape(asked.account.client_id)}
asks for: ${escape(asked.scope)}</p><form method="post">
<button name="answer" value="accept">Accept</button> <button name="answer" value="cancel">Cancel</button></form>`);
  } catch (e) {
    if (!(e instanceof PageError)) throw e;
    return html(400, `<h1>Sign in</h1><p>Sorry, but we're having trouble signing you in.</p><p>${escape(e.message)}</p>`);
  }
}

/** For tests: what comes of an address of sign-in. {location}, or throws with the words of the page. */
function signIn(world, { url, ...person }) {
  const at = new URL(String(url));
  const m = /^\/([^/]+)\/oauth2\/(v2\.0\/)?authorize$/i.exec(at.pathname);
  if (!m) throw new Error(`no address of a sign-in: ${url}`);
  return { location: decide(world, understand(world, decodeURIComponent(m[1]), m[2] ? 'v2' : 'v1', at.searchParams), person) };
}

/** The scope that a person consented to; who trades the code need not repeat it. */
const scopeOf = (world, code) => (world.tokens.codes.has(code) ? world.tokens.codes.get(code).scope : null);

/** Trades a code; returns {person, offline}. `refuse(status, error, number, text)` makes the error to throw. */
function redeem(world, account, form, now, refuse) {
  const found = world.tokens.codes.get(form.get('code'));
  if (!found || found.account !== account) throw refuse(400, 'invalid_grant', 9002313, 'The provided authorization code is malformed or invalid.');
  if (found.used) throw refuse(400, 'invalid_grant', 54005, 'OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.');
  if (found.expires <= now) throw refuse(400, 'invalid_grant', 70008, 'The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource.');
  if (form.get('redirect_uri') !== found.redirect)
    throw refuse(400, 'invalid_client', 500112, `The reply address '${form.get('redirect_uri') || ''}' does not match the reply address '${found.redirect}' provided when requesting Authorization code.`);
  const verifier = form.get('code_verifier');
  if (found.challenge) {
    if (!verifier) throw refuse(400, 'invalid_grant', 50148, 'The code_verifier does not match the code_challenge supplied in the authorization request for PKCE.');
    if (!/^[A-Za-z0-9._~-]{43,128}$/.test(verifier)) throw refuse(400, 'invalid_grant', 501481, 'The Code_Verifier does not match the requirements of RFC 7636.');
    const made = found.method === 'S256' ? crypto.createHash('sha256').update(verifier).digest('base64url') : verifier;
    if (made !== found.challenge)
      throw refuse(400, 'invalid_grant', 501481, 'The Code_Verifier does not match the code_challenge supplied in the authorization request.');
  } else if (verifier) throw refuse(400, 'invalid_grant', 501491, 'A code_verifier came without a code_challenge in the authorization request.');
  found.used = true;
  return { person: found.person, offline: /(^| )offline_access( |$)/.test(found.scope) };
}

module.exports = { page, signIn, scopeOf, redeem };
