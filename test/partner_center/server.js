#!/usr/bin/env node
'use strict';
// Command line, listeners, and the line that says they are ready.

const fs = require('fs');
const http = require('http');
const http2 = require('http2');
const { parseArgs } = require('util');
const { World } = require('./world');
const { Clock } = require('./clock');
const { handle } = require('./gateway');
const { control } = require('./control');
const { loadScenario } = require('./scenario/load');
const { onRequest, onStream } = require('./transport');

const HOST = '127.0.0.1';

class Emulator {
  constructor(scenario, { seed, prerender = false, quiet = true, real = Date.now, options } = {}) {
    this.shared = { seed, prerender, clock: new Clock(real), options };
    this.quiet = quiet;
    this.servers = [];
    this.sockets = new Set();
    this.connections = 0;
    this.first = scenario;
    this.replace(null);
  }

  /** null: the scenario that was loaded last. */
  replace(scenario) {
    if (scenario) this.first = scenario;
    this.world = new World(this.first, this.shared);
  }

  answer(exchange, plain) {
    if (exchange.path.startsWith('/_emulator/')) {
      const { status, body } = plain
        ? control(this, exchange.method, exchange.path, exchange.body)
        : { status: 404, body: { error: 'the control API is on the plain port' } };
      const bytes = Buffer.from(JSON.stringify(body));
      exchange.send({ status, headers: { 'content-type': 'application/json' }, body: bytes });
      return;
    }
    handle(this.world, exchange).catch((e) => {
      // A mistake of the emulator must be loud: a test would take a quiet 500 for Microsoft's.
      if (!this.quiet) console.error(`${exchange.method} ${exchange.path}: ${e.stack}`);
      exchange.send({ status: 599, headers: { 'content-type': 'text/plain' }, body: Buffer.from(`emulator error: ${e.message}`) });
    });
  }

  listenPlain(port) {
    const server = http.createServer({ keepAlive: true });
    server.on('request', onRequest((x) => this.answer(x, true), () => `http://${HOST}:${server.address().port}`));
    return this.listen(server, port);
  }

  listenTls(port, cert, key, { compat = false } = {}) {
    const server = http2.createSecureServer({ cert, key, allowHTTP1: true, settings: { maxConcurrentStreams: 250 } });
    const origin = () => `https://localhost:${server.address().port}`;
    const serve = (x) => this.answer(x, false);
    if (!compat) {
      // Without this, a listener for HTTP/1.1 requests would turn on the compatibility API too.
      server.removeAllListeners('newListener');
      server.on('stream', onStream(serve, origin));
    }
    server.on('request', onRequest(serve, origin));
    server.on('sessionError', () => {});
    server.on('secureConnection', (s) => s.on('error', () => {}));
    return this.listen(server, port);
  }

  listen(server, port) {
    server.keepAliveTimeout = 120000;
    server.on('connection', (s) => this.track(s));
    server.on('clientError', (e, socket) => socket.destroy());
    this.servers.push(server);
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, HOST, 1024, () => resolve(server.address().port));
    });
  }

  track(socket) {
    this.connections++;
    socket.on('error', () => {});
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
  }

  close() {
    for (const s of this.servers) s.close();
    for (const s of this.sockets) s.destroy();
  }

  shutdown() {
    this.close();
    setTimeout(() => process.exit(0), 50).unref();
  }
}

async function main() {
  const { values: v } = parseArgs({
    options: {
      port: { type: 'string', default: '0' },
      'tls-port': { type: 'string' },
      cert: { type: 'string' },
      key: { type: 'string' },
      scenario: { type: 'string', default: 'msp' },
      seed: { type: 'string' },
      quiet: { type: 'boolean', default: false },
      prerender: { type: 'boolean', default: false },
      'http2-compat': { type: 'boolean', default: false },
    },
  });
  const emulator = new Emulator(loadScenario(v.scenario), {
    seed: v.seed === undefined ? undefined : Number(v.seed), prerender: v.prerender, quiet: v.quiet,
  });
  const ready = { port: await emulator.listenPlain(Number(v.port)), tls_port: null, pid: process.pid };
  if (v['tls-port'] !== undefined) {
    if (!v.cert || !v.key) throw new Error('--tls-port needs --cert and --key');
    ready.tls_port = await emulator.listenTls(Number(v['tls-port']), fs.readFileSync(v.cert), fs.readFileSync(v.key), { compat: v['http2-compat'] });
  }
  process.on('SIGTERM', () => emulator.shutdown());
  process.on('SIGINT', () => emulator.shutdown());
  process.stdout.write(JSON.stringify(ready) + '\n');
}

if (require.main === module)
  main().catch((e) => {
    console.error(`partner_center: ${e.message}`);
    process.exit(1);
  });

module.exports = { Emulator };
