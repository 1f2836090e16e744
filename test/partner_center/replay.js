'use strict';
// Memory of MS-RequestId. A change that is sent again under the id it had returns the first
// answer, business refusals included: the caller must take a new id once it has an answer. What never
// got as far as a decision (token, throttling, failures) does not come here.

class Replay {
  constructor() {
    this.answers = new Map();
  }

  key(account, request) {
    const id = request.headers['ms-requestid'];
    return id ? `${account.tenant_id}|${id.toLowerCase()}|${request.method}|${request.path.toLowerCase()}` : null;
  }

  find(key, now, options) {
    if (!key || !options.request_id_memory_seconds) return null;
    const found = this.answers.get(key);
    if (!found) return null;
    if (found.at + options.request_id_memory_seconds * 1000 < now) {
      this.answers.delete(key);
      return null;
    }
    return found.answer;
  }

  remember(key, now, options, answer) {
    if (!key || !options.request_id_memory_seconds) return;
    this.answers.set(key, { at: now, answer });
    if (this.answers.size > 100000) this.answers.delete(this.answers.keys().next().value);
  }

  forget() {
    const n = this.answers.size;
    this.answers.clear();
    return n;
  }
}

module.exports = { Replay };
