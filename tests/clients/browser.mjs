// The page of a relation in a browser: its rows, a filter, and changes as they come. What the page showed goes to standard output.
// Usage: node browser.mjs CHROMIUM http://127.0.0.1:PORT [told]
// With `told` the rows are changed by who started this: a line `put SYMBOL QTY PRICE` asks for it.
import {chromium} from 'playwright-core';
import WebSocket from 'ws';

const [executablePath, base, told] = process.argv.slice(2);
const writer = told ? null : new WebSocket(base.replace(/^http/, 'ws') + '/ws');
if (writer) await new Promise(resolve => writer.on('open', resolve));
let number = 0;
function put(symbol, qty, price) {
  if (told) console.log(`put ${symbol} ${qty} ${price}`);
  else writer.send(JSON.stringify({type: 'publish', id: String(++number), stream: 'Puts', row: {symbol, qty, price}}));
}

const browser = await chromium.launch({executablePath, args: ['--no-sandbox']});
const page = await browser.newPage();
page.on('pageerror', error => console.log('error on the page: ' + error.message));
await page.goto(base + '/live/positions');

// Waits until the table shows these symbols and quantities, in any order.
async function shows(what, rows) {
  const texts = () => page.$$eval('#rows tr', all => all.map(row => [...row.cells].slice(0, 2).map(cell => cell.textContent).join(' ')).sort().join(', '));
  for (let tries = 0; tries < 400 && await texts() !== rows; tries++) await new Promise(resolve => setTimeout(resolve, 50));
  console.log(`${what}: ${await texts()}`);
}

await shows('rows', 'ACME 1, IBM 5');
await page.fill('#filter', 'price >= 100');
await page.click('#form button');
await shows('filtered', 'ACME 1');
put('IBM', 5, 130);
await shows('one enters', 'ACME 1, IBM 5');
put('ACME', 2, 125);
await shows('one changes', 'ACME 2, IBM 5');
put('ACME', 2, 5);
await shows('one leaves', 'IBM 5');
await browser.close();
writer?.close();
