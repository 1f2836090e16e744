'use strict';
// Users of a customer.

const { errors, refuse } = require('./errors');
const { filterBy } = require('./paging');
const { isGuid, isoMs, link } = require('./util');

function view(customer, u) {
  return {
    usageLocation: u.usage_location || null,
    id: u.id,
    userPrincipalName: u.upn,
    firstName: u.first_name,
    lastName: u.last_name,
    displayName: u.display_name,
    userDomainType: 'none',
    state: u.state,
    softDeletionTime: u.deleted_at ? isoMs(u.deleted_at) : null,
    links: { self: link(`/customers/${customer.id}/users/${u.id}`) },
    attributes: { objectType: 'CustomerUser' },
  };
}

/** Active users, or the deleted ones where the filter asks for UserState Inactive. */
function list(world, ctx) {
  const c = ctx.customer;
  const position = world.pages.position(ctx.request, world.options, `users ${c.id}`);
  const keep = filterBy(position.filter, {
    userstate: (u) => u.state,
    userprincipalname: (u) => u.upn,
    displayname: (u) => u.display_name,
  });
  const wantsState = position.filter && /userstate/i.test(position.filter);
  const items = [];
  let more = false;
  let index = 0;
  for (const u of c.users.values()) {
    if (!wantsState && u.state !== 'active' && world.options.deleted_users === 'filtered') continue;
    if (!keep(u)) continue;
    if (index++ < position.from) continue;
    if (items.length === position.size) { more = true; break; }
    items.push(view(c, u));
  }
  const sent = ctx.request.query.get('size');
  const uri = `/customers/${c.id}/users${sent ? `?size=${sent}` : ''}`;
  return world.pages.collection(items, position, more, uri, world.options);
}

/** By object id or by user principal name. */
function lookup(customer, name) {
  const key = name.toLowerCase();
  const id = isGuid(key) ? key : customer.upns.get(key);
  return id ? customer.users.get(id) : undefined;
}

function find(ctx) {
  const user = lookup(ctx.customer, ctx.params.user);
  if (!user || user.state !== 'active') throw errors.user();
  return user;
}

const get = (world, ctx) => ({ status: 200, body: view(ctx.customer, find(ctx)) });

function patch(world, ctx) {
  const body = ctx.request.json();
  const deleted = lookup(ctx.customer, ctx.params.user);
  const restores = deleted && deleted.state === 'inactive' && String(body.state || '').toLowerCase() === 'active';
  const user = restores ? deleted : find(ctx);
  const before = view(ctx.customer, user);
  if (restores) restore(world, ctx, ctx.customer, user);
  if (body.usagelocation !== undefined && body.usagelocation !== null) {
    if (!/^[A-Za-z]{2}$/.test(String(body.usagelocation))) throw refuse(400, 3000, 'usageLocation is not a two-letter country code.');
    const location = body.usagelocation.toUpperCase();
    world.ledger.record(ctx, 'usage_location', {
      customer: ctx.customer.id, user: user.id,
      before: { usage_location: user.usage_location || null }, after: { usage_location: location },
    });
    user.usage_location = location;
  }
  if (body.displayname) user.display_name = String(body.displayname);
  ctx.customer.revision++;
  const after = view(ctx.customer, user);
  world.audit.add(world, ctx, {
    customer: ctx.customer, resourceType: 'customer_user', operationType: 'update_customer_user',
    old: before, new: after, data: { CustomerUserId: user.id },
  });
  return { status: 200, body: after };
}

function create(world, ctx, customer, given) {
  const upn = given.upn;
  if (customer.upns.has(upn.toLowerCase())) throw errors.input('Another object with the same value for property userPrincipalName already exists.');
  const user = {
    id: given.id, upn,
    first_name: given.first_name || 'User', last_name: given.last_name || upn.split('@')[0],
    display_name: given.display_name || upn.split('@')[0],
    usage_location: given.usage_location || null,
    state: 'active', deleted_at: null,
    licences: new Map(), groups: new Map(),
  };
  customer.users.set(user.id, user);
  customer.upns.set(upn.toLowerCase(), user.id);
  customer.revision++;
  world.ledger.record(ctx, 'create_user', { customer: customer.id, user: user.id, after: { upn } });
  world.audit.add(world, ctx, {
    customer, resourceType: 'customer_user', operationType: 'create_customer_user',
    old: null, new: view(customer, user), data: { CustomerUserId: user.id },
  });
  return user;
}

/** Another user principal name; id and licences stay. */
function rename(world, ctx, customer, user, upn) {
  if (customer.upns.has(upn.toLowerCase())) throw errors.input('Another object with the same value for property userPrincipalName already exists.');
  const before = { upn: user.upn };
  customer.upns.delete(user.upn.toLowerCase());
  user.upn = upn;
  user.former_upn = upn;
  customer.upns.set(upn.toLowerCase(), user.id);
  customer.revision++;
  world.ledger.record(ctx, 'rename_user', { customer: customer.id, user: user.id, before, after: { upn } });
}

/** A deleted user gives its seats back and is kept for 30 days under a prefixed name. */
function remove(world, ctx, customer, user) {
  const licences = require('./licences');
  const before = view(customer, user);
  for (const sku of [...user.licences.keys(), ...user.groups.keys()]) licences.drop(world, ctx, customer, user, sku);
  customer.upns.delete(user.upn.toLowerCase());
  user.former_upn = user.upn;
  user.upn = user.id.replace(/-/g, '') + user.upn;
  customer.upns.set(user.upn.toLowerCase(), user.id);
  user.state = 'inactive';
  user.deleted_at = ctx.time;
  customer.revision++;
  world.ledger.record(ctx, 'delete_user', { customer: customer.id, user: user.id, before: { upn: user.former_upn } });
  world.audit.add(world, ctx, {
    customer, resourceType: 'customer_user', operationType: 'delete_customer_user',
    old: before, new: null, data: { CustomerUserId: user.id },
  });
}

function restore(world, ctx, customer, user) {
  customer.upns.delete(user.upn.toLowerCase());
  user.upn = user.former_upn;
  customer.upns.set(user.upn.toLowerCase(), user.id);
  user.state = 'active';
  user.deleted_at = null;
  world.ledger.record(ctx, 'restore_user', { customer: customer.id, user: user.id, after: { upn: user.upn } });
}

module.exports = { view, list, get, patch, lookup, find, create, rename, remove };
