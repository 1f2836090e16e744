'use strict';
// From an object to the bytes on the wire, with the habits real bodies show.

const { pascalKeys } = require('./util');

const BOM = Buffer.from([0xef, 0xbb, 0xbf]);

function quirksFor(options, kind) {
  return { ...options.quirks, ...(options.quirks_by_kind[kind] || {}) };
}

function render(value, quirks) {
  let v = value;
  if (quirks.omit) v = omit(v, new Set(quirks.omit.map((n) => n.toLowerCase())));
  if (!quirks.nulls) v = dropNulls(v);
  if (quirks.pascal) v = pascalKeys(v);
  const text = quirks.pretty ? JSON.stringify(v, null, 2).replace(/\n/g, '\r\n') : JSON.stringify(v);
  const body = Buffer.from(text, 'utf8');
  return quirks.bom ? Buffer.concat([BOM, body]) : body;
}

function omit(value, names) {
  if (Array.isArray(value)) return value.map((v) => omit(v, names));
  if (value && typeof value === 'object') {
    const out = {};
    for (const k of Object.keys(value)) if (!names.has(k.toLowerCase())) out[k] = omit(value[k], names);
    return out;
  }
  return value;
}

function dropNulls(value) {
  if (Array.isArray(value)) return value.map(dropNulls);
  if (value && typeof value === 'object') {
    const out = {};
    for (const k of Object.keys(value)) if (value[k] !== null && value[k] !== undefined) out[k] = dropNulls(value[k]);
    return out;
  }
  return value;
}

module.exports = { render, quirksFor };
