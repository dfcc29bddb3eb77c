// The API over WebSocket with the clients that people use: node websocket.mjs [BINARY]
//
// janus.js in Chromium, Janode, and the package `ws` for what the protocol itself asks for. The
// Python package `websockets` is what the conformance suite is written with.

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Janode from 'janode';
import EchoTest from 'janode/plugins/echotest';
import VideoRoom from 'janode/plugins/videoroom';
import WebSocket from 'ws';
import { serve } from '../../examples/serve.mjs';
import { endCall, launch, openPage, startCall } from './lib/chromium.mjs';
import { binaryUnderTest, freePort, isJanus, root, scratchDir, startGateway } from './lib/process.mjs';
import { Report, checked } from './lib/report.mjs';

Janode.Logger.setLevel('warning');

const report = new Report('websocket');
const binary = binaryUnderTest();
const gateway = await startGateway(binary, { shards: 2 });

/** A socket that is open, with `next()` for its next message. */
async function open(options = {}) {
  const socket = new WebSocket(gateway.ws, ['janus-protocol'], options);
  const messages = [];
  const waiting = [];
  socket.on('message', (data) => {
    const message = JSON.parse(data);
    const taker = waiting.shift();
    if (taker) taker(message);
    else messages.push(message);
  });
  await new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  const next = () => new Promise((resolve, reject) => {
    if (messages.length > 0) return resolve(messages.shift());
    waiting.push(resolve);
    setTimeout(() => reject(new Error('no message within 5 s')), 5000).unref();
  });
  const ask = (request) => {
    socket.send(JSON.stringify({ transaction: 't', ...request }));
    return next();
  };
  return { socket, next, ask };
}

/** The code and the reason that a socket ends with. */
const closed = (socket) => new Promise((resolve) => {
  socket.once('close', (code, reason) => resolve(`${code} ${reason}`));
});

/** What `got` is, if it is not `expected`. */
const unless = (expected, got) => (got === expected ? [] : [`${got}, not ${expected}`]);

async function janode() {
  const connection = await Janode.connect({ address: { url: gateway.ws }, is_admin: false });
  const sessions = await Promise.all(Array.from({ length: 10 }, () => connection.create()));
  const handles = await Promise.all(sessions.map((session) => session.attach(EchoTest)));
  const sdp = readFileSync(join(root, 'tests/fixtures/sdp/offers/plain-audio.sdp'), 'utf8');
  const jsep = { type: 'offer', sdp };
  const done = await Promise.all(handles.map((handle) => handle.start({ audio: true, video: false, jsep })));
  const problems = done.filter((event) => event.jsep?.type !== 'answer').map((event) => JSON.stringify(event));
  await Promise.all(handles.map((handle) => handle.detach()));
  await Promise.all(sessions.map((session) => session.destroy()));
  const info = await connection.getInfo();
  if (info.name !== 'Janus WebRTC Server') problems.push(`the server calls itself ${info.name}`);
  await connection.close();
  return problems;
}

/** Rooms made by two sessions, so by handles on either shard, are listed by both. */
async function janodeRooms() {
  const connection = await Janode.connect({ address: { url: gateway.ws }, is_admin: false });
  const sessions = [await connection.create(), await connection.create()];
  const handles = await Promise.all(sessions.map((session) => session.attach(VideoRoom)));
  const problems = [];
  const rooms = [7101, 7102, 7103, 7104];
  for (const [at, room] of rooms.entries()) {
    const made = await handles[at % 2].create({ room, description: `room ${room}`, max_publishers: 3, secret: 'adminpwd' });
    problems.push(...unless(room, made.room));
  }
  for (const handle of handles) {
    const { list } = await handle.list();
    for (const room of rooms) {
      const { description, max_publishers } = list.find((each) => each.room === room) ?? {};
      problems.push(...unless(`room ${room}, 3`, `${description}, ${max_publishers}`));
    }
  }
  const joined = await handles[0].joinPublisher({ room: 7102, display: 'somebody' });
  const { participants } = await handles[1].listParticipants({ room: 7102 });
  problems.push(...unless('somebody', participants.find(({ feed }) => feed === joined.feed)?.display));
  for (const [at, room] of rooms.entries()) await handles[(at + 1) % 2].destroy({ room, secret: 'adminpwd' });
  for (const room of rooms) problems.push(...unless(false, (await handles[0].exists({ room })).exists));
  await connection.close();
  return problems;
}

