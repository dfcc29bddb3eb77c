// A strict HTTP client for the Janus API: an answer that is not complete and well framed is an error.

import { Agent, request as httpRequest } from 'node:http';

/** The agent that opens a connection for every request, so that each may reach any shard. */
export const fresh = new Agent({ keepAlive: false, maxSockets: Infinity });

/**
 * Sends one request. Resolves to `{ status, headers, text, ms }` once the whole answer is there;
 * rejects where the connection or the framing breaks.
 */
export function request(url, { method = 'GET', body, headers = {}, agent = fresh, localAddress, timeout = 45000, onSocket } = {}) {
  return new Promise((resolve, reject) => {
    const began = performance.now();
    const outgoing = httpRequest(url, { method, headers, agent, localAddress }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('error', (error) => reject(new Error(`answer broke off: ${error.message} (${method} ${url})`)));
      response.on('end', () => {
        clearTimeout(timer);
        const framing = framingOf(response);
        if (!response.complete) {
          reject(new Error(`incomplete answer (${method} ${url})`));
        } else if (framing === 'close' && response.httpVersion === '1.1' && method !== 'HEAD') {
          reject(new Error(`answer has neither a length nor chunks (${method} ${url})`));
        } else {
          resolve({
            status: response.statusCode,
            headers: response.headers,
            text: Buffer.concat(parts).toString('utf8'),
            ms: performance.now() - began,
          });
        }
      });
    });
    const timer = setTimeout(() => {
      outgoing.destroy(new Error(`no answer within ${timeout} ms (${method} ${url})`));
    }, timeout);
    outgoing.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    if (onSocket) outgoing.on('socket', onSocket);
    outgoing.end(body);
  });
}

function framingOf(response) {
  if (response.headers['transfer-encoding'] === 'chunked') return 'chunked';
  if (response.headers['content-length'] !== undefined) return 'length';
  return [204, 304].includes(response.statusCode) ? 'none' : 'close';
}

/** Reads an answer as JSON of status 200, or says why it is not. */
export function json(answer) {
  if (answer.status !== 200) throw new Error(`status ${answer.status}, body ${JSON.stringify(answer.text.slice(0, 200))}`);
  try {
    return JSON.parse(answer.text);
  } catch (error) {
    throw new Error(`body is no JSON (${error.message}): ${JSON.stringify(answer.text.slice(0, 200))}`);
  }
}

let transactions = 0;
export function transaction() {
  transactions += 1;
  return `e2e-${process.pid}-${transactions}`;
}

/** A client of the Janus API over HTTP, with as much of it as the tests need. */
export class Client {
  constructor(base, options = {}) {
    this.base = base;
    this.options = options;
  }

  async post(path, message) {
    const body = JSON.stringify({ transaction: transaction(), ...message });
    const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) };
    const answer = json(await request(this.base + path, { method: 'POST', body, headers, ...this.options }));
    if (answer.janus === 'error') throw new Error(`${message.janus}: ${JSON.stringify(answer.error)}`);
    return answer;
  }

  async create() {
    return (await this.post('', { janus: 'create' })).data.id;
  }

  async attach(session) {
    return (await this.post(`/${session}`, { janus: 'attach', plugin: 'janus.plugin.echotest' })).data.id;
  }

  /** Asks the EchoTest for something harmless, which is answered by exactly one event. */
  async ask(session, handle, name = transaction()) {
    const path = `/${session}/${handle}`;
    const answer = await this.post(path, { janus: 'message', transaction: name, body: { audio: true } });
    if (answer.janus !== 'ack') throw new Error(`no ack for a message: ${JSON.stringify(answer)}`);
    return name;
  }

  async poll(session, { maxev = 1, ...options } = {}) {
    return json(await request(`${this.base}/${session}?maxev=${maxev}`, { ...this.options, ...options }));
  }

  destroy(session) {
    return this.post(`/${session}`, { janus: 'destroy' });
  }
}

/** Runs `task` for every item, at most `width` at a time; results in the order of the items. */
export async function pool(items, width, task) {
  const results = new Array(items.length);
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const index = next;
      next += 1;
      results[index] = await task(items[index], index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
  return results;
}
