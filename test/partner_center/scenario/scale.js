'use strict';
// Many customers for benchmarks: scale:N[,subscriptions=5][,users=5][,seats=5]
// Customers are made when somebody looks at them, so that a distributor's third of a million fits.

const { DAY, midnight } = require('../util');

const PRODUCTS = [
  ['CFQ7TTC0LCHC:0002', 'SPB'], ['CFQ7TTC0HL8W:0001', 'POWER_BI_PRO'], ['CFQ7TTC0LHT4:0001', 'EMS'],
  ['CFQ7TTC0HD32:0001', 'VISIOCLIENT'], ['CFQ7TTC0LHSL:0001', 'MCOMEETADV'], ['CFQ7TTC0LH18:0001', 'O365_BUSINESS_ESSENTIALS'],
  ['CFQ7TTC0LFLX:0001', 'SPE_E3'], ['CFQ7TTC0HDB0:0002', 'PROJECTPROFESSIONAL'], ['CFQ7TTC0LFLS:0002', 'AAD_PREMIUM'],
];

function scale(text) {
  const [, ...rest] = text.split(':');
  const numbers = { subscriptions: 5, users: 5, seats: 5 };
  const parts = rest.join(':').split(',').filter(Boolean);
  const count = Number(parts.shift() || 1000);
  for (const p of parts) {
    const [k, v] = p.split('=');
    if (!(k in numbers)) throw new Error(`scale: unknown setting "${k}"`);
    numbers[k] = Number(v);
  }
  if (!Number.isInteger(count) || count < 1) throw new Error('scale: the number of customers is missing');
  const base = midnight(Date.now());
  const id = (i) => `5ca1e000-0000-4000-8000-${i.toString(16).padStart(12, '0')}`;
  const profile = (i) => ({ id: id(i), name: `Scale Customer ${String(i + 1).padStart(6, '0')}`, domain: `customer${i + 1}.example` });

  function customer(i) {
    const subscriptions = [];
    const consumed = {};
    for (let n = 0; n < numbers.subscriptions; n++) {
      const [product, part] = PRODUCTS[n % PRODUCTS.length];
      const quantity = numbers.seats + ((i + n) % 7);
      subscriptions.push({
        id: `5ca1e0${(n % 256).toString(16).padStart(2, '0')}-0000-4000-9000-${i.toString(16).padStart(12, '0')}`,
        product, quantity, term: 'P1Y', cycle: 'monthly', started: new Date(base - (30 + ((i * 13 + n * 41) % 300)) * DAY).toISOString(),
      });
      // Every third pool is exactly used, the others have a few seats to spare.
      consumed[part] = (consumed[part] || 0) + quantity - ((i + n) % 3);
    }
    const assigned = {};
    const first = PRODUCTS[0][1];
    if (numbers.users && consumed[first]) {
      assigned[first] = Math.min(numbers.users, consumed[first]);
      consumed[first] -= assigned[first];
    }
    return { ...profile(i), subscriptions, extra_consumed: consumed, user_count: numbers.users, assigned };
  }

  return {
    options: { requests_per_minute: 0, log_requests: false },
    accounts: [{
      name: 'main', domain: 'scale.example', client_id: '5d2e3b64-1f0a-4c1e-9d6b-000000000002',
      tenant_id: '0f6f4f7e-3d0b-4d8a-9a53-000000000002', client_secret: 'emulated~secret', refresh_token: '0.AX0A-emulated-refresh-token',
    }],
    lazy: {
      count,
      profile,
      customer,
      indexOf: (text2) => {
        if (!text2.startsWith('5ca1e000-0000-4000-8000-')) return -1;
        const i = parseInt(text2.slice(24), 16);
        return i < count ? i : -1;
      },
    },
  };
}

module.exports = scale;
