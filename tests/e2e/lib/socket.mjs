// A WebSocket of the Janus API that matches replies with requests and hands on everything else.

import WebSocket from 'ws';

export class JanusSocket {
  #waiting = new Map();
  #serial = 0;

  /** Opens a socket. `onEvent` gets what is no reply; the name is the first part of transactions. */
  static async open(url, { name = 's', protocol = 'janus-protocol', onEvent = () => {}, options = {} } = {}) {
    const socket = new JanusSocket();
    socket.name = name;
    socket.onEvent = onEvent;
    socket.ws = new WebSocket(url, [protocol], options);
    socket.ended = new Promise((resolve) => {
      socket.ws.once('close', (code) => {
        for (const { reject } of socket.#waiting.values()) reject(new Error(`${name} ended with ${code}`));
        socket.#waiting.clear();
        resolve(code);
      });
    });
    await new Promise((resolve, reject) => {
      socket.ws.once('open', resolve);
      socket.ws.once('error', reject);
    });
    socket.ws.on('error', () => {}); // `close` follows.
    socket.ws.on('message', (data) => socket.#heard(JSON.parse(data)));
    return socket;
  }

  #heard(message) {
    const waiting = this.#waiting.get(message.transaction);
    // An event repeats the transaction of the message that it answers, and is no reply.
    if (!waiting || message.janus === 'event') return this.onEvent(message);
    this.#waiting.delete(message.transaction);
    return waiting.resolve(message);
  }

  /** Sends a request; resolves with the reply, `ack` included. */
  request(body) {
    const transaction = body.transaction ?? `${this.name}-${this.#serial}`;
    this.#serial += 1;
    return new Promise((resolve, reject) => {
      this.#waiting.set(transaction, { resolve, reject });
      this.ws.send(JSON.stringify({ ...body, transaction }));
    });
  }

  /** The same, where anything but `success` and `ack` is a failure. */
  async ask(body) {
    const reply = await this.request(body);
    if (reply.janus !== 'success' && reply.janus !== 'ack') throw new Error(`${body.janus}: ${JSON.stringify(reply)}`);
    return reply;
  }

  /** Says that nothing more will be sent, and reads on to the server's end. */
  async halfClose() {
    this.ws._socket.end();
    await this.ended;
  }

  /** Breaks the connection. */
  async break() {
    this.ws.terminate();
    await this.ended;
  }

  async close() {
    this.ws.close();
    await this.ended;
  }
}
