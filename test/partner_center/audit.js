'use strict';
// Audit records: what partner users and applications did. Each partner sees its own.

const crypto = require('crypto');
const { errors } = require('./errors');
const { filterBy } = require('./paging');
const { pascalKeys, isoLong, DAY, midnight } = require('./util');

class Audit {
  constructor() {
    this.records = [];
  }

  add(world, ctx, r) {
    if (ctx.actor === 'customer portal' && !world.options.audit_customer_acts) return;
    if (ctx.actor === 'service') return;
    const text = (v) => (v === null || v === undefined ? undefined : JSON.stringify(pascalKeys(v)));
    this.records.push({
      at: ctx.time,
      account: ctx.account,
      id: crypto.randomUUID(),
      customerId: r.customer.id,
      customerName: r.customer.name,
      userPrincipalName: ctx.upn || null,
      applicationId: ctx.client_id || null,
      resourceType: r.resourceType,
      resourceOldValue: text(r.old),
      resourceNewValue: text(r.new),
      operationType: r.operationType,
      correlation: ctx.correlation_id || crypto.randomUUID(),
      data: r.data || {},
    });
  }
}

function view(world, r) {
  return {
    id: r.id,
    partnerId: world.account(r.account).tenant_id,
    customerId: r.customerId,
    customerName: r.customerName,
    userPrincipalName: r.userPrincipalName,
    applicationId: r.applicationId,
    resourceType: r.resourceType,
    resourceOldValue: r.resourceOldValue,
    resourceNewValue: r.resourceNewValue,
    operationType: r.operationType,
    operationDate: isoLong(r.at),
    operationStatus: 'succeeded',
    originalCorrelationId: r.correlation,
    customizedData: Object.entries(r.data).map(([key, value]) => ({ key, value })),
    attributes: { objectType: 'AuditRecord' },
  };
}

/** Newest first; 30 days back unless startDate says otherwise, never more than 90. */
function list(world, ctx) {
  const now = world.clock.now();
  const q = ctx.request.query;
  const position = world.pages.position(ctx.request, world.options, `audit ${ctx.account}`, { seek: false });
  if (position.start === undefined) {
    position.start = date(q.get('startDate'), midnight(now) - 30 * DAY);
    position.end = date(q.get('endDate'), midnight(now)) + DAY;
    if (position.start < midnight(now) - 90 * DAY) throw errors.input('Audit records are kept for 90 days.');
    if (position.end <= position.start) throw errors.input('endDate lies before startDate.');
    // Pages must not shift when new records arrive between them.
    position.before = world.audit.records.length;
  }
  const keep = filterBy(position.filter, {
    customerid: (r) => r.customerId,
    companyname: (r) => r.customerName,
    resourcetype: (r) => r.resourceType,
  });
  const shownUntil = now - world.options.audit_delay * 1000;
  const items = [];
  let more = false;
  let index = 0;
  for (let i = position.before - 1; i >= 0; i--) {
    const r = world.audit.records[i];
    if (r.account !== ctx.account || r.at < position.start || r.at >= position.end || r.at > shownUntil || !keep(r)) continue;
    if (index++ < position.from) continue;
    if (items.length === position.size) { more = true; break; }
    items.push(view(world, r));
  }
  return world.pages.collection(items, position, more, `/auditrecords?size=${position.size}`, world.options);
}

const TIME = '(?:[T ]\\d\\d?:\\d\\d(?::\\d\\d(?:\\.\\d+)?)?(?: ?[AP]M)?(?:Z|\\+00:00)?)?';
const ISO = new RegExp(`^(\\d{4})-(\\d\\d)-(\\d\\d)${TIME}$`, 'i');
const AMERICAN = new RegExp(`^(\\d\\d?)/(\\d\\d?)/(\\d{4})${TIME}$`, 'i');

/** yyyy-mm-dd as documented, or M/d/yyyy as the .NET SDK sends it; a time of day behind it is taken and means nothing. */
function date(text, otherwise) {
  if (!text) return otherwise;
  const iso = ISO.exec(text);
  const american = AMERICAN.exec(text);
  if (!iso && !american) throw errors.input('Dates are given as yyyy-mm-dd.');
  const [year, month, day] = (iso ? [iso[1], iso[2], iso[3]] : [american[3], american[1], american[2]]).map(Number);
  const ms = Date.UTC(year, month - 1, day);
  if (new Date(ms).getUTCMonth() !== month - 1) throw errors.input('There is no such date.');
  return ms;
}

module.exports = { Audit, list };
