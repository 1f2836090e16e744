'use strict';
// A user's licences and their assignment. Assignment is by SKU, out of the pool; which
// subscription a seat comes from is nobody's business.

const { refuse } = require('./errors');
const { isGuid } = require('./util');
const pools = require('./pools');
const users = require('./users');

/** Plans that exclude each other: two mailboxes, two site plans. */
const EXCLUSIVE = [
  ['EXCHANGE_S_STANDARD', 'EXCHANGE_S_ENTERPRISE', 'EXCHANGE_S_DESKLESS'],
  ['SHAREPOINTSTANDARD', 'SHAREPOINTENTERPRISE', 'SHAREPOINTDESKLESS'],
];

function list(world, ctx) {
  const user = users.find(ctx);
  const groups = pools.licenceGroups(ctx.request);
  const items = [];
  for (const skuId of held(user)) {
    const sku = world.catalogue.sku(skuId);
    if (!groups.has(sku.license_group)) continue;
    const excluded = user.licences.get(skuId) || [];
    items.push({
      servicePlans: sku.plans.map((p) => pools.planView(p, excluded.includes(p.id) ? 'Disabled' : 'Assigned')),
      productSku: { id: sku.sku_id, name: sku.name, skuPartNumber: sku.part_number, licenseGroupId: sku.license_group },
      attributes: { objectType: 'License' },
    });
  }
  return { status: 200, body: { totalCount: items.length, items, attributes: { objectType: 'Collection' } } };
}

const held = (user) => new Set([...user.licences.keys(), ...user.groups.keys()]);

function update(world, ctx) {
  const body = ctx.request.json();
  const user = users.find(ctx);
  const assign = (body.licensestoassign || []).map((a) => ({ sku: a && a.skuid, excluded: (a && a.excludedplans) || [] }));
  const remove = body.licensestoremove || [];
  if (!Array.isArray(body.licensestoassign ?? []) || !Array.isArray(remove)) throw refuse(400, 3000, 'A list of licences is expected.');
  if (!assign.length && !remove.length) throw refuse(400, 800002, 'No licences to assign or remove.');
  change(world, ctx, ctx.customer, user, assign, remove);
  const answer = { licensesToAssign: assign.map((a) => ({ excludedPlans: a.excluded.length ? a.excluded : null, skuId: a.sku })) };
  if (!assign.length) answer.licensesToAssign = null;
  if (remove.length) answer.licensesToRemove = remove;
  return { status: 201, body: { ...answer, licenseWarnings: [], attributes: { objectType: 'LicenseUpdate' } } };
}

/** All or nothing: everything is checked before the first seat moves. */
function change(world, ctx, customer, user, assign, remove) {
  const toAssign = assign.map((a) => checkedSku(world, a.sku, a.excluded));
  const toRemove = remove.map((id) => checkedSku(world, id, []));
  const groups = new Set([...toAssign, ...toRemove].map((x) => x.sku.license_group));
  if (groups.size > 1) throw refuse(400, 800002, 'All SKUs of one call must belong to one licence group.');
  for (const { sku } of toRemove) {
    if (user.licences.has(sku.sku_id)) continue;
    if (user.groups.has(sku.sku_id))
      throw refuse(400, 800002, 'User license is inherited from a group membership and it cannot be removed directly from the user.');
    throw refuse(400, 800002, 'User does not have a corresponding license.');
  }
  if (toAssign.length && !user.usage_location)
    throw refuse(400, 800002, 'License assignment cannot be done for user with invalid usage location.', { data: ['Request_BadRequest'] });
  checkPlans(world, user, toAssign, toRemove);
  const now = world.clock.now();
  for (const { sku } of toAssign) {
    if (sku.target_type !== 'User') throw refuse(400, 800002, `The SKU ${sku.sku_id} cannot be assigned to a user.`);
    if (held(user).has(sku.sku_id)) continue;
    needSeat(world, customer, sku, now);
  }
  for (const { sku } of toRemove) drop(world, ctx, customer, user, sku.sku_id);
  for (const { sku, excluded } of toAssign) take(world, ctx, customer, user, sku, excluded);
  const pascal = { licensesToAssign: toAssign.map((a) => ({ skuId: a.sku.sku_id })), licensesToRemove: toRemove.map((r) => r.sku.sku_id) };
  const data = { CustomerUserId: user.id };
  toAssign.forEach((a) => { data.AddedLicenseSkuId = a.sku.sku_id; });
  toRemove.forEach((r) => { data.RemovedLicenseSkuId = r.sku.sku_id; });
  world.audit.add(world, ctx, {
    customer, resourceType: 'license', operationType: 'update_customer_user_licenses',
    old: null, new: { ...pascal, licenseWarnings: [], attributes: { objectType: 'LicenseUpdate' } }, data,
  });
}

