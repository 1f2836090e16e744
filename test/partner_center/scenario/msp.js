'use strict';
// A small managed service provider: 45 customers, about 1,100 seats, every kind of subscription
// that spinpanel has an opinion on. The same every time, apart from dates, which count from now.

const { random } = require('../util');

const NAMES = [
  'Contoso Bakery', 'Fabrikam Dental', 'Northwind Plumbing', 'Adventure Cycles', 'Tailspin Toys', 'Wingtip Shoes',
  'Litware Legal', 'Proseware Prints', 'Lucerne Books', 'Margie Travel', 'Alpine Ski House', 'Blue Yonder Pets',
  'Coho Vineyard', 'Fourth Coffee', 'Graphic Garage', 'Humongous Tents', 'Lamna Care Home', 'Munson Pickles',
  'Nod Mattresses', 'Relecloud Radio', 'School of Fine Clay', 'Southridge Video', 'Trey Roofing', 'VanArsdel Lifts',
  'Wide World Crates', 'Woodgrove Credit', 'First Up Nannies', 'Bellows Stoves', 'Best For You Soap', 'Fincher Glass',
  'Liberty Lanterns', 'Olive Corner', 'Parnell Aero', 'Pinecone Daycare', 'Quartz Audio', 'Riverbank Canoes',
  'Sunny Side Eggs', 'Tidewater Nets', 'Umber Paints', 'Velvet Looms', 'Willow Clinic', 'Xenon Signs', 'Yarrow Herbs',
  'Zephyr Kites', 'Cobalt Tiles',
];

const P = {
  basic: 'CFQ7TTC0LH18:0001', standard: 'CFQ7TTC0LDPB:0001', premium: 'CFQ7TTC0LCHC:0002', e3: 'CFQ7TTC0LFLX:0001',
  exchange: 'CFQ7TTC0LH16:0001', ems: 'CFQ7TTC0LHT4:0001', powerbi: 'CFQ7TTC0HL8W:0001', visio: 'CFQ7TTC0HD32:0001',
  rooms: 'CFQ7TTC0QW7C:0001', storage: 'CFQ7TTC0LHS9:0001', trial: 'CFQ7TTC0LCHC:0003',
};

function msp() {
  const roll = random(4711);
  const between = (a, b) => a + Math.floor(roll() * (b - a + 1));
  const customers = NAMES.map((name, i) => customer(name, i, between));
  return {
    accounts: [{
      name: 'main', domain: 'msp.example', client_id: '5d2e3b64-1f0a-4c1e-9d6b-000000000001',
      tenant_id: '0f6f4f7e-3d0b-4d8a-9a53-000000000001', client_secret: 'emulated~secret+with/odd=characters', refresh_token: '0.AX0A-emulated-refresh-token',
    }],
    customers,
  };
}

/** The first customers are fixed cases, the rest vary around one main product. */
function customer(name, i, between) {
  const domain = `${name.toLowerCase().replace(/[^a-z]+/g, '')}.example`;
  const c = { name, domain, country: i % 9 === 8 ? 'CA' : 'US', ...(CASES[i] ? CASES[i](between) : ordinary(i, between)) };
  return c;
}

const legacy = (alias, quantity, started_days_ago, extra) => ({ offer: `legacy-${alias}`, quantity, started_days_ago, ...extra });
const nce = (product, quantity, ends_in_days, extra) => ({ product, quantity, term: 'P1Y', cycle: 'monthly', ends_in_days, ...extra });
const monthly = (product, quantity, ends_in_days, extra) => ({ product, quantity, term: 'P1M', cycle: 'monthly', ends_in_days, ...extra });

