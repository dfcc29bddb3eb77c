// No event is lost, doubled or reordered, on real sockets: with clients that are killed while they
// poll or while an answer is on its way to them, and with requests spread over two shards.
//
//   node delivery.mjs [BINARY]

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, pool } from './lib/http.mjs';
import { openSessions } from './lib/polls.mjs';
import { binaryUnderTest, here, startGateway } from './lib/process.mjs';
import { Report, checked } from './lib/report.mjs';

const report = new Report('delivery');
const gateway = await startGateway(binaryUnderTest(), { shards: 2 });
const client = new Client(gateway.base);

/** Starts a process that polls at `paths` and reads nothing; resolves once it has sent all polls. */
async function startDoomed(paths) {
  const script = join(here, 'lib/doomed_client.py');
  const child = spawn('python3', ['-B', script, String(gateway.port), ...paths], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => { child.once('exit', resolve); });
  await new Promise((resolve, reject) => {
    child.stdout.once('data', resolve);
    child.once('exit', () => reject(new Error('the client ended by itself')));
  });
  return () => {
    child.kill('SIGKILL');
    return ended;
  };
}

/** Polls until `count` events have come or none comes for a while; their transactions in order. */
async function collect(session, count, patience = 5000) {
  const names = [];
  const until = performance.now() + patience;
  while (names.length < count && performance.now() < until) {
    const events = await client.poll(session, { maxev: 1000, timeout: patience }).catch((error) => [{ transaction: String(error) }]);
    names.push(...events.filter(({ janus }) => janus !== 'keepalive').map((event) => event.transaction));
  }
  return names;
}

/** What is wrong with the events of one session, compared with those that must have come. */
function differences(session, got, expected) {
  const missing = expected.filter((name) => !got.includes(name)).length;
  const doubled = got.length - new Set(got).size;
  const same = got.length === expected.length && got.every((name, index) => name === expected[index]);
  if (same) return [];
  const first = got.findIndex((name, index) => name !== expected[index]);
  return [`session ${session}: ${missing} of ${expected.length} lost, ${doubled} doubled, first difference at ${first}: ${String(got[first]).slice(0, 80)}`];
}

/** The client of a held poll is killed; events that come afterwards go to the next poll. */
async function killedWhileWaiting() {
  const sessions = await openSessions(gateway.base, 40);
  const kill = await startDoomed(sessions.map(({ session }) => `/janus/${session}?maxev=10`));
  await sleep(500);
  await kill();
  await sleep(1000); // what the gateway has for noticing
  const results = await pool(sessions, 20, async ({ session, handle }) => {
    const name = await client.ask(session, handle);
    return differences(session, await collect(session, 1), [name]);
  });
  return results.flat();
}

/** The client is killed while it takes an answer that the kernel could not yet take as a whole. */
async function killedWhileAnswered() {
  const events = 300;
  const padding = 'x'.repeat(900);
  const sessions = await openSessions(gateway.base, 10);
  const asked = await pool(sessions, 10, async ({ session, handle }) => {
    const names = [];
    for (let index = 0; index < events; index += 1) {
      names.push(await client.ask(session, handle, `${index}-${padding}`));
    }
    return names;
  });
  const kill = await startDoomed(sessions.map(({ session }) => `/janus/${session}?maxev=1000`));
  await sleep(1000);
  await kill();
  await sleep(1000);
  const results = await pool(sessions, 10, async ({ session }, index) => (
    differences(session, await collect(session, events), asked[index])
  ));
  return results.flat();
}

/** Fifty sessions, every request and every poll on a connection of its own: either shard may get it. */
async function spreadOverShards() {
  const messages = 60;
  const sessions = await openSessions(gateway.base, 50);
  const results = await Promise.all(sessions.map(async ({ session, handle }, index) => {
    const expected = Array.from({ length: messages }, (_, number) => `s${index}-${number}`);
    const got = [];
    const poll = async () => {
      const until = performance.now() + 25000;
      while (got.length < messages && performance.now() < until) {
        const maxev = got.length % 3 === 0 ? 1 : 10;
        const answer = await client.poll(session, { maxev });
        got.push(...[answer].flat().filter(({ janus }) => janus === 'event').map((event) => event.transaction));
      }
    };
    const send = async () => {
      for (const name of expected) await client.ask(session, handle, name);
    };
    await Promise.all([poll(), send()]);
    await client.destroy(session);
    return differences(session, got, expected);
  }));
  return results.flat();
}

await checked(report, '40 clients killed while they wait: the next poll gets the event', killedWhileWaiting);
await checked(report, '10 clients killed while they are answered: the next poll gets all 300 events', killedWhileAnswered);
await checked(report, '50 sessions over 2 shards: 3,000 events, none lost, doubled or reordered', spreadOverShards);
await gateway.stop();
report.finish();
