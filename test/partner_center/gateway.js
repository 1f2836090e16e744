'use strict';
// The way of one request: log, faults, throttling, token, memory of request ids, customer, answer.

const crypto = require('crypto');
const { ApiError, errors } = require('./errors');
const { match } = require('./router');
const { render, quirksFor } = require('./render');
const { lowerKeys, isGuid } = require('./util');

class Request {
  constructor(exchange) {
    this.method = exchange.method;
    this.headers = exchange.headers;
    this.body = exchange.body;
    const mark = exchange.path.indexOf('?');
    this.path = mark < 0 ? exchange.path : exchange.path.slice(0, mark);
    this.search = mark < 0 ? '' : exchange.path.slice(mark + 1);
  }

  get query() {
    return (this._query = this._query || new URLSearchParams(this.search));
  }

  /** The body with member names in lower case. */
  json() {
    if (this._json) return this._json;
    let value;
    try {
      value = JSON.parse(this.body.toString('utf8').replace(/^\ufeff/, ''));
    } catch {
      throw errors.input('The request body is not valid JSON.');
    }
    if (!value || typeof value !== 'object' || Array.isArray(value)) throw errors.input('The request body is not an object.');
    return (this._json = lowerKeys(value));
  }
}

/**
 * The short way for benchmarks (--prerender): the same list for the same caller, as long as neither
 * the customer nor the wanted quirks changed and nobody counts, logs or spoils requests.
 */
function ready(world, exchange, now) {
  const known = world.ready.get(exchange.path);
  if (!known || exchange.method !== 'GET' || world.faults.active || world.options.log_requests || world.options.requests_per_minute) return null;
  const c = known.customer;
  if (c.forgotten || known.revision !== c.revision || known.quirks !== world.quirksRevision) return null;
  const caller = world.tokens.access.get((exchange.headers.authorization || '').slice(7));
  if (!caller || caller.expires <= now || caller.account !== known.account || !caller.user) return null;
  world.requests.total++;
  world.requests.counts[known.kind] = (world.requests.counts[known.kind] || 0) + 1;
  return known.answer;
}

const READY = 50000;

/** Answers one exchange; resolves when the answer has been handed to the transport. */
async function handle(world, exchange) {
  const now = world.settle();
  if (world.prerender) {
    const answer = ready(world, exchange, now);
    if (answer) return exchange.send(answer);
  }
  const request = new Request(exchange);
  const { route, params, known } = match(request.method, request.path);
  const kind = route ? route.kind : 'unknown';
  const entry = world.requests.begin({
    time: new Date(now).toISOString(),
    arrived: Math.round((performance.timeOrigin + performance.now()) * 1000) / 1000,
    method: request.method,
    path: exchange.path,
    kind,
    mutating: route ? route.mutating : false,
    http: exchange.protocol,
    customer: (params && params.customer) || null,
    account: null,
    token: null,
    ms_request_id: request.headers['ms-requestid'] || null,
    correlation_id: request.headers['ms-correlationid'] || null,
    if_match: request.headers['if-match'] || null,
    body: route && route.mutating && request.body.length ? request.body.toString('utf8') : null,
    status: null,
    code: null,
    replayed: false,
    fault: null,
  }, world.options.log_requests);

  const fault = world.faults.active ? world.faults.take(entry, callerOf(world, request, route, params)) : null;
  const call = () => process(world, exchange, request, route, params, known, entry, fault);
  if (fault) return world.faults.perform(fault, exchange, entry, call, (answer) => deliver(world, exchange, request, kind, entry, answer));
  return deliver(world, exchange, request, kind, entry, call());
}

/** The name of the account that seems to call, before anything is checked; null where nothing tells. */
function callerOf(world, request, route, params) {
  if (route && params.tenant !== undefined) {
    const account = world.accountOfTenant(params.tenant);
    return account ? account.name : null;
  }
  const known = world.tokens.bearer(request.headers.authorization);
  return known ? known.account : null;
}

/** Returns {status, headers, body} and never throws. */
function process(world, exchange, request, route, params, known, entry, fault) {
  try {
    const now = world.settle();
    if (route && route.elsewhere) return route.handler(world, request, params, exchange.origin, entry);
    const caller = world.tokens.identify(request.headers.authorization, now);
    const partner = world.account(caller.account);
    entry.account = partner.name;
    entry.token = caller.user ? 'app+user' : 'app';
    world.throttle.check(partner.tenant_id, world.options);
    if (!route) throw known ? errors.method() : errors.notFound();
    if (lacksMfa(world, route, caller)) throw errors.mfa();
    checkHeaders(request);
    const key = route.mutating ? world.replay.key(partner, request) : null;
    const first = world.replay.find(key, now, world.options);
    if (first) {
      entry.replayed = true;
      world.requests.replayed++;
      return first;
    }
    const answer = serve(world, request, route, params, partner, caller, now, fault);
    if (key) world.replay.remember(key, now, world.options, answer);
    return answer;
  } catch (e) {
    return refused(e);
  }
}

