'use strict';
// What is billed at several moments, as a table: node bill.js TITLE=BOOKS...
const { read, table, number } = require('./books');

table(['', 'seats billed', 'a day, USD', 'a year at that'], process.argv.slice(2).map((argument) => {
  const [title, file] = argument.split('=');
  const { bill } = read(file);
  return [title, number(bill.seat_days), number(bill.amount, 2), number(bill.amount * 365)];
}));
