'use strict';
// Requests per minute and partner tenant, over a sliding minute of real time.
// Requests that were refused count as well: hammering does not help.

const { ApiError } = require('./errors');

class Throttle {
  constructor(real = Date.now) {
    this.real = real;
    this.tenants = new Map();
    this.refused = 0;
  }

  check(tenant, options) {
    const limit = options.requests_per_minute;
    if (!limit) return;
    const second = Math.floor(this.real() / 1000);
    let seen = this.tenants.get(tenant);
    if (!seen) this.tenants.set(tenant, (seen = { sum: 0, buckets: [] }));
    while (seen.buckets.length && seen.buckets[0][0] <= second - 60) seen.sum -= seen.buckets.shift()[1];
    const last = seen.buckets[seen.buckets.length - 1];
    if (last && last[0] === second) last[1]++;
    else seen.buckets.push([second, 1]);
    seen.sum++;
    if (seen.sum <= limit) return;
    let excess = seen.sum - limit + 1;
    let wait = 60;
    for (const [at, n] of seen.buckets) {
      excess -= n;
      if (excess <= 0) { wait = at + 60 - second; break; }
    }
    this.refused++;
    throw tooMany(wait, options.throttle_body === 'mixed' ? (this.refused % 2 ? 'gateway' : 'partner') : options.throttle_body);
  }
}

/** Two shapes exist: the gateway in front answers differently from Partner Center itself. */
function tooMany(seconds, shape) {
  const headers = { 'retry-after': String(seconds) };
  if (shape === 'partner')
    return new ApiError(429, 429, `Too many requests. Retry after ${seconds} seconds.`, { headers });
  return new ApiError(429, 429, 'Rate limit is exceeded.', {
    headers,
    raw: { statusCode: 429, message: `Rate limit is exceeded. Try again in ${seconds} seconds.` },
  });
}

module.exports = { Throttle, tooMany };