/** What the documents ask of headers, so that a careless client is noticed. */
function checkHeaders(request) {
  for (const name of ['ms-requestid', 'ms-correlationid'])
    if (request.headers[name] !== undefined && !isGuid(request.headers[name])) throw errors.input(`The header ${name} is not a GUID.`);
  const type = (request.headers['content-type'] || '').split(';')[0].trim().toLowerCase();
  if (request.body.length && type !== 'application/json') throw errors.input('A request body needs Content-Type: application/json.');
}

/** Only app+user access has persons behind it, whose sign-in can be asked for. */
function lacksMfa(world, route, caller) {
  const { mfa } = world.options;
  return caller.user && !caller.mfa && (mfa === 'all' || (mfa === 'licences' && route.user));
}

function serve(world, request, route, params, partner, caller, now, fault) {
  try {
    const ctx = {
      time: now,
      request,
      params,
      partner,
      account: partner.name,
      actor: caller.user ? 'app+user' : 'app',
      client_id: partner.client_id,
      upn: caller.upn,
      ms_request_id: request.headers['ms-requestid'] || null,
      correlation_id: request.headers['ms-correlationid'] || null,
      accept_202: fault && fault.action === 'accepted_202' ? fault.seconds ?? 60 : undefined,
      customer: null,
    };
    if (route.user && !caller.user)
      throw world.options.licence_token_error === 900316 ? errors.partnerToken() : errors.appOnly();
    if (params.customer !== undefined) {
      const customer = world.directory.get(params.customer);
      if (!customer || customer.gone) throw errors.tenant();
      if (!customer.partners.has(partner.name)) throw errors.relationship(world.options.relationship_words);
      if (route.user && !customer.licence_access) throw errors.privileges();
      if (route.user && customer.conditional_access) throw errors.conditionalAccess();
      ctx.customer = customer;
      if (route.mutating) world.directory.keep(customer);
      else if (world.prerender) return prerendered(world, ctx, route);
    }
    return route.handler(world, ctx);
  } catch (e) {
    return refused(e);
  }
}

function refused(e) {
  if (!(e instanceof ApiError)) throw e;
  return { status: e.status, body: e.body(), headers: e.headers };
}

const PRERENDERED = new Set(['subscriptions', 'subscribedskus', 'users']);

/** For benchmarks: a list is rendered once and again only after the customer changed. */
function prerendered(world, ctx, route) {
  if (!PRERENDERED.has(route.kind) || ctx.request.search) return route.handler(world, ctx);
  const c = ctx.customer;
  const cache = (c.rendered = c.rendered || new Map());
  const key = `${route.kind} ${ctx.account}`;
  let found = cache.get(key);
  if (!found || found.revision !== c.revision || found.quirks !== world.quirksRevision) {
    const answer = route.handler(world, ctx);
    if (answer.headers && Object.keys(answer.headers).length) return answer;
    found = { revision: c.revision, quirks: world.quirksRevision, buffer: render(answer.body, quirksFor(world.options, route.kind)) };
    cache.set(key, found);
  }
  const answer = { status: 200, buffer: found.buffer };
  if (world.ready.size < READY)
    world.ready.set(ctx.request.path, {
      customer: c, account: ctx.account, kind: route.kind, revision: found.revision, quirks: found.quirks,
      answer: finish(world, ctx.request, route.kind, answer),
    });
  return answer;
}

const ELSEWHERE = new Set(['token', 'authorize', 'price_sheet']);

/** Adds the headers Partner Center sends and gives the bytes to the transport. */
function finish(world, request, kind, answer) {
  const body = answer.buffer || (answer.body === null || answer.body === undefined ? null : render(answer.body, quirksFor(world.options, kind)));
  const headers = { ...(answer.headers || {}) };
  if (body) headers['content-type'] = headers['content-type'] || 'application/json; charset=utf-8';
  headers['content-length'] = String(body ? body.length : 0);
  if (!ELSEWHERE.has(kind)) {
    headers['ms-requestid'] = request.headers['ms-requestid'] || crypto.randomUUID();
    headers['ms-correlationid'] = request.headers['ms-correlationid'] || headers['ms-requestid'];
    headers['ms-cv'] = 'fc1RI18AXEK3Tdmj.0';
    headers['ms-serverid'] = '0000112E';
    headers['x-locale'] = 'en-US';
    if (String(request.headers.validatemfa).toLowerCase() === 'true') {
      const caller = world.tokens.bearer(request.headers.authorization);
      if (caller) headers.ismfacompliant = String(caller.mfa);
    }
  }
  return { status: answer.status, headers, body: body || Buffer.alloc(0) };
}

function deliver(world, exchange, request, kind, entry, answer) {
  entry.status = answer.status;
  entry.code = (answer.body && answer.body.code) || null;
  exchange.send(finish(world, request, kind, answer), answer.wire);
}

module.exports = { handle, finish, Request };
