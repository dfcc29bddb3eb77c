// 2,000 sessions on 20 sockets over 2 shards: created, claimed from socket to socket and ended while
// events flow. No event is lost or out of order, and every counter balances at the end.
//
//   node claims.mjs [BINARY] [--sessions=2000] [--seed=1]
//
// Messages are sent by sockets that own nothing, so that each session has an order of its own:
// EchoTest answers message n of a session with an event of transaction n, which goes to the socket
// that owns the session at that moment. What a socket was about to be told when it lost a session may
// reach both owners (docs/sessions.md), so doubles are allowed where a session changed hands under
// way, and nowhere else.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readMetrics, total } from './lib/metrics.mjs';
import { binaryUnderTest, freePort, option, scratchDir, startGateway } from './lib/process.mjs';
import { Report, checked } from './lib/report.mjs';
import { JanusSocket } from './lib/socket.mjs';

const SESSIONS = option('sessions', 2000);
const SOCKETS = 20;
const DRIVERS = 4;
const PATIENCE = 30000;
/** Events of one session that may be on their way to a socket, and so be doubled by a claim. */
const WINDOW = 64;

const report = new Report('claims');
const adminPort = await freePort();
const admin = `http://127.0.0.1:${adminPort}`;
const config = join(scratchDir('claims'), 'bifrons.toml');

/** How long lost sessions can be claimed: for longer than this test needs, or not at all. */
function configure(reclaim) {
  writeFileSync(config, `
[general]
reclaim_session_timeout = ${reclaim}

[admin]
enabled = true
bind = "127.0.0.1:${adminPort}"
secret = "an admin secret"

[limits]
ws_messages_rate_count = 100000
`);
}

configure(300);
const gateway = await startGateway(binaryUnderTest(), { shards: 2, name: 'claims', more: ['--config', config] });

// Numbers that are the same in every run.
let state = option('seed', 1);
const random = (below) => {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};

const extra = { events: 0 };
const problems = [];
const sessions = [];
const byId = new Map();
const sockets = [];
const drivers = [];
const alive = () => sockets.filter((socket) => !socket.isLost);

/** The events that a socket got as the owner of a session, from its claim on. */
class Tenancy {
  constructor(socket, isUnderWay) {
    Object.assign(this, { socket, isUnderWay, first: null, last: null });
  }

  take(number) {
    if (this.last !== null && number !== this.last + 1) return `${number} after ${this.last}`;
    this.first ??= number;
    this.last = number;
    return null;
  }
}

function onEvent(socket, message) {
  const session = byId.get(message.session_id);
  if (!session || message.janus !== 'event') {
    problems.push(`unexpected: ${JSON.stringify(message).slice(0, 200)}`);
    return;
  }
  const number = Number(message.transaction.split('-').at(-1));
  const tenancy = session.tenancies.find((each) => each.socket === socket);
  const fault = tenancy ? tenancy.take(number) : `${number} on a socket that does not own it`;
  if (fault) problems.push(`session ${session.id}: ${fault}`);
}

async function openAll() {
  for (let at = 0; at < SOCKETS; at += 1) {
    const socket = await JanusSocket.open(gateway.ws, { name: `o${at}`, onEvent: (message) => onEvent(socket, message) });
    sockets.push(socket);
  }
  for (let at = 0; at < DRIVERS; at += 1) {
    const onStray = (message) => problems.push(`told a driver: ${JSON.stringify(message).slice(0, 200)}`);
    drivers.push(await JanusSocket.open(gateway.ws, { name: `d${at}`, onEvent: onStray }));
  }
  await Promise.all(Array.from({ length: SESSIONS }, async (_, at) => {
    const socket = sockets[at % SOCKETS];
    const id = (await socket.ask({ janus: 'create' })).data.id;
    const attach = { janus: 'attach', session_id: id, plugin: 'janus.plugin.echotest' };
    const handle = (await socket.ask(attach)).data.id;
    const session = { at, id, handle, sent: 0, driver: drivers[at % DRIVERS], tenancies: [new Tenancy(socket, false)] };
    sessions.push(session);
    byId.set(id, session);
  }));
}

/** Sends the next `rounds` messages of each session; resolves when all of them are acknowledged. */
async function flow(rounds, which = sessions) {
  for (let round = 0; round < rounds; round += 1) {
    await Promise.all(which.map((session) => {
      session.sent += 1;
      return session.driver.ask({
        janus: 'message', session_id: session.id, handle_id: session.handle, body: { audio: true },
        transaction: `${session.id}-${session.sent}`,
      });
    }));
  }
}

/** Has a socket claim a session; none does it twice, so that its events can be told apart. */
async function claim(session, { isUnderWay }) {
  const fit = alive().filter((socket) => !session.tenancies.some((tenancy) => tenancy.socket === socket));
  if (fit.length === 0) return;
  const socket = fit[random(fit.length)];
  // Events come behind the reply, and may come with it.
  session.tenancies.push(new Tenancy(socket, isUnderWay));
  await socket.ask({ janus: 'claim', session_id: session.id });
}

