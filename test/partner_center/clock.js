'use strict';
// The emulator's idea of now: the real clock plus an offset, or a moment that stands still.
// Time never runs backwards, because what happened at a renewal cannot be undone.

class Clock {
  constructor(real = Date.now) {
    this.real = real;
    this.offset = 0;
    this.frozen = null;
  }

  now() {
    return this.frozen === null ? this.real() + this.offset : this.frozen;
  }

  /** Start of a scenario: any moment is allowed. */
  start(ms) {
    this.offset = ms === undefined ? 0 : ms - this.real();
    this.frozen = null;
  }

  moveTo(ms) {
    if (ms < this.now()) throw new Error('the clock cannot be moved backwards; load the scenario again');
    if (this.frozen !== null) this.frozen = ms;
    else this.offset = ms - this.real();
  }

  freeze(on) {
    if (on) this.frozen = this.now();
    else if (this.frozen !== null) {
      this.offset = this.frozen - this.real();
      this.frozen = null;
    }
  }
}

module.exports = { Clock };
