'use strict';
// How many requests were sent between two moments: node requests.js BOOKS BOOKS
const { read } = require('./books');

const [a, b] = process.argv.slice(2).map((file) => read(file).counts);
console.log(`   ${b.total - a.total} requests, ${b.mutating - a.mutating} of them to change something`);