const owner = (session) => session.tenancies.at(-1).socket;

/** The last event that any owner of a session got. */
const heard = (session) => Math.max(0, ...session.tenancies.map(({ last }) => last ?? 0));

/** Waits until everything that was sent was heard of. */
async function quiet() {
  const until = performance.now() + PATIENCE;
  let late = sessions;
  while (late.length > 0 && performance.now() < until) {
    late = late.filter((session) => heard(session) < session.sent);
    if (late.length > 0) await sleep(20);
  }
  return late.map((session) => `session ${session.id}: ${heard(session)} of ${session.sent} events came`);
}

/** What is wrong with the events of all sessions; counts doubles into `doubled`. */
function gaps() {
  const found = problems.splice(0);
  let doubled = 0;
  for (const session of sessions) {
    let last = 0;
    for (const tenancy of session.tenancies.filter(({ first }) => first !== null)) {
      const again = last + 1 - tenancy.first;
      if (again < 0) found.push(`session ${session.id}: ${-again} events lost before ${tenancy.first}`);
      if (again > (tenancy.isUnderWay ? WINDOW : 0)) found.push(`session ${session.id}: ${again} events came twice`);
      doubled += Math.max(0, again);
      last = Math.max(last, tenancy.last);
    }
    if (last !== session.sent) found.push(`session ${session.id}: ${session.sent - last} events lost at the end`);
  }
  return { found, doubled };
}

async function settled() {
  return [...await quiet(), ...gaps().found];
}

async function created() {
  await openAll();
  await flow(2);
  const samples = await readMetrics(admin);
  const live = total(samples, 'bifrons_gateway_sessions');
  return [...await settled(), ...(live === SESSIONS ? [] : [`${live} sessions live`])];
}

async function claimedUnderWay() {
  const flowing = flow(10);
  for (let count = 0; count < 1.5 * SESSIONS; count += 50) {
    // Two claims of one session at a time would have no order.
    const some = new Set(Array.from({ length: 50 }, () => sessions[random(SESSIONS)]));
    await Promise.all([...some].map((session) => claim(session, { isUnderWay: true })));
  }
  await flowing;
  return settled();
}

/** A fourth of the sockets ends while events are on their way; others claim what they had. */
async function lostUnderWay() {
  const flowing = flow(10);
  for (const socket of alive().filter((_, at) => at % 4 === 0)) {
    socket.isLost = true;
    // What the kernel took counts as delivered, so this reads on to the last byte.
    await socket.halfClose();
    const orphans = sessions.filter((session) => owner(session) === socket);
    await Promise.all(orphans.map((session) => claim(session, { isUnderWay: true })));
  }
  await flowing;
  return settled();
}

/** A third of the rest breaks in silence; events that come then wait for whoever claims. */
async function brokenAndReclaimed() {
  const broken = alive().filter((_, at) => at % 3 === 0);
  await Promise.all(broken.map((socket) => {
    socket.isLost = true;
    return socket.break();
  }));
  const orphans = sessions.filter((session) => broken.includes(owner(session)));
  const found = [];
  const until = performance.now() + PATIENCE;
  let count = 0;
  while (count !== orphans.length && performance.now() < until) {
    count = total(await readMetrics(admin), 'bifrons_gateway_sessions_orphaned');
  }
  if (count !== orphans.length) found.push(`${count} sessions wait to be claimed, not ${orphans.length}`);
  await flow(3);
  await Promise.all(orphans.map((session) => claim(session, { isUnderWay: false })));
  await flow(2);
  return [...found, ...await settled()];
}

/**
 * One more socket owns a session and reads nothing: it is closed with 1013, and whoever claims the
 * session gets what it did not read, from there on.
 */
async function slowReader() {
  const [stuck, other] = await Promise.all(['stuck', 'other'].map(async (name) => {
    const heard = [];
    const socket = await JanusSocket.open(gateway.ws, { name, onEvent: (message) => heard.push(message) });
    return Object.assign(socket, { heard });
  }));
  const id = (await stuck.ask({ janus: 'create' })).data.id;
  const handle = (await stuck.ask({ janus: 'attach', session_id: id, plugin: 'janus.plugin.echotest' })).data.id;
  const slow = async () => total(await readMetrics(admin), 'bifrons_ws_sockets_closed_total{reason="slow"}');
  stuck.ws.pause();
  let sent = 0;
  const until = performance.now() + PATIENCE;
  // Until no buffer of the kernel has room for more; an event repeats its transaction.
  while (await slow() === 0 && performance.now() < until) {
    await Promise.all(Array.from({ length: 50 }, () => {
      sent += 1;
      const transaction = `${String(sent).padStart(6, '0')}${'x'.repeat(1000)}`;
      return other.ask({ janus: 'message', session_id: id, handle_id: handle, body: { audio: true }, transaction });
    }));
  }
  stuck.ws.resume();
  const code = await stuck.ended;
  await other.ask({ janus: 'claim', session_id: id });
  const numbers = (socket) => socket.heard.filter(({ janus }) => janus === 'event').map(({ transaction }) => Number(transaction.slice(0, 6)));
  while (numbers(other).at(-1) !== sent && performance.now() < until) await sleep(20);
  const [first, rest] = [numbers(stuck), numbers(other)];
  const found = [];
  if (code !== 1013) found.push(`closed with ${code}`);
  for (const run of [first, rest]) {
    if (run.some((number, at) => at > 0 && number !== run[at - 1] + 1)) found.push(`out of order: ${run.slice(0, 20)}`);
  }
  if (first[0] !== 1 || rest.at(-1) !== sent) found.push(`${first[0]} to ${first.at(-1)}, then ${rest[0]} to ${rest.at(-1)} of ${sent}`);
  if (!(rest[0] <= first.at(-1) + 1)) found.push(`${first.at(-1)} events were read, and ${rest[0]} came next`);
  extra.events = sent;
  await other.ask({ janus: 'destroy', session_id: id });
  await other.close();
  report.note(`${sent} events, ${first.length} of them read by the slow one, ${first.length + rest.length - sent} by both`);
  return found;
}

