'use strict';
// Does Partner Center end as the rules say?  The rules are written down here once more, as simply as this partner
// allows, and asked of Partner Center's books alone: nothing in here looks at spinpanel's tables.
//
//   node check.js BEFORE AFTER SETTLED SECOND LEDGER ROLLED_BACK ASKED LEDGER_ASKED [LATER]
//
// The books before the night, after it, before and after a second one, the ledger up to AFTER; the books after a
// transaction that was rolled back, after licences were asked for, the ledger up to that; the books 15 days later.
const { read, ours, since } = require('./books');

const HOUR = 3600e3;
const DAY = 24 * HOUR;

// What demo.sh has set
const OFF = ['Umber Paints'];
const SPARE = { 'Northwind Plumbing': 1 };
const LIMIT = { 'Contoso Bakery': [10, 4], 'Adventure Cycles': [10, 4] };
const APPROVED = ['Contoso Bakery', 'Fourth Coffee'];
// What it has asked for: users who get the licence, and who lose it
const INCREMENT = ['Umber Paints'];
const ASKED = [
  { customer: 'Sunny Side Eggs', part: 'O365_BUSINESS_ESSENTIALS', get: ['user19'], lose: [] },
  { customer: 'Northwind Plumbing', part: 'EXCHANGESTANDARD', get: ['user19'], lose: [] },
  { customer: 'Umber Paints', part: 'SPB', get: ['user24'], lose: [] },
  { customer: 'Bellows Stoves', part: 'EXCHANGESTANDARD', get: ['user24', 'user25', 'ada', 'ben'], lose: [] },
  { customer: 'Wide World Crates', part: 'O365_BUSINESS_ESSENTIALS', get: ['user17'], lose: ['user16'] },
];
// What Microsoft knows about SKUs and offers, and the books do not show
const NEVER_ASSIGNED = ['MEETING_ROOM'];
const MINIMUM = { PROJECTPROFESSIONAL: 5 };

const [before, after, settled, second] = process.argv.slice(2, 6).map(read);
const ledger = read(process.argv[6]);
const [rolledBack, asked, ledgerAsked] = process.argv.slice(7, 10).map(read);
const later = process.argv[10] ? read(process.argv[10]) : null;
const now = Date.parse(before.state.clock.now);
const sum = (list, f) => list.reduce((n, x) => n + f(x), 0);

// ---- what is to be expected: for each subscription its seats, status and next term ------------------------------

const asItIs = (s) => ({ quantity: s.quantity, status: s.status, auto_renew: s.auto_renew, next: s.scheduled_next?.quantity ?? null });

/** Why nothing of it may change, or null. */
const untouchable = (c, s) =>
  !c.licence_access ? 'licence usage cannot be read'
    : OFF.includes(c.name) ? 'switched off'
      : s.trial ? 'a trial'
        : c.pools.find((p) => p.sku_id === s.sku_id).target_type === 'Tenant' ? 'seats of the tenant'
          : NEVER_ASSIGNED.includes(s.part_number) ? 'never assigned to users'
            : s.status !== 'active' ? 'suspended by a person'
              : s.scheduled_next ? 'a person scheduled the next term'
                : !s.auto_renew ? 'a person lets it end' : null;

/** Several legacy subscriptions become the oldest one, a single one goes down to what is needed. */
function legacy(expected, subscriptions, needed) {
  const [oldest, ...younger] = [...subscriptions].sort((a, b) => Date.parse(a.created) - Date.parse(b.created));
  const minimum = MINIMUM[oldest.part_number] || 1;
  expected.get(oldest.id).quantity = Math.max(needed, minimum);
  for (const s of younger) Object.assign(expected.get(s.id), { quantity: 1, status: 'suspended' });
  return sum(subscriptions, (s) => s.quantity) - Math.max(needed, minimum);
}

