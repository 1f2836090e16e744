'use strict';
// A scenario by name: msp, scale:N[,users=..], or a JSON file.

const fs = require('fs');

function loadScenario(name) {
  if (typeof name !== 'string') return name;
  if (name === 'msp') return require('./msp')();
  if (/^scale(:|$)/.test(name)) return require('./scale')(name);
  return JSON.parse(fs.readFileSync(name, 'utf8'));
}

module.exports = { loadScenario };
