// The Admin API as operators use it: node admin.mjs [BINARY]
//
// Janode's admin client over WebSocket, with and without TLS, next to its client of the Janus API; and
// what can be changed while the gateway runs, seen where it takes effect: in the log, at collectors.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Janode from 'janode';
import EchoTest from 'janode/plugins/echotest';
import { makeCertificate } from './lib/certificate.mjs';
import { binaryUnderTest, freePort, root, scratchDir, startGateway } from './lib/process.mjs';
import { Report, checked } from './lib/report.mjs';

Janode.Logger.setLevel('none');

const SECRET = 'an admin secret of some length';
const report = new Report('admin');

/** Something that takes reports over HTTP. */
async function collector() {
  const requests = [];
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (data) => { text += data; });
    request.on('end', () => {
      requests.push({ authorization: request.headers.authorization, body: JSON.parse(text) });
      response.end();
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const names = () => requests.flatMap(({ body }) => body).map(({ event }) => event.name);
  return { requests, names, url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

const dir = scratchDir('admin');
mkdirSync(join(dir, 'captures'));
const [wsPort, wssPort] = [await freePort(), await freePort()];
const { ca, cert, key } = makeCertificate(dir);
const [first, second] = [await collector(), await collector()];
const config = join(dir, 'bifrons.toml');
writeFileSync(config, `
[admin]
enabled = true
bind = "127.0.0.1:${await freePort()}"
secret = "${SECRET}"
capture_folder = "${dir}/captures"

[ws]
admin_bind = "127.0.0.1:${wsPort}"
admin_secure_bind = "127.0.0.1:${wssPort}"
cert_pem = "${cert}"
cert_key = "${key}"

[events]
enabled = true

[events.post]
enabled = true
events = "none"
backend = "${first.url}"
`);
const gateway = await startGateway(binaryUnderTest(), { shards: 2, name: 'admin', more: ['--config', config] });

const connect = (url, apisecret, ws_options) => Janode.connect({ address: { url, apisecret }, is_admin: true, ws_options });
const operator = await connect(`ws://127.0.0.1:${wsPort}`, SECRET);
const client = await Janode.connect({ address: { url: gateway.ws }, is_admin: false });

/** What `got` is, if it is not `expected`. */
const unless = (what, expected, got) => {
  const [wanted, found] = [JSON.stringify(expected), JSON.stringify(got)];
  return wanted === found ? [] : [`${what}: ${found}, not ${wanted}`];
};

/** Waits until something holds; a problem if it never does. */
async function until(what, holds, patience = 10000) {
  const end = performance.now() + patience;
  while (performance.now() < end) {
    if (await holds()) return [];
    await sleep(50);
  }
  return [`${what} does not happen`];
}

/** The code that a request is refused with. */
const refusal = (asked) => asked.then(() => null, (error) => error.message ?? String(error));
const sorted = (ids) => ids.toSorted((a, b) => a - b);

async function lists(admin) {
  const sessions = await Promise.all(Array.from({ length: 8 }, () => client.create()));
  const handles = await Promise.all(sessions.map((session) => session.attach(EchoTest)));
  const problems = [];
  const listed = await admin.listSessions();
  problems.push(...unless('sessions', sorted(sessions.map(({ id }) => id)), sorted(listed.sessions)));
  for (const [at, session] of sessions.entries()) {
    const { handles: ids } = await admin.listHandles(session.id);
    problems.push(...unless('handles', [handles[at].id], ids));
    const { info } = await admin.handleInfo(session.id, handles[at].id);
    const { session_id, handle_id, plugin, session_transport } = info;
    problems.push(...unless('handle', [session.id, handles[at].id, 'janus.plugin.echotest', 'janus.transport.websockets'],
      [session_id, handle_id, plugin, session_transport]));
  }
  const sdp = readFileSync(join(root, 'tests/fixtures/sdp/offers/plain-audio.sdp'), 'utf8');
  await handles[0].start({ audio: true, video: false, jsep: { type: 'offer', sdp } });
  const { info } = await admin.handleInfo(sessions[0].id, handles[0].id);
  problems.push(...unless('negotiated', true, info.flags.negotiated));
  await handles[1].detach();
  problems.push(...unless('handles after detach', [], (await admin.listHandles(sessions[1].id)).handles));
  problems.push(...unless('a handle that is gone', true, /No such handle/.test(await refusal(admin.handleInfo(sessions[1].id, handles[1].id)))));
  await Promise.all(sessions.map((session) => session.destroy()));
  problems.push(...unless('sessions at the end', [], (await admin.listSessions()).sessions));
  problems.push(...unless('a session that is gone', true, /No such session/.test(await refusal(admin.listHandles(sessions[0].id)))));
  problems.push(...unless('name', 'Janus WebRTC Server', (await admin.getInfo()).name));
  return problems;
}

async function secure() {
  const admin = await connect(`wss://127.0.0.1:${wssPort}`, SECRET, { ca: readFileSync(ca) });
  const problems = await lists(admin);
  await admin.close();
  return problems;
}

async function secret() {
  const problems = [];
  for (const wrong of [undefined, 'wrong']) {
    const admin = await connect(`ws://127.0.0.1:${wsPort}`, wrong);
    problems.push(...unless(`with ${wrong}`, true, /Unauthorized/.test(await refusal(admin.listSessions()))));
    problems.push(...unless('info', 'Janus WebRTC Server', (await admin.getInfo()).name));
    await admin.close();
  }
  return problems;
}

/** A file of a capture is there from the first reply on, and whole with the second. */
async function captured() {
  const session = await client.create();
  const handle = await session.attach(EchoTest);
  const sdp = readFileSync(join(root, 'tests/fixtures/sdp/offers/plain-audio.sdp'), 'utf8');
  await handle.start({ audio: true, video: false, jsep: { type: 'offer', sdp } });
  const [folder, name] = [join(dir, 'captures'), 'call.pcapng'];
  const problems = unless('stop before start', true, /not started/.test(await refusal(operator.stopPcap(session.id, handle.id))));
  const begun = await operator.startPcap(session.id, handle.id, folder, name);
  problems.push(...unless('start', 'success', begun.janus));
  // The block that every pcapng file begins with.
  problems.push(...unless('file', '0a0d0d0a', readFileSync(join(folder, name)).subarray(0, 4).toString('hex')));
  problems.push(...unless('a second one', true, /already started/.test(await refusal(operator.startPcap(session.id, handle.id, folder, 'other')))));
  problems.push(...unless('info', true, (await operator.handleInfo(session.id, handle.id)).info['dump-to-pcap']));
  problems.push(...unless('stop', 'success', (await operator.stopPcap(session.id, handle.id)).janus));
  problems.push(...unless('elsewhere', true, await refusal(operator.startPcap(session.id, handle.id, '/tmp', 'x')) !== null));
  await session.destroy();
  return problems;
}

const query = async (verb, name, request) => (await operator.sendRequest({
  janus: verb, [verb === 'query_transport' ? 'transport' : 'handler']: name, request,
})).response;

async function counted() {
  const { connections } = await query('query_transport', 'janus.transport.websockets', { request: 'connections' });
  const more = await Promise.all(Array.from({ length: 5 }, () => Janode.connect({ address: { url: gateway.ws }, is_admin: false })));
  const { connections: then } = await query('query_transport', 'janus.transport.websockets', { request: 'connections' });
  await Promise.all(more.map((connection) => connection.close()));
  const back = await until('the count comes back', async () => (
    (await query('query_transport', 'janus.transport.websockets', { request: 'connections' })).connections === 2));
  return [...unless('at first', 2, connections), ...unless('with five more', 7, then), ...back];
}

async function logged() {
  const lines = () => gateway.log().split('\n').filter((line) => /socket (opened|ended)/.test(line)).length;
  const come = async () => (await Janode.connect({ address: { url: gateway.ws }, is_admin: false })).close();
  await come();
  const problems = unless('lines before', 0, lines());
  const set = (logging) => query('query_transport', 'janus.transport.websockets', { request: 'configure', logging });
  problems.push(...unless('answer', { result: 200 }, await set('info')));
  await come();
  problems.push(...await until('two lines', () => lines() === 2));
  await set('none');
  await come();
  await sleep(500);
  return [...problems, ...unless('lines at the end', 2, lines())];
}

async function tweaked() {
  const tweak = (settings) => query('query_eventhandler', 'janus.eventhandler.sampleevh', { request: 'tweak', ...settings });
  const live = async () => (await client.create()).destroy();
  await live();
  const problems = unless('answer', { result: 200 }, await tweak({ events: 'sessions' }));
  // Both shards make them from here on.
  for (let count = 0; count < 6; count += 1) await live();
  problems.push(...await until('twelve reports', () => first.names().length === 12));
  await tweak({ backend: second.url, backend_user: 'u', backend_pwd: 'p', grouping: false });
  await live();
  problems.push(...await until('two reports elsewhere', () => second.names().length === 2));
  problems.push(...unless('reports', ['created', 'destroyed'], second.names()));
  problems.push(...unless('credentials', `Basic ${Buffer.from('u:p').toString('base64')}`, second.requests[0]?.authorization));
  problems.push(...unless('grouping', false, Array.isArray(second.requests[0]?.body)));
  problems.push(...unless('the first collector', 12, first.names().length));
  await tweak({ events: 'none' });
  await live();
  await sleep(500);
  return [...problems, ...unless('the second collector', 2, second.names().length)];
}

await checked(report, 'Janode lists sessions, handles and what is known of them', () => lists(operator));
await checked(report, 'Janode does so over TLS', secure);
await checked(report, 'Janode captures the packets of a handle', captured);
await checked(report, 'without the secret there is info, and nothing else', secret);
await checked(report, 'sockets are counted over both shards', counted);
await checked(report, 'what is logged of sockets is switched on and off', logged);
await checked(report, 'an event handler is given other kinds and another collector', tweaked);
await client.close();
await operator.close();
await gateway.stop();
first.close();
second.close();
report.finish();
