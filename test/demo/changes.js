'use strict';
// The changes of subscriptions in the ledger, as a table: node changes.js BOOKS LEDGER
const { read, ours, table } = require('./books');

const customers = read(process.argv[2]).state.customers;
const name = new Map(customers.map((c) => [c.id, c.name]));
const part = new Map(customers.flatMap((c) => c.subscriptions.map((s) => [s.id, s.part_number])));

table(['customer', 'part_number', 'change', 'from', 'to', 'refund'], ours(read(process.argv[3])).map((e) => [
  name.get(e.customer), part.get(e.subscription), e.action, String(e.before.quantity),
  e.action === 'schedule' ? `${e.after.scheduled_next?.quantity ?? e.after.quantity} at renewal`
    : e.after.status !== e.before.status ? e.after.status : String(e.after.quantity),
  e.amount ? (-e.amount).toFixed(2) : '',
]));
