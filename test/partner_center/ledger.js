'use strict';
// Append-only record of every change and every charge, and the bill that follows from it.
//
// Seats are billed to the day (UTC): what is billed at the end of a day counts for that day, so
// a seat bought and given back on one day costs nothing. Each subscription keeps a step function
// of (day, seats, price of a seat-day); the bill between two dates is its sum. The charges of new
// commerce (whole term at purchase, prorated refund) are entries with an amount beside it.

const { dayOf, round, DAY } = require('./util');

class Ledger {
  /** `observe` is told of each entry. */
  constructor(observe) {
    this.entries = [];
    this.charges = [];
    this.observe = observe || (() => {});
  }

  /** `terms` belong to an amount: what was charged (or refunded) under which terms; not shown. */
  record(ctx, action, { terms, ...fields }) {
    const entry = {
      seq: this.entries.length + 1,
      time: new Date(ctx.time).toISOString(),
      actor: ctx.actor,
      account: ctx.account || null,
      client_id: ctx.client_id || null,
      upn: ctx.upn || null,
      action,
      customer: null,
      subscription: null,
      sku_id: null,
      user: null,
      before: null,
      after: null,
      amount: null,
      ms_request_id: ctx.ms_request_id || null,
      correlation_id: ctx.correlation_id || null,
      planned_by: null,
      ...fields,
    };
    this.entries.push(Object.freeze(entry));
    if (terms && entry.amount !== null) this.charges.push({ entry, terms });
    this.observe(entry);
    return entry;
  }

  since(seq, filter) {
    return this.entries.slice(Math.max(0, seq)).filter(filter || (() => true));
  }
}

/** Seats that are billed in the present state. New commerce goes on billing while suspended. */
function billedSeats(sub) {
  if (sub.trial) return 0;
  if (sub.status === 'active') return sub.quantity;
  if (sub.status === 'suspended' && sub.commerce === 'nce') return sub.quantity;
  return 0;
}

function dayPrice(sub) {
  if (sub.trial) return 0;
  if (sub.commerce === 'legacy') return (sub.unit_price * 12) / 365;
  return sub.unit_price / Math.round((sub.term_end - sub.term_start_day) / DAY);
}

/** Takes the present state into the step function, from the day of `ms` on. */
function meter(sub, ms) {
  const step = { day: dayOf(ms), seats: billedSeats(sub), price: dayPrice(sub) };
  const last = sub.meter[sub.meter.length - 1];
  if (last && last.day >= step.day) sub.meter[sub.meter.length - 1] = { ...step, day: last.day };
  else if (!last || last.seats !== step.seats || last.price !== step.price) sub.meter.push(step);
}

/** What new commerce charges (or refunds) for so many seats from the day of `ms` to the end of the term. */
function prorated(sub, seats, ms) {
  if (sub.commerce !== 'nce' || sub.trial) return null;
  const term = Math.round((sub.term_end - sub.term_start_day) / DAY);
  const left = Math.max(0, Math.min(term, Math.round(sub.term_end / DAY) - dayOf(ms)));
  return round((seats * sub.unit_price * left) / term);
}

/** The terms of a charge for so many seats, as they are now. */
const termsOf = (sub, seats, quantity = sub.quantity) => sub.commerce !== 'nce' ? null : {
  account: sub.account, seats, quantity, unit_price: sub.unit_price, term: sub.term, cycle: sub.cycle,
  term_start: sub.term_start_day, term_end: sub.term_end, anchor: sub.anchor_day,
  product: sub.product.key, availability: sub.availability_id, promotion: sub.promotion_id || '', order: sub.order_id,
};

/** Seat-days and money of one subscription for the days from <= day < to. */
function bill(sub, from, to) {
  let seatDays = 0;
  let amount = 0;
  for (let i = 0; i < sub.meter.length; i++) {
    const step = sub.meter[i];
    const next = i + 1 < sub.meter.length ? sub.meter[i + 1].day : Infinity;
    const days = Math.min(next, dayOf(to)) - Math.max(step.day, dayOf(from));
    if (days <= 0) continue;
    seatDays += days * step.seats;
    amount += days * step.seats * step.price;
  }
  return { seat_days: seatDays, amount: round(amount) };
}

/** Owed to the end of the running term whatever happens, from the day of `ms` on. */
function committed(sub, ms) {
  if (sub.commerce !== 'nce' || billedSeats(sub) === 0) return 0;
  return prorated(sub, sub.quantity, ms) || 0;
}

module.exports = { Ledger, meter, prorated, termsOf, bill, billedSeats, dayPrice, committed };
