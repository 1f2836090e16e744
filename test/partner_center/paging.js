'use strict';
// Pages and their tokens. A token is opaque and holds characters that must be sent back verbatim.

const crypto = require('crypto');
const { errors } = require('./errors');

class Pages {
  constructor() {
    this.tokens = new Map();
  }

  issue({ token: ignored, ...cursor }) {
    const noise = crypto.randomBytes(18).toString('base64');
    const token = `${noise.slice(0, 8)}/+,${noise.slice(8)}==,/${this.tokens.size}=`;
    this.tokens.set(token, cursor);
    if (this.tokens.size > 20000) this.tokens.delete(this.tokens.keys().next().value);
    return token;
  }

  /**
   * Where this request wants to start: {from, size, filter}. `what` ties a token to its collection.
   * The token travels in the header only, with seekOperation=Next where the collection asks for it.
   */
  position(request, options, what, { seek = true } = {}) {
    const token = request.headers['ms-continuationtoken'];
    const wantsNext = (request.query.get('seekOperation') || '').toLowerCase() === 'next';
    if (token) {
      const cursor = this.tokens.get(token);
      if (!cursor || cursor.what !== what) throw errors.input('The continuation token is invalid.');
      if (seek && !wantsNext) throw errors.input('A continuation token needs seekOperation=Next.');
      return { ...cursor, token };
    }
    if (wantsNext) throw errors.input('seekOperation=Next needs the header MS-ContinuationToken.');
    const given = request.query.get('size');
    let size = Number(given || 0);
    if (!Number.isInteger(size) || size < 0) throw errors.input('The page size is invalid.');
    if (size === 0) size = options.page_size;
    return { what, from: 0, size: Math.min(size, options.page_size_max), filter: request.query.get('filter') };
  }

  /** The collection for one page. `more` says whether items follow. */
  collection(items, position, more, uri, options) {
    const links = { self: { uri, method: 'GET', headers: [] } };
    const body = { totalCount: items.length, items, links, attributes: { objectType: 'Collection' } };
    const headers = {};
    const trailing = !more && options.trailing_empty_page && items.length > 0;
    const endless = options.endless_paging;
    if (more || trailing || endless !== 'off') {
      // "same": who asks with a token gets the same page and the same token, for ever.
      const token = endless === 'same' && position.token ? position.token : this.issue({ ...position, from: position.from + items.length });
      const where = options.page_token;
      if (where === 'links' || where === 'all')
        links.next = {
          uri: uri.split('?')[0] + `?size=${position.size}&seekOperation=Next`,
          method: 'GET',
          headers: [{ key: 'MS-ContinuationToken', value: token }],
        };
      if (where === 'body' || where === 'all') body.continuationToken = token;
      if (where === 'header' || where === 'all') headers['ms-continuationtoken'] = token;
    }
    return { status: 200, body, headers };
  }
}

/** {"Field":..,"Value":..,"Operator":..} -> predicate over the values that `fields` gives. */
function filterBy(text, fields) {
  if (!text) return () => true;
  let filter;
  try {
    filter = JSON.parse(text);
  } catch {
    throw errors.input('The filter is not valid JSON.');
  }
  const get = fields[String(filter.Field || '').toLowerCase()];
  if (!get) throw errors.input('The filter field is not supported.');
  const wanted = String(filter.Value).toLowerCase();
  const test = {
    equals: (v) => v === wanted,
    not_equals: (v) => v !== wanted,
    substring: (v) => v.includes(wanted),
    starts_with: (v) => v.startsWith(wanted),
    not_starts_with: (v) => !v.startsWith(wanted),
  }[String(filter.Operator || '').toLowerCase()];
  if (!test) throw errors.input('The filter operator is not supported.');
  return (item) => test(String(get(item) ?? '').toLowerCase());
}

module.exports = { Pages, filterBy };
