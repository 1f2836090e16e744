'use strict';
// The pools over time, for judges: after each change how many seats were owned, worked and were held, and by whose
// act. Rows come of the ledger's entries, so that a row's `seq` leads to the whole story.

const { parseTime } = require('./util');
const pools = require('./pools');

class Books {
  constructor(world) {
    this.world = world;
    this.start = world.clock.now();
    this.rows = [];
    this.last = new Map();
    this.holding = new Map();
    this.held = [];
  }

  /** Called with every entry of the ledger, when the pool it speaks of has changed. */
  note(entry, skuId = entry.sku_id) {
    if (!entry.customer || !skuId) return;
    const customer = this.world.directory.get(entry.customer);
    const p = customer && customer.pools.get(skuId);
    if (!p || !p.units.length || this.world.catalogue.sku(skuId).hidden) return;
    if (entry.action === 'assign' || entry.action === 'unassign') this.hold(entry);
    const key = `${customer.id} ${skuId}`;
    let before = this.last.get(key);
    if (!before) this.rows.push((before = this.opening(customer, p)));
    const row = this.row(customer, p, p.units[p.units.length - 1], pools.consumed(p), entry);
    if (row.owned === before.owned && row.active === before.active && row.holders === before.holders) {
      this.last.set(key, before);
      return;
    }
    this.rows.push(row);
    this.last.set(key, row);
  }

  /** What the pool was when the scenario began. */
  opening(customer, p) {
    const units = p.units[0] || pools.count(customer, p);
    return this.row(customer, p, units, p.used.length ? p.used[0].n : pools.consumed(p), {
      seq: 0, time: new Date(this.start).toISOString(), actor: 'scenario', action: 'start',
    });
  }

  row(customer, p, units, holders, entry) {
    return {
      time: entry.time,
      seq: entry.seq,
      customer: customer.id,
      name: customer.name,
      sku_id: p.sku_id,
      part_number: this.world.catalogue.sku(p.sku_id).part_number,
      owned: units.owned,
      active: units.active,
      holders,
      lacking: Math.max(0, holders - units.active),
      lacking_owned: Math.max(0, holders - units.owned),
      actor: entry.actor,
      action: entry.action,
      account: entry.account || null,
      upn: entry.upn || null,
      subscription: entry.subscription || null,
      user: entry.user || null,
      ms_request_id: entry.ms_request_id || null,
      planned_by: entry.planned_by || null,
    };
  }

  hold(entry) {
    const key = `${entry.customer} ${entry.sku_id} ${entry.user}`;
    const by = { actor: entry.actor, upn: entry.upn, seq: entry.seq };
    if (entry.action === 'assign') {
      const period = { customer: entry.customer, sku_id: entry.sku_id, user: entry.user, upn: entry.after.upn, from: entry.time, by, to: null, ended_by: null };
      this.holding.set(key, period);
      this.held.push(period);
      return;
    }
    let period = this.holding.get(key);
    if (!period) this.held.push((period = this.fromTheStart(entry.customer, entry.sku_id, entry.user, entry.before.upn)));
    period.to = entry.time;
    period.ended_by = by;
    this.holding.delete(key);
  }

  fromTheStart(customer, skuId, user, upn) {
    return {
      customer, sku_id: skuId, user, upn,
      from: new Date(this.start).toISOString(), by: { actor: 'scenario', upn: null, seq: 0 }, to: null, ended_by: null,
    };
  }

  /** Rows in their order, the opening of every pool among them. {customer, sku_id, from, to, since} */
  timeline(wanted, customers) {
    const rows = [];
    for (const c of customers)
      for (const p of c.pools.values())
        if (!this.last.has(`${c.id} ${p.sku_id}`) && !this.world.catalogue.sku(p.sku_id).hidden) rows.push(this.opening(c, p));
    rows.push(...this.rows);
    return rows.filter((r) => fits(r, wanted)).sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : a.seq - b.seq));
  }

  /** Periods in which a pool had more holders than seats; `lacking` or `lacking_owned`. */
  shortages(wanted, customers, measure) {
    const open = new Map();
    const found = [];
    for (const r of this.timeline({ customer: wanted.customer, sku_id: wanted.sku_id }, customers)) {
      const key = `${r.customer} ${r.sku_id}`;
      let period = open.get(key);
      if (r[measure] > 0) {
        if (!period) {
          period = { customer: r.customer, name: r.name, sku_id: r.sku_id, part_number: r.part_number, from: r.time, to: null, most: 0, rows: [], ended: null };
          open.set(key, period);
          found.push(period);
        }
        period.most = Math.max(period.most, r[measure]);
        period.rows.push(r);
      } else if (period) {
        period.to = r.time;
        period.ended = r;
        open.delete(key);
      }
    }
    const now = this.world.clock.now();
    for (const p of found) p.seconds = Math.round(((p.to === null ? now : Date.parse(p.to)) - Date.parse(p.from)) / 1000);
    return found.filter((p) => (wanted.from === undefined || p.to === null || Date.parse(p.to) > wanted.from)
      && (wanted.to === undefined || Date.parse(p.from) < wanted.to));
  }

  /** Who held what from when to when; with `at` only those who held it at that moment. */
  holders(wanted, customers) {
    const list = this.held.slice();
    for (const c of customers)
      for (const u of c.users.values())
        for (const skuId of new Set([...u.licences.keys(), ...u.groups.keys()]))
          if (!this.holding.has(`${c.id} ${skuId} ${u.id}`)) list.push(this.fromTheStart(c.id, skuId, u.id, u.upn));
    return list
      .filter((h) => (!wanted.customer || h.customer === wanted.customer) && (!wanted.sku_id || h.sku_id === wanted.sku_id))
      .filter((h) => wanted.at === undefined || (Date.parse(h.from) <= wanted.at && (h.to === null || Date.parse(h.to) > wanted.at)))
      .map((h) => ({ ...h, part_number: this.world.catalogue.sku(h.sku_id).part_number }));
  }
}

const fits = (r, wanted) => (!wanted.customer || r.customer === wanted.customer)
  && (!wanted.sku_id || r.sku_id === wanted.sku_id)
  && (wanted.since === undefined || r.seq > wanted.since)
  && (wanted.from === undefined || Date.parse(r.time) >= wanted.from)
  && (wanted.to === undefined || Date.parse(r.time) < wanted.to);

/** The query of a control call: customer and SKU by any of their names, times, `since`. */
function wantedOf(world, query, customerId) {
  const wanted = {};
  if (query.get('customer')) wanted.customer = customerId(query.get('customer'));
  if (query.get('sku')) wanted.sku_id = world.catalogue.sku(query.get('sku')).sku_id;
  if (query.get('since')) wanted.since = Number(query.get('since'));
  for (const name of ['from', 'to', 'at']) {
    if (!query.get(name)) continue;
    wanted[name] = parseTime(query.get(name));
    if (wanted[name] === null) throw new Error(`"${name}" is no time`);
  }
  return wanted;
}

module.exports = { Books, wantedOf };