/** Half is destroyed while the others get events; then the sockets of the others end. */
async function ended() {
  configure(0);
  gateway.child.kill('SIGHUP');
  for (let tries = 0; !gateway.log().includes('configuration read again'); tries += 1) {
    if (tries > 100) return ['the configuration was not read again'];
    await sleep(50);
  }
  const [some, others] = [0, 1].map((half) => sessions.filter(({ at }) => at % 2 === half));
  await Promise.all([
    flow(3, others),
    ...some.map((session) => owner(session).ask({ janus: 'destroy', session_id: session.id })),
  ]);
  const found = await settled();
  await Promise.all(alive().map((socket) => {
    socket.isLost = true;
    return socket.close();
  }));
  await Promise.all(drivers.map((driver) => driver.close()));
  return found;
}

/** Every counter that comes in pairs is even, and every gauge is back at zero. */
async function balanced() {
  let samples;
  const gauges = ['gateway_sessions', 'gateway_handles', 'gateway_sessions_orphaned', 'ws_sockets_open',
    'http_polls_parked', 'http_streams_open', 'media_peers'];
  const until = performance.now() + 10000;
  do {
    samples = await readMetrics(admin);
  } while (gauges.some((name) => total(samples, `bifrons_${name}`) > 0) && performance.now() < until);
  const sum = (name) => total(samples, `bifrons_${name}`);
  const events = extra.events + sessions.reduce((count, { sent }) => count + sent, 0);
  const { doubled } = gaps();
  const expected = {
    ...Object.fromEntries(gauges.map((name) => [name, 0])),
    http_connections_open: 1, // the one that asks
    gateway_sessions_created_total: SESSIONS + 1, // the slow reader's
    'gateway_sessions_destroyed_total{reason="destroyed"}': SESSIONS / 2 + 1,
    'gateway_sessions_destroyed_total{reason="transport_gone"}': SESSIONS / 2,
    gateway_sessions_destroyed_total: SESSIONS + 1,
    gateway_sessions_claimed_total: 1 + sessions.reduce((count, { tenancies }) => count + tenancies.length - 1, 0),
    gateway_handles_attached_total: SESSIONS + 1,
    gateway_handles_detached_total: SESSIONS + 1,
    gateway_events_pushed_total: events,
    gateway_events_delivered_total: events,
    gateway_events_dropped_total: 0,
    ws_sockets_opened_total: SOCKETS + DRIVERS + 2,
    ws_sockets_closed_total: SOCKETS + DRIVERS + 2,
    mesh_refused_messages_total: 0,
    'ws_sockets_closed_total{reason="slow"}': 1,
  };
  const found = Object.entries(expected)
    .filter(([name, value]) => sum(name) !== value)
    .map(([name, value]) => `${name} is ${sum(name)}, not ${value}`);
  const requeued = sum('gateway_events_requeued_total');
  if (doubled > requeued) found.push(`${doubled} events came twice, but ${requeued} were sent again`);
  if (sum('http_connections_opened_total') !== sum('http_connections_closed_total') + 1) found.push('connections leak');
  report.note(`${events} events, ${sum('gateway_sessions_claimed_total')} claims, ${doubled} events reached two owners`);
  return found;
}

const steps = [
  [`${SESSIONS} sessions on ${SOCKETS} sockets get their events`, created],
  ['sessions are claimed from socket to socket while events flow', claimedUnderWay],
  ['sockets end while events flow, others claim their sessions', lostUnderWay],
  ['events of sessions that nobody owns wait for whoever claims them', brokenAndReclaimed],
  ['a socket that is not read is closed, and its session is whole', slowReader],
  ['half is destroyed under load, half ends with its sockets', ended],
  ['nothing is left, and every counter balances', balanced],
];
for (const [name, step] of steps) {
  if (!await checked(report, name, step)) break;
}
await gateway.stop();
report.finish();
