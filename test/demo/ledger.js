'use strict';
// The ledger's changes of subscriptions as a table: node ledger.js LEDGER STATE
const fs = require('fs');
const read = (file) => JSON.parse(fs.readFileSync(file, 'utf8'));
const ledger = read(process.argv[2]);
const names = new Map(read(process.argv[3]).customers.map((c) => [c.id, c.name]));
const shown = ['raise', 'lower', 'suspend', 'cancel', 'schedule', 'auto_renew', 'renewal_plan', 'reactivate'];
const rows = ledger.filter((e) => shown.includes(e.action)).map((e) => [
  names.get(e.customer) || e.customer, e.action, String(e.before?.quantity ?? ''), String(e.after?.quantity ?? ''),
  e.after?.scheduled_next ? `next term ${e.after.scheduled_next.quantity}` : e.after?.status || '', e.amount ? e.amount.toFixed(2) : '',
]);
const head = ['customer', 'action', 'from', 'to', 'then', 'amount'];
const width = head.map((h, i) => Math.max(h.length, ...rows.map((r) => r[i].length)));
const line = (r) => '   ' + r.map((x, i) => x.padEnd(width[i])).join('  ').trimEnd();
console.log(line(head));
console.log('   ' + width.map((w) => '-'.repeat(w)).join('  '));
for (const r of rows) console.log(line(r));
