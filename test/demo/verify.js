'use strict';
// Is the end as the rules say?  Looks at Partner Center's books alone: the state before and after the night, and the
// ledger in between.  node verify.js BEFORE AFTER LEDGER
const fs = require('fs');
const read = (file) => JSON.parse(fs.readFileSync(file, 'utf8'));
const [before, after, ledger] = process.argv.slice(2).map(read);

let wrong = 0;
let checked = 0;
const check = (ok, what) => {
  checked++;
  if (!ok) { wrong++; console.log(`   NOT AS IT SHOULD BE: ${what}`); }
};
const DEVICE_OR_TENANT = ['MEETING_ROOM', 'SHAREPOINTSTORAGE'];
const SPARE = { 'Northwind Plumbing': 1 };
const OFF = ['Umber Paints'];
const ours = (c, part) => c.subscriptions.filter((s) => s.part_number === part && s.status === 'active' && !s.trial);
const seats = (c, part) => ours(c, part).reduce((n, s) => n + s.quantity, 0);

for (const was of before.customers) {
  const is = after.customers.find((c) => c.id === was.id);
  const changed = (s) => ledger.some((e) => e.subscription === s.id && /^app/.test(e.actor));

  // What must never be touched
  const hands_off = !was.licence_access ? 'licence usage cannot be read' : OFF.includes(was.name) ? 'switched off' : null;
  for (const s of was.subscriptions) {
    const why = hands_off || (s.trial && 'a trial') || (DEVICE_OR_TENANT.includes(s.part_number) && 'never assigned to users')
      || (s.status === 'suspended' && 'suspended by a person') || (s.scheduled_next && 'a person has scheduled the next term')
      || (!s.auto_renew && 'a person lets it end');
    if (why) check(!changed(s), `${was.name}: ${s.part_number} was changed although: ${why}`);
  }

  for (const pool of was.pools) {
    const now = is.pools.find((p) => p.sku_id === pool.sku_id);
    const part = pool.part_number;
    check(now.consumed === pool.consumed, `${was.name} ${part}: somebody lost a licence`);
    const owned = seats(was, part);
    const left = seats(is, part);
    if (owned === left) continue;
    const floor = pool.consumed + (SPARE[was.name] || 0);
    check(left >= Math.min(owned, floor), `${was.name} ${part}: ${left} seats left for ${floor} needed`);
    check(now.active >= now.consumed, `${was.name} ${part}: ${now.active} seats for ${now.consumed} holders`);
  }

  // Legacy goes down to what is needed, and like subscriptions end as one
  for (const part of new Set(was.subscriptions.filter((s) => s.commerce === 'legacy' && s.status === 'active').map((s) => s.part_number))) {
    const legacy = ours(was, part);
    if (hands_off || legacy.some((s) => s.commerce !== 'legacy')) continue;
    const pool = was.pools.find((p) => p.part_number === part);
    const minimum = part === 'PROJECTPROFESSIONAL' ? 5 : 1;
    const want = Math.max(pool.consumed + (SPARE[was.name] || 0), minimum);
    check(seats(is, part) === Math.min(seats(was, part), want), `${was.name} ${part}: ${seats(is, part)} legacy seats, ${want} are needed`);
    if (legacy.length > 1 && new Set(legacy.map((s) => s.offer)).size === 1)
      check(ours(is, part).length === 1, `${was.name} ${part}: ${ours(is, part).length} legacy subscriptions of one offer`);
  }
}

// New commerce went down only inside windows, and raises came before what they replace
for (const e of ledger) {
  if (e.action === 'lower' && e.credited)
    check(e.credited.every((b) => new Date(b.until || b.deadline || '9999') > new Date(e.time)), `seats credited from a closed window at ${e.time}`);
}
const merged = after.customers.find((c) => c.name === 'Fabrikam Dental');
const steps = ledger.filter((e) => e.customer === merged.id && ['raise', 'lower', 'suspend'].includes(e.action)).map((e) => e.action);
check(steps[0] === 'raise' && steps.filter((x) => x === 'suspend').length === 2, `Fabrikam Dental: merged by ${steps.join(', ')}`);
let supply = seats(before.customers.find((c) => c.id === merged.id), 'O365_BUSINESS_PREMIUM');
for (const e of ledger.filter((x) => x.customer === merged.id && ['raise', 'lower', 'suspend'].includes(x.action))) {
  supply += e.action === 'suspend' ? -e.before.quantity : e.after.quantity - e.before.quantity;
  check(supply >= 17, `Fabrikam Dental: only ${supply} seats for 17 holders at ${e.time}`);
}

console.log(`   ${checked} checks, ${wrong} wrong`);
process.exit(wrong ? 1 : 0);
