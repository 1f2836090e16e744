'use strict';
// A log of what callers asked for, so that tests can count and look.

const KEEP = 200000;

class Requests {
  constructor() {
    this.entries = [];
    this.first = 1;
    this.total = 0;
    this.counts = {};
    this.mutating = 0;
    this.replayed = 0;
  }

  begin(entry, keep) {
    entry.seq = ++this.total;
    this.counts[entry.kind] = (this.counts[entry.kind] || 0) + 1;
    if (entry.mutating) this.mutating++;
    if (keep) {
      this.entries.push(entry);
      if (this.entries.length > KEEP) { this.entries.splice(0, KEEP / 2); this.first = this.entries[0].seq; }
    }
    return entry;
  }

  since(seq) {
    return this.entries.filter((e) => e.seq > seq);
  }

  clear() {
    this.entries = [];
    this.counts = {};
    this.mutating = 0;
    this.replayed = 0;
  }
}

module.exports = { Requests };