/** Now what open windows take back, the rest at a renewal that is near. */
function nce(expected, s, excess) {
  const want = expected.get(s.id);
  const open = s.batches.filter((b) => Date.parse(b.until) > now + HOUR && Date.parse(b.until) - 7 * DAY <= now - DAY);
  if (excess === s.quantity) {
    if (Date.parse(s.cancel_until) <= now) throw new Error(`${s.id}: an unused subscription of another kind than this check knows`);
    want.status = 'deleted';
    return { removed: excess, whole: true };
  }
  const back = Math.min(excess, sum(open, (b) => b.quantity), s.quantity - 1);
  want.quantity -= back;
  if (excess > back && Date.parse(s.term_end) - now <= 14 * DAY) {
    want.next = s.quantity - excess;
    return { removed: excess };
  }
  return { removed: back };
}

const expected = new Map();
const waiting = [];
const left = new Map(); // subscription -> why it must stand as it was
for (const c of before.state.customers) {
  const mine = new Map(c.subscriptions.map((s) => [s.id, asItIs(s)]));
  let removed = 0;
  let whole = false;
  for (const pool of c.pools) {
    const all = c.subscriptions.filter((s) => s.sku_id === pool.sku_id);
    for (const s of all) if (untouchable(c, s)) left.set(s.id, untouchable(c, s));
    const owned = sum(all.filter((s) => s.status === 'active' && !s.trial), (s) => s.quantity);
    const needed = pool.consumed + (SPARE[c.name] || 0);
    const excess = Math.min(owned, pool.active) - needed;
    const free = all.filter((s) => !untouchable(c, s));
    if (excess <= 0 || free.length === 0) continue;
    if (free.every((s) => s.commerce === 'legacy')) removed += legacy(mine, free, needed);
    else if (free.length === 1) {
      const done = nce(mine, free[0], excess);
      removed += done.removed;
      whole = whole || done.whole;
    } else throw new Error(`${c.name}: a pool of another kind than this check knows`);
  }
  const [percent, seats] = LIMIT[c.name] || [50, 20];
  const owned = sum(c.subscriptions.filter((s) => s.status === 'active' && !s.trial), (s) => s.quantity);
  if (removed > 0 && (whole || removed > Math.max((owned * percent) / 100, seats))) {
    waiting.push(c.name);
    if (!APPROVED.includes(c.name)) for (const s of c.subscriptions) mine.set(s.id, asItIs(s));
  }
  for (const [id, want] of mine) expected.set(id, want);
}

// ---- checks -----------------------------------------------------------------------------------------------------

let failed = 0;
/** wrong: what is not as it should be, in words */
function check(title, wrong) {
  console.log(`   ${wrong.length ? 'NOT' : 'ok '}  ${title}`);
  for (const w of wrong) console.log(`        ${w}`);
  failed += wrong.length ? 1 : 0;
}
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const customer = (books, c) => books.state.customers.find((x) => x.id === c.id);
const subscription = (books, c, s) => customer(books, c).subscriptions.find((x) => x.id === s.id);
const words = (x) => `${x.quantity} seats, ${x.status}${x.next == null ? '' : `, ${x.next} next`}${x.auto_renew ? '' : ', not renewed'}`;
const each = (f) => before.state.customers.flatMap((c) => c.subscriptions.map((s) => f(c, s))).filter(Boolean);

// Suspending and cancelling switch auto-renew off by themselves
const comparable = (x) => (x.status === 'active' ? x : { ...x, auto_renew: null, next: null });
const changed = each((c, s) => !same(comparable(asItIs(s)), comparable(expected.get(s.id))));
check(`${changed.length} of ${expected.size} subscriptions changed, to the seats, status and next term that the rules give them`,
  each((c, s) => {
    const is = comparable(asItIs(subscription(after, c, s)));
    const want = comparable(expected.get(s.id));
    return same(is, want) ? null : `${c.name}, ${s.part_number}: ${words(is)} instead of ${words(want)}`;
  }).concat(after.state.customers.flatMap((c) => (c.subscriptions.length > customer(before, c).subscriptions.length ? [`${c.name}: something was bought`] : []))));