async function call(server, flags) {
  const context = await launch(flags);
  const pages = await serve();
  const { page, networkProblems } = await openPage(context);
  const missing = await startCall(page, pages.url, server);
  if (missing.length === 0) await endCall(page);
  await page.close();
  await context.close();
  await pages.close();
  return [...missing, ...networkProblems()];
}

/** The same over TLS, with a certificate made for it. */
async function secureCall() {
  const dir = scratchDir('tls');
  const [cert, key, config] = ['cert.pem', 'key.pem', 'gateway.toml'].map((name) => join(dir, name));
  const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
    '-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=localhost'], { encoding: 'utf8' });
  if (made.status !== 0) return [`openssl: ${made.stderr}`];
  const port = await freePort();
  writeFileSync(config, `
[ws]
secure_bind = "127.0.0.1:${port}"
cert_pem = "${cert}"
cert_key = "${key}"
`);
  const secured = await startGateway(binary, { name: 'secured', more: ['--config', config] });
  const problems = await call(`wss://127.0.0.1:${port}`, ['--ignore-certificate-errors']);
  await secured.stop();
  return problems;
}

async function pings() {
  const { socket } = await open();
  const pongs = [];
  socket.on('pong', (data) => pongs.push(String(data)));
  for (let at = 0; at < 20; at += 1) socket.ping(`ping ${at}`);
  await sleep(500);
  socket.terminate();
  return unless(Array.from({ length: 20 }, (_, at) => `ping ${at}`).join(), pongs.join());
}

async function fragments() {
  const { socket, next } = await open();
  const text = JSON.stringify({ janus: 'ping', transaction: 'in parts', filler: 'x'.repeat(300000) });
  for (let at = 0; at < text.length; at += 30000) {
    socket.send(text.slice(at, at + 30000), { fin: at + 30000 >= text.length });
    socket.ping('between');
  }
  const { janus, transaction } = await next();
  socket.terminate();
  return unless('pong in parts', `${janus} ${transaction}`);
}

async function closes() {
  const { socket } = await open();
  const end = closed(socket);
  socket.close(3504, 'Gateway timeout');
  return unless('3504 Gateway timeout', await end);
}

async function tooBig() {
  const { socket } = await open();
  const end = closed(socket);
  socket.on('error', () => {});
  socket.send('x'.repeat((1 << 20) + 1));
  return (await end).startsWith('1009 ') ? [] : [await end];
}

async function refused() {
  const socket = new WebSocket(gateway.ws, ['chat']);
  const status = await new Promise((resolve) => {
    socket.once('unexpected-response', (_, response) => resolve(response.statusCode));
    socket.once('error', resolve);
  });
  socket.on('error', () => {});
  socket.terminate();
  return unless(400, status);
}

async function burst() {
  const { socket, next, ask } = await open();
  const sessions = [];
  for (let at = 0; at < 8; at += 1) sessions.push((await ask({ janus: 'create' })).data.id);
  for (let at = 0; at < 800; at += 1) {
    socket.send(JSON.stringify({ janus: 'keepalive', session_id: sessions[at % 8], transaction: String(at) }));
  }
  const problems = [];
  for (let at = 0; at < 800; at += 1) problems.push(...unless(String(at), (await next()).transaction));
  socket.terminate();
  return problems;
}

async function drained() {
  const { socket, ask } = await open();
  const end = closed(socket);
  const session = (await ask({ janus: 'create' })).data.id;
  gateway.child.kill('SIGTERM');
  await sleep(300);
  const refusal = await ask({ janus: 'create' });
  await ask({ janus: 'destroy', session_id: session });
  return [
    ...unless(472, refusal.error?.code),
    ...unless('1001 the server stops', await end),
    ...unless(0, (await gateway.ended).code),
  ];
}

await checked(report, 'Janode: ten sessions on one connection', janode);
await checked(report, 'Janode: rooms are made, listed, joined and destroyed', janodeRooms);
await checked(report, 'janus.js: a call with audio, video and data', () => call(gateway.ws));
if (isJanus(binary)) report.skip('janus.js: a call over TLS', 'the configuration is that of bifrons');
else await checked(report, 'janus.js: a call over TLS', secureCall);
await checked(report, 'pings are answered one by one', pings);
await checked(report, 'a message in parts, with pings between them', fragments);
await checked(report, 'a close is echoed', closes);
await checked(report, 'a message of more than a megabyte is refused', tooBig);
await checked(report, 'another sub-protocol is refused with an answer', refused);
await checked(report, '800 requests at once, answered in order by two shards', burst);
await checked(report, 'draining refuses sessions, waits for the last, then closes', drained);
await gateway.stop();
report.finish();
