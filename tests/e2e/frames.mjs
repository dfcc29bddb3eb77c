// What clients and our codec make of every kind of frame: node frames.mjs [BINARY]
//
// The packages `ws` (Node) and `websockets` (Python) play the table frames.json against the echo
// server of examples/, which is the codec and nothing else. Both must hear what the table says.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import WebSocket from 'ws';
import { Service, binaryUnderTest, freePort, here, scratchDir } from './lib/process.mjs';
import { Report } from './lib/report.mjs';

const PATIENCE_MS = 5000;
const MASK = Buffer.from('37fa213d', 'hex');

const report = new Report('frames');
const table = readFileSync(join(here, 'frames.json'), 'utf8');
const { cases } = JSON.parse(table);

function payload(said) {
  if (typeof said === 'string') return Buffer.from(said);
  if (Array.isArray(said)) return Buffer.from(said[0].repeat(said[1]));
  return Buffer.from(said.hex, 'hex');
}

function frame({ frame: [first, said], length, unmasked }) {
  const data = payload(said);
  let size = length && Buffer.from(length, 'hex');
  if (!size) size = data.length < 126 ? Buffer.from([data.length]) : Buffer.from([126, data.length >> 8, data.length & 255]);
  if (unmasked) return Buffer.concat([Buffer.from([first]), size, data]);
  const masked = data.map((byte, at) => byte ^ MASK[at % 4]);
  return Buffer.concat([Buffer.from([first, size[0] | 128]), size.subarray(1), MASK, masked]);
}

function take(socket, step) {
  if ('text' in step) socket.send(payload(step.text).toString());
  else if ('binary' in step) socket.send(payload(step.binary));
  else if ('ping' in step) socket.ping(payload(step.ping));
  else if ('parts' in step) {
    step.parts.forEach((part, at) => {
      if (at > 0 && 'between' in step) socket.ping(payload(step.between));
      socket.send(part, { fin: at + 1 === step.parts.length });
    });
  } else if ('close' in step) socket.close(...step.close);
  else socket._socket.write(frame(step)); // No function of the client sends what is wrong.
}

/** Plays one case with `ws`; what was heard. */
function play(url, { say, heard: expected }) {
  const heard = { messages: [], pongs: [], close: null, reason: '' };
  return new Promise((resolve) => {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    const end = (reason) => {
      clearTimeout(timer);
      if (reason) heard.reason = reason;
      socket.terminate();
      resolve(heard);
    };
    const timer = setTimeout(() => end('nothing more came'), PATIENCE_MS);
    const enough = () => {
      const { messages = [], pongs = [], close } = expected;
      if (!close && heard.messages.length >= messages.length && heard.pongs.length >= pongs.length) end();
    };
    socket.on('open', () => { for (const step of say) take(socket, step); });
    socket.on('message', (data, isBinary) => {
      heard.messages.push([isBinary ? 'binary' : 'text', data.toString('hex')]);
      enough();
    });
    socket.on('pong', (data) => {
      heard.pongs.push(data.toString('hex'));
      enough();
    });
    socket.on('error', (error) => end(String(error)));
    socket.on('close', (code, reason) => {
      heard.close = code;
      end(reason.toString());
    });
  });
}

function expectation({ messages = [], pongs = [], close = null, reason }) {
  const message = (said) => ['text', 'binary'].filter((kind) => kind in said).map((kind) => [kind, payload(said[kind]).toString('hex')])[0];
  return { messages: messages.map(message), pongs: pongs.map((said) => payload(said).toString('hex')), close, reason };
}

/** How `heard` is not as expected, in words that stay short. The reasons of faults are free. */
function differences(client, heard, expected) {
  if (!heard) return [`${client} heard nothing`];
  const shown = (value) => JSON.stringify(value ?? null).replace(/(.{80}).*(.{20})/, '$1…$2');
  return ['messages', 'pongs', 'close', 'reason']
    .filter((what) => expected[what] !== undefined && JSON.stringify(heard[what]) !== JSON.stringify(expected[what]))
    .map((what) => `${client} heard ${what} ${shown(heard[what])}, not ${shown(expected[what])} ${heard.reason}`);
}

const echo = join(dirname(binaryUnderTest()), 'examples/websocket_echo');
const python = spawnSync(join(here, 'python.sh'), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
if (!existsSync(echo)) {
  report.skip('all', `no ${echo}: build it with \`cargo build --example websocket_echo\``);
} else if (python.status !== 0) {
  report.skip('all', 'the package websockets cannot be installed');
} else {
  const port = await freePort();
  const server = new Service('echo', echo, [`127.0.0.1:${port}`], { dir: scratchDir('frames') });
  await server.listening(port);
  const url = `ws://127.0.0.1:${port}`;
  const client = spawnSync(python.stdout.trim(), ['-B', join(here, 'frames_client.py'), url], { input: table, encoding: 'utf8', timeout: 120000 });
  const theirs = client.status === 0 ? JSON.parse(client.stdout) : [];
  if (client.status !== 0) report.check('the Python client plays the table', client.stderr.trim().split('\n').slice(-5));
  for (const [at, one] of cases.entries()) {
    const expected = expectation(one.heard);
    const ours = await play(url, one);
    report.check(one.name, [...differences('ws', ours, expected), ...differences('websockets', theirs[at], expected)]);
  }
  await server.stop();
}
report.finish();