check(`untouched: people's decisions, trials, Tenant and device SKUs, foreign seats, no licence access, switched off (${left.size})`,
  each((c, s) => (left.has(s.id) && (!same(subscription(after, c, s), s) || ours(ledger).some((e) => e.subscription === s.id))
    ? `${c.name}, ${s.part_number}: changed, although ${left.get(s.id)}` : null))
    .concat(before.state.customers.flatMap((c) => c.pools.filter((p) => !same(p.foreign, customer(after, c).pools.find((x) => x.sku_id === p.sku_id).foreign))
      .map((p) => `${c.name}, ${p.part_number}: foreign seats changed`))));

const KEPT = ['name', 'order_id', 'parent', 'term', 'cycle', 'created', 'term_start', 'term_end', 'cancel_until', 'scheduled_actions', 'unit_price'];
check('of what was changed, everything else is as it was', each((c, s) => {
  const is = subscription(after, c, s);
  const other = expected.get(s.id).status === 'active' ? KEPT.filter((k) => !same(is[k], s[k])) : [];
  return other.length ? `${c.name}, ${s.part_number}: ${other.join(', ')}` : null;
}));

// Step by step: no step, in the order of the ledger, leaves a pool with fewer seats than its holders and its reserve.
const low = [];
const quantity = new Map(each((c, s) => [s.id, s]).map(([id, s]) => [id, { quantity: s.quantity, status: s.status }]));
for (const e of ours(ledger).filter((x) => x.subscription && quantity.has(x.subscription))) {
  const c = before.state.customers.find((x) => x.id === e.customer);
  const pool = c.pools.find((p) => p.sku_id === e.sku_id);
  quantity.set(e.subscription, { quantity: e.after.quantity, status: e.after.status });
  const active = pool.foreign.active + sum(c.subscriptions.filter((s) => s.sku_id === e.sku_id), (s) => {
    const q = quantity.get(s.id);
    return q.status === 'active' ? q.quantity : 0;
  });
  const floor = pool.consumed + (SPARE[c.name] || 0);
  if (active < Math.min(floor, pool.active)) low.push(`${c.name}, ${pool.part_number}: ${active} seats for ${floor} at ${e.time}`);
}
check(`none of ${ours(ledger).length} steps took a pool below its assigned seats and its reserve`, low);

check('New Commerce was lowered only inside refund windows, and paid back', ours(ledger).filter((e) => {
  const s = before.state.customers.flatMap((c) => c.subscriptions).find((x) => x.id === e.subscription);
  if (s?.commerce !== 'nce' || !['lower', 'cancel'].includes(e.action)) return false;
  const credited = sum(e.credited || [], (b) => (Date.parse(b.until) > Date.parse(e.time) ? b.quantity : NaN));
  const whole = e.action === 'cancel' && Date.parse(s.cancel_until) > Date.parse(e.time);
  return !(e.amount < 0 && (whole || credited === e.before.quantity - e.after.quantity));
}).map((e) => `${e.subscription}: ${e.action} at ${e.time}`));

const names = waiting.map((n) => `${n}${APPROVED.includes(n) ? '' : ' (still waits)'}`).join(', ');
check(`beyond a limit, nothing before a person's word: ${names}`,
  same([...waiting].sort(), ['Adventure Cycles', 'Contoso Bakery', 'Fourth Coffee']) ? [] : [`by the rules: ${waiting.join(', ')}`]);

const users = (c) => (c.users || []).map((u) => [u.id, u.state, u.usage_location, u.licences, u.group_licences]);
const holders = sum(before.state.customers, (c) => sum(c.pools, (p) => p.consumed));
check(`${holders} licences are held by the same users as before`, before.state.customers.filter((c) =>
  [after, second].some((b) => !same(users(customer(b, c)), users(c)) || !same(customer(b, c).pools.map((p) => p.consumed), c.pools.map((p) => p.consumed))))
  .map((c) => c.name));