const CASES = [
  // 0: legacy with seats nobody uses
  () => ({ subscriptions: [legacy('SPB', 30, 400)], user_count: 24, assigned: { SPB: 22 } }),
  // 1: three legacy subscriptions of one offer
  () => ({
    subscriptions: [legacy('O365_BUSINESS_PREMIUM', 12, 700), legacy('O365_BUSINESS_PREMIUM', 8, 500), legacy('O365_BUSINESS_PREMIUM', 5, 300)],
    user_count: 20, assigned: { O365_BUSINESS_PREMIUM: 17 },
  }),
  // 2: legacy base with an add-on
  () => ({
    subscriptions: [
      legacy('EXCHANGESTANDARD', 20, 600, { id: 'a0000000-0000-4000-8000-000000000021' }),
      legacy('EXCHANGEARCHIVE_ADDON', 10, 600, { id: 'a0000000-0000-4000-8000-000000000022', parent: 'a0000000-0000-4000-8000-000000000021' }),
    ],
    user_count: 20, assigned: { EXCHANGESTANDARD: 18, EXCHANGEARCHIVE_ADDON: 6 },
  }),
  // 3: yearly, five seats added three days ago, still refundable
  () => ({
    subscriptions: [nce(P.premium, 35, 120, { batches: [{ quantity: 30, hours_left: -5000 }, { quantity: 5, hours_left: 96 }] })],
    user_count: 30, assigned: { SPB: 28 },
  }),
  // 4: yearly, renewal within the lead
  () => ({ subscriptions: [nce(P.standard, 40, 9)], user_count: 36, assigned: { O365_BUSINESS_PREMIUM: 33 } }),
  // 5: monthly, renewal in a few days
  () => ({ subscriptions: [monthly(P.basic, 25, 4)], user_count: 25, assigned: { O365_BUSINESS_ESSENTIALS: 20 } }),
  // 6: exactly used
  () => ({ subscriptions: [nce(P.e3, 40, 200)], user_count: 40, assigned: { SPE_E3: 40 } }),
  // 7: seats of another supplier in the pool
  () => ({ subscriptions: [nce(P.premium, 15, 180)], foreign_seats: { SPB: 10 }, user_count: 24, assigned: { SPB: 20 } }),
  // 8: no licence access
  () => ({ licence_access: false, subscriptions: [nce(P.standard, 12, 150)], user_count: 10, assigned: { O365_BUSINESS_PREMIUM: 8 } }),
  // 9: a trial beside paid seats
  () => ({
    subscriptions: [nce(P.premium, 20, 90), { product: P.trial, quantity: 25, term: 'P1M', cycle: 'monthly', ends_in_days: 20, auto_renew: false }],
    user_count: 24, assigned: { SPB: 19 },
  }),
  // 10: storage of the tenant and meeting rooms
  () => ({
    subscriptions: [nce(P.standard, 22, 60), nce(P.storage, 50, 60), nce(P.rooms, 4, 60)],
    user_count: 22, assigned: { O365_BUSINESS_PREMIUM: 21 },
  }),
  // 11: a person scheduled fewer seats
  () => ({ subscriptions: [nce(P.premium, 28, 12, { next: 25 })], user_count: 26, assigned: { SPB: 22 } }),
  // 12: a person lets it end
  () => ({ subscriptions: [nce(P.visio, 6, 30, { ends: true }), nce(P.standard, 18, 100)], user_count: 18, assigned: { O365_BUSINESS_PREMIUM: 16, VISIOCLIENT: 2 } }),
  // 13: bought yesterday, can still be cancelled whole
  () => ({ subscriptions: [nce(P.standard, 16, 220), { product: P.powerbi, quantity: 8, term: 'P1Y', cycle: 'annual', started_days_ago: 1 }], user_count: 16, assigned: { O365_BUSINESS_PREMIUM: 15 } }),
  // 14: suspended by a person
  () => ({ subscriptions: [legacy('POWER_BI_PRO', 5, 200, { status: 'suspended', suspended_days_ago: 20 }), nce(P.basic, 14, 75)], user_count: 14, assigned: { O365_BUSINESS_ESSENTIALS: 12 } }),
  // 15: legacy with a minimum
  () => ({ subscriptions: [legacy('PROJECT-min5', 9, 250), nce(P.e3, 26, 140)], user_count: 26, assigned: { SPE_E3: 24, PROJECTPROFESSIONAL: 2 } }),
  // 16: users without usage location, licences through a group
  () => ({
    subscriptions: [nce(P.basic, 12, 45), nce(P.ems, 12, 45)],
    users: [
      { upn: 'newcomer01@lamnacarehome.example', usage_location: null },
      { upn: 'newcomer02@lamnacarehome.example', usage_location: null },
      { upn: 'grouped01@lamnacarehome.example', group_licences: ['EMS'] },
    ],
    user_count: 9, assigned: { O365_BUSINESS_ESSENTIALS: 8 },
  }),
  // 17: more holders than seats, because somebody lowered too far
  () => ({ subscriptions: [nce(P.exchange, 10, 33)], user_count: 12, assigned: { EXCHANGESTANDARD: 11 } }),
];

function ordinary(i, between) {
  const main = [P.basic, P.standard, P.premium, P.exchange][i % 4];
  const part = { [P.basic]: 'O365_BUSINESS_ESSENTIALS', [P.standard]: 'O365_BUSINESS_PREMIUM', [P.premium]: 'SPB', [P.exchange]: 'EXCHANGESTANDARD' }[main];
  const used = between(8, 25);
  const seats = used + (i % 3 === 0 ? 0 : between(1, 4));
  const sub = i % 2 ? nce(main, seats, between(20, 340)) : monthly(main, seats, between(2, 28));
  const c = { subscriptions: [sub], user_count: used + between(0, 3), assigned: { [part]: used } };
  if (i % 5 === 0) {
    c.subscriptions.push(nce(P.powerbi, 3, between(20, 340)));
    c.assigned.POWER_BI_PRO = 2;
  }
  return c;
}

module.exports = msp;
