'use strict';
// Small helpers without state: ids, dates, member names.

const crypto = require('crypto');

const HOUR = 3600 * 1000;
const DAY = 24 * HOUR;
const GUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

const isGuid = (text) => typeof text === 'string' && GUID.test(text);

/** A GUID that is always the same for the same text, so that scenarios are reproducible. */
function guidFrom(text) {
  const h = crypto.createHash('sha1').update(text).digest('hex');
  const variant = (8 + (parseInt(h[16], 16) & 3)).toString(16);
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-4${h.slice(13, 16)}-${variant}${h.slice(17, 20)}-${h.slice(20, 32)}`;
}

/** Deterministic random numbers (mulberry32): one seed, one sequence. */
function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const midnight = (ms) => Math.floor(ms / DAY) * DAY;
const dayOf = (ms) => Math.floor(ms / DAY);

/** Adds calendar months to a midnight; the anchor keeps the 31st alive through February. */
function addMonths(ms, months, anchor) {
  const d = new Date(ms);
  const first = Date.UTC(d.getUTCFullYear(), d.getUTCMonth() + months, 1);
  const f = new Date(first);
  const last = new Date(Date.UTC(f.getUTCFullYear(), f.getUTCMonth() + 1, 0)).getUTCDate();
  return first + (Math.min(anchor || d.getUTCDate(), last) - 1) * DAY;
}

const MONTHS = { P1M: 1, P1Y: 12, P2Y: 24, P3Y: 36 };
const termMonths = (term) => MONTHS[term] || 1;

/** 2026-01-14T00:00:00Z */
const isoSeconds = (ms) => new Date(ms).toISOString().slice(0, 19) + 'Z';
/** Partner Center prints up to seven digits of a second. */
const isoLong = (ms) => new Date(ms).toISOString().slice(0, 23) + String(1000 + (Math.abs(ms) % 9000)).slice(0, 4) + 'Z';
const isoMs = (ms) => new Date(ms).toISOString();

/** Times are UTC even where the zone is missing. */
function parseTime(text) {
  if (typeof text === 'number') return text;
  let s = String(text).trim();
  if (/^\d{4}-\d\d-\d\d$/.test(s)) s += 'T00:00:00Z';
  else if (!/(Z|[+-]\d\d:?\d\d)$/i.test(s)) s += 'Z';
  const ms = Date.parse(s.replace(/(\.\d{3})\d+/, '$1'));
  return Number.isNaN(ms) ? null : ms;
}

/** Requests may use any casing of member names: compare them in lower case. */
function lowerKeys(value) {
  if (Array.isArray(value)) return value.map(lowerKeys);
  if (value && typeof value === 'object') {
    const out = {};
    for (const k of Object.keys(value)) out[k.toLowerCase()] = lowerKeys(value[k]);
    return out;
  }
  return value;
}

function pascalKeys(value) {
  if (Array.isArray(value)) return value.map(pascalKeys);
  if (value && typeof value === 'object') {
    const out = {};
    for (const k of Object.keys(value)) out[k.charAt(0).toUpperCase() + k.slice(1)] = pascalKeys(value[k]);
    return out;
  }
  return value;
}

const round = (n) => Math.round(n * 1e6) / 1e6;
const link = (uri) => ({ uri, method: 'GET', headers: [] });
const asList = (value) => (value === undefined || value === null ? [] : Array.isArray(value) ? value : [value]);

module.exports = {
  HOUR, DAY, isGuid, guidFrom, random, midnight, dayOf, addMonths, termMonths,
  isoSeconds, isoLong, isoMs, parseTime, lowerKeys, pascalKeys, round, link, asList,
};
