'use strict';
// Over real sockets: the process, HTTP/1.1, HTTP/2, and answers the network spoils.
const test = require('node:test');
const assert = require('node:assert');
const { execFileSync, spawn } = require('child_process');
const fs = require('fs');
const http = require('http');
const http2 = require('http2');
const https = require('https');
const os = require('os');
const path = require('path');
const { Emulator } = require('../server');
const { loadScenario } = require('../scenario/load');

const here = path.join(__dirname, '..');

function certificate() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'emulator-'));
  execFileSync(path.join(here, 'certificate.sh'), [dir]);
  const read = (f) => fs.readFileSync(path.join(dir, f));
  const made = { ca: read('ca.pem'), cert: read('server.pem'), key: read('server.key'), dir };
  return made;
}

const request = (lib, options, body) => new Promise((resolve, reject) => {
  const r = lib.request({ agent: false, ...options }, (res) => {
    const chunks = [];
    res.on('data', (c) => chunks.push(c));
    res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, body: Buffer.concat(chunks), complete: res.complete }));
    res.on('error', reject);
    res.on('aborted', () => reject(new Error('aborted')));
  });
  r.on('error', reject);
  r.end(body);
});

const h2request = (session, headers, body) => new Promise((resolve, reject) => {
  const s = session.request(headers, { endStream: !body });
  const chunks = [];
  let answer;
  s.on('response', (h) => { answer = h; });
  s.on('data', (c) => chunks.push(c));
  s.on('end', () => answer && resolve({ status: answer[':status'], headers: answer, body: Buffer.concat(chunks) }));
  s.on('error', reject);
  s.on('close', () => reject(new Error('closed')));
  if (body) s.end(body);
});

const form = (a) => new URLSearchParams({
  grant_type: 'refresh_token', client_id: a.client_id, client_secret: a.client_secret, refresh_token: a.refresh_token,
  scope: 'https://api.partnercenter.microsoft.com/.default',
}).toString();

async function servers(options) {
  const made = certificate();
  const emulator = new Emulator(loadScenario('msp'), { options });
  const port = await emulator.listenPlain(0);
  const tls = await emulator.listenTls(0, made.cert, made.key);
  const a = emulator.world.accounts[0];
  const t = await request(http, { port, method: 'POST', path: `/${a.domain}/oauth2/v2.0/token`, headers: { 'content-type': 'application/x-www-form-urlencoded' } }, form(a));
  const authorization = `Bearer ${JSON.parse(t.body).access_token}`;
  const fault = (rule) => request(http, { port, method: 'POST', path: '/_emulator/faults' }, JSON.stringify(rule));
  return { emulator, port, tls, authorization, fault, ...made, close: () => { emulator.close(); fs.rmSync(made.dir, { recursive: true }); } };
}

test('the process: one line when ready, API over HTTP/1.1, HTTP/2 and TLS, end on SIGTERM', async () => {
  const { dir, ca } = certificate();
  const child = spawn(process.execPath, [path.join(here, 'server.js'), '--tls-port', '0', '--cert', `${dir}/server.pem`, '--key', `${dir}/server.key`, '--scenario', 'msp'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const line = await new Promise((resolve) => child.stdout.once('data', (d) => resolve(d.toString())));
  const ready = JSON.parse(line);
  assert.strictEqual(ready.pid, child.pid);
  const accounts = JSON.parse((await request(http, { port: ready.port, path: '/_emulator/accounts' })).body);
  assert.ok(accounts[0].client_secret);
  const over1 = await request(https, { port: ready.tls_port, ca, host: 'localhost', path: '/v1/customers' });
  assert.strictEqual(over1.status, 401);
  assert.strictEqual((await request(https, { port: ready.tls_port, ca, host: 'localhost', path: '/_emulator/state' })).status, 404, 'control on the plain port only');
  const session = http2.connect(`https://localhost:${ready.tls_port}`, { ca });
  assert.strictEqual((await h2request(session, { ':path': '/v1/customers' })).status, 401);
  session.close();
  const ended = new Promise((resolve) => child.once('exit', (code) => resolve(code)));
  child.kill('SIGTERM');
  assert.strictEqual(await ended, 0);
  fs.rmSync(dir, { recursive: true });
});

test('HTTP/2: many streams on one connection, bodies in both directions, none lost', async (t) => {
  const s = await servers({ requests_per_minute: 0 });
  t.after(s.close);
  const session = http2.connect(`https://localhost:${s.tls}`, { ca: s.ca });
  const customers = JSON.parse((await h2request(session, { ':path': '/v1/customers?size=100', authorization: s.authorization })).body).items;
  assert.strictEqual(customers.length, 45);
  for (let round = 0; round < 20; round++) {
    const all = await Promise.all(customers.map((c) => h2request(session, { ':path': `/v1/customers/${c.id}/subscriptions`, authorization: s.authorization })));
    assert.ok(all.every((r) => r.status === 200 && JSON.parse(r.body).items.length > 0));
  }
  const id = customers[0].id;
  const sub = JSON.parse((await h2request(session, { ':path': `/v1/customers/${id}/subscriptions`, authorization: s.authorization })).body).items[0];
  const r = await h2request(session, { ':method': 'PATCH', ':path': `/v1/customers/${id}/subscriptions/${sub.id}`, authorization: s.authorization, 'content-type': 'application/json' }, JSON.stringify({ ...sub, quantity: 29 }));
  assert.deepStrictEqual([r.status, JSON.parse(r.body).quantity], [200, 29]);
  session.close();
});

test('spoiled answers over both protocols', async (t) => {
  const s = await servers();
  t.after(s.close);
  const session = http2.connect(`https://localhost:${s.tls}`, { ca: s.ca });
  session.on('error', () => {});
  const over1 = () => request(http, { port: s.port, path: '/v1/customers', headers: { authorization: s.authorization } });
  const over2 = () => h2request(session, { ':path': '/v1/customers', authorization: s.authorization });
  for (const get of [over1, over2]) {
    const one = (rule) => s.fault({ match: { kind: 'customers' }, count: 1, ...rule });
    await one({ action: 'garbage' });
    assert.strictEqual((await get()).body[0], 0xff);
    await one({ action: 'html' });
    assert.match((await get()).headers['content-type'], /html/);
    await one({ action: 'empty' });
    assert.strictEqual((await get()).body.length, 0);
    await one({ action: 'huge', bytes: 3000000 });
    assert.ok((await get()).body.length > 3000000);
    await one({ action: 'slow', ms: 100 });
    assert.strictEqual(JSON.parse((await get()).body).items.length, 45);
    await one({ action: 'content_type', content_type: 'text/plain' });
    assert.strictEqual((await get()).headers['content-type'], 'text/plain');
    await one({ action: 'truncate', clean: true });
    const cut = (await get()).body;
    assert.throws(() => JSON.parse(cut));
    await one({ action: 'truncate' });
    await assert.rejects(get());
    await one({ action: 'reset_before', scope: 'stream' });
    await assert.rejects(get());
    await one({ action: 'goaway' });
    assert.strictEqual((await get()).status, 200);
    if (get === over2) assert.ok(session.closed || session.destroyed || await new Promise((r) => session.once('goaway', () => r(true))));
  }
  session.destroy();
});

test('keep-alive: one connection serves many requests', async (t) => {
  const s = await servers();
  t.after(s.close);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  for (let i = 0; i < 20; i++)
    assert.strictEqual((await request(http, { agent, port: s.port, path: '/v1/customers?size=1', headers: { authorization: s.authorization } })).status, 200);
  assert.strictEqual(s.emulator.connections, 2, 'the one of the token and the kept one');
  agent.destroy();
});
