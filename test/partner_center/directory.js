'use strict';
// The customers: all in memory, or made on demand for very large scenarios. A customer that was
// changed is kept; one that was only looked at may be forgotten and made again.

const CACHE = 20000;

class Directory {
  constructor(world, lazy = null) {
    this.world = world;
    this.lazy = lazy;
    this.customers = new Map();
    this.looked = new Map();
  }

  add(customer) {
    this.customers.set(customer.id, customer);
  }

  get(id) {
    const key = id.toLowerCase();
    let c = this.customers.get(key) || this.looked.get(key);
    if (c || !this.lazy) return c;
    const index = this.lazy.indexOf(key);
    if (index < 0) return undefined;
    c = this.world.build(this.lazy.customer(index));
    this.looked.set(c.id, c);
    if (this.looked.size > CACHE) {
      const [oldest, gone] = this.looked.entries().next().value;
      gone.forgotten = true;
      this.looked.delete(oldest);
    }
    return c;
  }

  /** Call before or after a change of a customer's state. */
  keep(customer) {
    if (!this.customers.has(customer.id)) {
      this.looked.delete(customer.id);
      this.customers.set(customer.id, customer);
      if (this.lazy) for (const sub of customer.subscriptions.values()) this.world.timers.arm(sub);
    }
    customer.revision++;
  }

  /** One page of what an account sees, as {id, name, domain}. */
  profiles(account, filter, from, size) {
    const items = [];
    let index = 0;
    if (this.lazy) {
      const total = this.lazy.count;
      if (!filter) {
        for (let i = from; i < Math.min(total, from + size); i++) items.push(this.lazy.profile(i));
        return { items, more: from + size < total };
      }
      for (let i = 0; i < total; i++) {
        const p = this.lazy.profile(i);
        if (!filter(p) || index++ < from) continue;
        if (items.length === size) return { items, more: true };
        items.push(p);
      }
      return { items, more: false };
    }
    for (const c of this.customers.values()) {
      if (c.gone || !c.partners.has(account) || (filter && !filter(c))) continue;
      if (index++ < from) continue;
      if (items.length === size) return { items, more: true };
      items.push(c);
    }
    return { items, more: false };
  }

  /** Customers whose state is known to differ from the scenario, or all where nothing is lazy. */
  loaded() {
    return this.customers.values();
  }
}

module.exports = { Directory };