const requests = second.counts.total - settled.counts.total;
check(`the second night sent ${requests} requests for ${before.state.customers.length} customers, and changed nothing`, [
  ...(second.counts.mutating === settled.counts.mutating && settled.counts.mutating === after.counts.mutating ? [] : ['it sent changes']),
  ...(same(after.state.customers, second.state.customers) ? [] : ['the books differ']),
  ...(requests <= 2 * before.state.customers.length + 2 ? [] : ['more than two requests for a customer']),
]);

// ---- what was asked for -----------------------------------------------------------------------------------------

check('a transaction that was rolled back sent nothing', [
  ...(same(rolledBack.counts, second.counts) ? [] : [`${rolledBack.counts.total - second.counts.total} requests were sent`]),
  ...(same(rolledBack.state.customers, second.state.customers) ? [] : ['the books differ']),
]);

/** A seat is bought for whoever finds none free, under auto increment for everybody; those who go leave theirs. */
const news = since(ledger, ledgerAsked);
let gained = 0;
let paid = 0;
const wrong = ASKED.flatMap((ask) => {
  const was = second.state.customers.find((c) => c.name === ask.customer);
  const is = customer(asked, was);
  const pool = was.pools.find((p) => p.part_number === ask.part);
  const poolNow = is.pools.find((p) => p.sku_id === pool.sku_id);
  const free = Math.max(0, pool.active - pool.consumed) + ask.lose.length;
  const bought = INCREMENT.includes(ask.customer) ? ask.get.length : Math.max(0, ask.get.length - free);
  gained += ask.get.length;
  paid += bought;

  const found = [];
  const holders = (c) => (c.users || []).filter((u) => u.licences.includes(ask.part)).map((u) => u.upn.split('@')[0]);
  const want = [...holders(was).filter((u) => !ask.lose.includes(u)), ...ask.get].sort();
  if (!same(holders(is).sort(), want)) found.push('the licence is held by others than it should be');
  if (poolNow.consumed !== pool.consumed + ask.get.length - ask.lose.length) found.push(`${poolNow.consumed} seats are assigned`);
  const seats = (c) => sum(c.subscriptions.filter((s) => s.sku_id === pool.sku_id && s.status === 'active'), (s) => s.quantity);
  if (seats(is) !== seats(was) + bought) found.push(`${seats(is)} seats instead of ${seats(was) + bought}`);
  const mine = news.filter((e) => e.customer === was.id);
  const number = (action) => mine.filter((e) => e.action === action).length;
  if (number('raise') !== (bought ? 1 : 0)) found.push(`bought in ${number('raise')} changes`);
  if (number('assign') !== ask.get.length || number('unassign') !== ask.lose.length) found.push('not one assignment for each user');
  if (mine.length !== number('raise') + number('assign') + number('unassign')) found.push('something else was done');
  return found.map((f) => `${ask.customer}: ${f}`);
});
check(`${gained} users got a licence, ${paid} seats were bought for them, each in one change a customer`, wrong);

check('nobody else was touched', asked.state.customers.filter((c) => !ASKED.some((a) => a.customer === c.name) && !same(c, customer(second, c)))
  .map((c) => c.name)
  .concat(same(asked.state.invariants, before.state.invariants) ? [] : ['a pool has more holders than seats']));

if (later) {
  const due = each((c, s) => (expected.get(s.id).next != null && !left.has(s.id) && Date.parse(s.term_end) <= Date.parse(later.state.clock.now) ? [c, s] : null));
  check(`${due.length} subscriptions were renewed with the seats that were scheduled`, due
    .filter(([c, s]) => subscription(later, c, s).quantity !== expected.get(s.id).next)
    .map(([c, s]) => `${c.name}, ${s.part_number}: ${subscription(later, c, s).quantity} instead of ${expected.get(s.id).next}`));
  check('two weeks later nobody lacks a seat who had one', before.state.customers.flatMap((c) => customer(later, c).pools
    .filter((p) => p.active < Math.min(p.consumed, c.pools.find((x) => x.sku_id === p.sku_id).active))
    .map((p) => `${c.name}, ${p.part_number}: ${p.active} seats for ${p.consumed}`)));
}
process.exit(failed ? 1 : 0);
