'use strict';
// HTTP/1.1 and HTTP/2 (core stream API) behind one face: an exchange that can be answered, or
// spoiled in the ways a network spoils answers.
//
// The HTTP/2 compatibility API sends END_STREAM in a second, empty frame, which makes libcurl
// reset streams it is done with, until node closes the connection. Hence the core API; the
// compatibility API can be had with --http2-compat, as a kind of bad weather.

const http2 = require('http2');

const LIMIT = 16 * 1024 * 1024;

/** Applies a fault's wire rule: {bytes, partial} of the answer. */
function spoil(answer, wire) {
  if (!wire) return { ...answer, cut: null, pause: 0 };
  const headers = { ...answer.headers };
  let body = answer.body;
  let cut = null;
  let pause = 0;
  const replace = (text, type) => {
    body = Buffer.isBuffer(text) ? text : Buffer.from(text);
    headers['content-type'] = wire.content_type || type || headers['content-type'];
  };
  switch (wire.action) {
    case 'truncate': {
      const n = wire.bytes ?? Math.floor(body.length / 2);
      if (wire.clean) replace(body.subarray(0, n));
      else cut = n;
      break;
    }
    case 'garbage': replace(Buffer.from([0xff, 0xfe, 0x00, 0x7b, 0x22, 0x80, 0xc3, 0x28, 0x0a])); break;
    case 'html': replace('<html><head><title>Service Unavailable</title></head><body>The service is unavailable.</body></html>', 'text/html'); break;
    case 'empty': replace(''); break;
    case 'huge': replace(`{"totalCount":0,"items":[],"padding":"${'x'.repeat(wire.bytes || 64 * 1024 * 1024)}"}`); break;
    case 'slow': pause = wire.ms || 1000; break;
    case 'content_type': headers['content-type'] = wire.content_type || 'text/plain'; break;
    default: break;
  }
  headers['content-length'] = String(body.length);
  return { status: answer.status, headers, body, cut, pause };
}

function drip(body, ms, write, end, closed) {
  const parts = Math.max(2, Math.min(20, body.length));
  const size = Math.ceil(body.length / parts);
  let at = 0;
  const step = () => {
    if (closed()) return;
    if (at >= body.length) return end();
    write(body.subarray(at, at + size));
    at += size;
    setTimeout(step, ms / parts);
  };
  step();
}

class Http1Exchange {
  constructor(req, res, body, origin) {
    this.method = req.method;
    this.path = req.url;
    this.headers = req.headers;
    this.body = body;
    this.protocol = '1.1';
    this.origin = origin;
    this.res = res;
    this.socket = req.socket;
  }

  send(answer, wire) {
    const a = spoil(answer, wire);
    const res = this.res;
    if (res.destroyed) return;
    if (wire && wire.action === 'goaway') res.shouldKeepAlive = false;
    res.writeHead(a.status, a.headers);
    if (a.cut !== null) {
      res.write(a.body.subarray(0, a.cut), () => this.socket.destroy());
      return;
    }
    if (a.pause) drip(a.body, a.pause, (b) => res.write(b), () => res.end(), () => res.destroyed);
    else res.end(a.body);
  }

  reset() {
    if (this.socket.resetAndDestroy) this.socket.resetAndDestroy();
    else this.socket.destroy();
  }

  hang(seconds) {
    if (seconds) setTimeout(() => this.reset(), seconds * 1000).unref();
  }

  /** HTTP/1.1 has no GOAWAY; "Connection: close" (see send) comes nearest. */
  goaway(refuse) {
    if (refuse) this.socket.destroy();
  }
}

class Http2Exchange {
  constructor(stream, headers, body, origin) {
    this.method = headers[':method'];
    this.path = headers[':path'];
    this.headers = headers;
    this.body = body;
    this.protocol = '2';
    this.origin = origin;
    this.stream = stream;
  }

  send(answer, wire) {
    const stream = this.stream;
    if (stream.destroyed || stream.closed) return;
    const a = spoil(answer, wire);
    if (!a.body.length && a.cut === null) {
      stream.respond({ ':status': a.status, ...a.headers }, { endStream: true });
      return;
    }
    stream.respond({ ':status': a.status, ...a.headers });
    if (a.cut !== null) {
      stream.write(a.body.subarray(0, a.cut), () => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR));
      return;
    }
    if (a.pause) drip(a.body, a.pause, (b) => stream.write(b), () => stream.end(), () => stream.destroyed);
    else stream.end(a.body);
  }

  /** scope "stream" resets only this request; otherwise the connection breaks with all its requests. */
  reset(scope) {
    if (scope === 'stream') this.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    else this.stream.session && this.stream.session.socket && this.stream.session.destroy(new Error('reset on purpose'));
  }

  hang(seconds) {
    if (seconds) setTimeout(() => this.reset('stream'), seconds * 1000).unref();
  }

  /** refuse: this stream was not processed; otherwise the connection closes after it. */
  goaway(refuse) {
    const session = this.stream.session;
    if (!session) return;
    if (refuse) {
      const last = Math.max(0, this.stream.id - 2);
      session.goaway(http2.constants.NGHTTP2_NO_ERROR, last);
      this.stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
    } else {
      // close() sends GOAWAY and lets other streams finish; at once, node 18 would drop this answer.
      setTimeout(() => session.closed || session.close(), 20);
    }
  }
}

const NOTHING = Buffer.alloc(0);

function collect(source, done) {
  const chunks = [];
  let size = 0;
  source.on('data', (c) => {
    size += c.length;
    if (size <= LIMIT) chunks.push(c);
  });
  source.on('end', () => done(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)));
}

function onRequest(handle, origin) {
  return (req, res) => {
    const go = (body) => handle(new Http1Exchange(req, res, body, origin()));
    res.on('error', () => {});
    if (req.headers['content-length'] === undefined && req.headers['transfer-encoding'] === undefined) {
      req.resume();
      go(NOTHING);
    } else collect(req, go);
  };
}

function onStream(handle, origin) {
  return (stream, headers, flags) => {
    stream.on('error', () => {});
    const go = (body) => handle(new Http2Exchange(stream, headers, body, origin()));
    // END_STREAM with the headers: no body will come.
    if (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) {
      stream.resume();
      go(NOTHING);
    } else collect(stream, go);
  };
}

module.exports = { onRequest, onStream };
