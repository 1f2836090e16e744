'use strict';
// Reading what demo.sh saved of Partner Center's books, and printing tables like psql's.
const fs = require('fs');

exports.read = (file) => JSON.parse(fs.readFileSync(file, 'utf8'));

/** Changes of subscriptions and licences in the ledger that spinpanel made. */
exports.ours = (ledger) => ledger.filter((e) => /^app/.test(e.actor));

/** Of these the ones that an earlier ledger did not have. */
exports.since = (earlier, ledger) => exports.ours(ledger).filter((e) => e.seq > Math.max(0, ...earlier.map((x) => x.seq)));

/** rows: arrays of texts; numbers are put to the right. */
exports.table = (head, rows) => {
  const width = head.map((h, i) => Math.max(h.length, ...rows.map((r) => r[i].length)));
  const line = (cells, pad) => '   ' + cells.map((c, i) => ' ' + pad(c, i) + ' ').join('|').trimEnd();
  const right = (i) => rows.every((r) => /^-?[\d,.]*$/.test(r[i]));
  console.log(line(head, (c, i) => c.padStart(Math.ceil((width[i] + c.length) / 2)).padEnd(width[i])));
  console.log('   ' + width.map((w) => '-'.repeat(w + 2)).join('+'));
  for (const r of rows) console.log(line(r, (c, i) => (right(i) ? c.padStart(width[i]) : c.padEnd(width[i]))));
};

exports.number = (n, digits = 0) => n.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
