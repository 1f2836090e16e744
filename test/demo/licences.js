'use strict';
// What was bought, assigned and released between two ledgers, as a table: node licences.js BOOKS LEDGER LEDGER
const { read, since, table } = require('./books');

const customers = read(process.argv[2]).state.customers;
const name = new Map(customers.map((c) => [c.id, c.name]));
const part = new Map(customers.flatMap((c) => c.pools.map((p) => [p.sku_id, p.part_number])));

const [earlier, ledger] = process.argv.slice(3).map(read);
table(['customer', 'part_number', 'change', 'what', 'charge'], since(earlier, ledger).map((e) => [
  name.get(e.customer), part.get(e.sku_id), e.action,
  e.user ? (e.after || e.before).upn.split('@')[0] : `${e.before.quantity} to ${e.after.quantity} seats`,
  e.amount ? e.amount.toFixed(2) : '',
]));