function needSeat(world, customer, sku, now) {
  const p = customer.pools.get(sku.sku_id);
  if (!p || pools.assignable(p, now, pools.delays(world, customer)) < 1)
    throw refuse(400, 60012, 'Subscription does not have any available licenses.', {
      data: [`LicenseQuotaExceededException : Subscription with Account ${customer.id} and SKU ${sku.sku_id} does not have any available licenses left.`],
    });
}

function checkedSku(world, id, excluded) {
  if (!isGuid(id)) throw refuse(400, 3000, 'skuId is not a GUID.');
  const sku = world.catalogue.findSku(id);
  if (!sku) throw refuse(400, 3000, `The SKU ${id} is not known.`);
  const plans = new Set(sku.plans.map((p) => p.id));
  const list = [];
  for (const p of excluded) {
    if (!isGuid(p) || !plans.has(p.toLowerCase())) throw refuse(400, 3000, `${p} is no service plan of the SKU.`);
    list.push(p.toLowerCase());
  }
  return { sku, excluded: list };
}

/** Service plans of everything the user would hold must not exclude each other. */
function checkPlans(world, user, toAssign, toRemove) {
  const gone = new Set(toRemove.map((r) => r.sku.sku_id));
  const services = new Map();
  const add = (sku, excluded) => {
    for (const p of sku.plans) if (!excluded.includes(p.id)) services.set(p.service, sku);
  };
  for (const id of held(user)) if (!gone.has(id)) add(world.catalogue.sku(id), user.licences.get(id) || []);
  for (const { sku, excluded } of toAssign) add(sku, excluded);
  for (const { sku, excluded } of toAssign)
    for (const p of sku.plans) {
      if (excluded.includes(p.id)) continue;
      for (const set of EXCLUSIVE) {
        if (!set.includes(p.service)) continue;
        const other = set.find((s) => s !== p.service && services.has(s));
        if (other)
          throw refuse(400, 800002, 'License assignment failed because service plans are mutually exclusive.', { data: [`MutuallyExclusiveViolation : ${p.service}, ${other}`] });
      }
      if (p.requires && !p.requires.some((s) => services.has(s)))
        throw refuse(400, 800002, 'License assignment failed because a service plan depends on another one.', { data: [`DependencyViolation : ${p.service}`] });
    }
}

function take(world, ctx, customer, user, sku, excluded) {
  const had = held(user).has(sku.sku_id);
  user.licences.set(sku.sku_id, excluded);
  if (had) return;
  pools.pool(customer, sku.sku_id).holders++;
  pools.touch(customer, sku.sku_id, ctx.time);
  world.ledger.record(ctx, 'assign', { customer: customer.id, sku_id: sku.sku_id, user: user.id, after: { upn: user.upn } });
}

/** The seat goes back to the pool unless a group gives the user the same SKU. */
function drop(world, ctx, customer, user, skuId) {
  const hadBoth = user.licences.has(skuId) && user.groups.has(skuId);
  if (user.licences.has(skuId)) user.licences.delete(skuId);
  else user.groups.delete(skuId);
  if (hadBoth) return;
  pools.pool(customer, skuId).holders--;
  pools.touch(customer, skuId, ctx.time);
  world.ledger.record(ctx, 'unassign', { customer: customer.id, sku_id: skuId, user: user.id, before: { upn: user.upn } });
}

module.exports = { list, update, change, drop, held, needSeat };
