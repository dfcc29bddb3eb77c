// A thousand idle long polls, then ten thousand, on one gateway each: they are held, a ping beside
// them is answered, and every one ends with a complete answer.
//
//   node idle_polls.mjs [--some=1000] [--many=10000] [BINARY]
//
// The thousand wait for their keepalives. Of the ten thousand, some get events; SIGTERM ends the
// rest. Clients and gateway are processes of their own, so each needs about 11,000 descriptors.

import { Agent } from 'node:http';
import { readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, request } from './lib/http.mjs';
import { eventProblems, keepaliveProblems } from './lib/polls.mjs';
import { binaryUnderTest, option, startGateway } from './lib/process.mjs';
import { Report, checked } from './lib/report.mjs';

// One address may hold and create only so much; a crowd comes from many.
const POLLS_PER_ADDRESS = 200;
const CREATES_PER_SECOND_AND_ADDRESS = 50;
const PING_MS = 4000;
const PING_P99_LIMIT_MS = 250;

const report = new Report('idle polls');

const addressOf = (index) => `127.0.1.${1 + Math.floor(index / POLLS_PER_ADDRESS)}`;

/** Creates `count` sessions from as many addresses as that needs; the first few with a handle. */
async function openCrowd(base, count, withHandle) {
  const crowd = new Array(count);
  const fromAddress = async (first) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const client = new Client(base, { agent, localAddress: addressOf(first) });
    const began = performance.now();
    for (let index = first; index < Math.min(first + POLLS_PER_ADDRESS, count); index += 1) {
      await sleep(began + ((index - first) * 1000) / CREATES_PER_SECOND_AND_ADDRESS - performance.now());
      const session = await client.create();
      const handle = index < withHandle ? await client.attach(session) : null;
      crowd[index] = { session, handle, localAddress: addressOf(index) };
    }
    agent.destroy();
  };
  const addresses = Array.from({ length: Math.ceil(count / POLLS_PER_ADDRESS) }, (_, index) => index * POLLS_PER_ADDRESS);
  await Promise.all(addresses.map(fromAddress));
  return crowd;
}

/** Opens a poll on each session; resolves, once all are connected, to the answers to come. */
async function openPolls(base, crowd) {
  const answers = [];
  const connected = crowd.map(({ session, localAddress }) => new Promise((resolve) => {
    const onSocket = (socket) => socket.once('connect', resolve);
    const answer = request(`${base}/${session}?maxev=10`, { localAddress, onSocket, timeout: 60000 })
      .catch((error) => ({ error: error.message, ms: NaN }));
    answer.then(resolve);
    answers.push(answer);
  }));
  await Promise.all(connected);
  return answers;
}

async function pingBeside(base) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const client = new Client(base, { agent });
  const taken = [];
  const until = performance.now() + PING_MS;
  while (performance.now() < until) {
    const began = performance.now();
    await client.post('', { janus: 'ping' });
    taken.push(performance.now() - began);
  }
  agent.destroy();
  taken.sort((a, b) => a - b);
  const at = (share) => taken[Math.min(taken.length - 1, Math.floor(taken.length * share))];
  return { count: taken.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

async function checkPing(gateway, held, rssBefore) {
  const { count, p50, p99, max } = await pingBeside(gateway.base);
  const times = `p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, max ${max.toFixed(1)} ms of ${count}`;
  report.check(`ping beside ${held} polls: ${times}`, p99 < PING_P99_LIMIT_MS ? [] : [`p99 is over ${PING_P99_LIMIT_MS} ms`]);
  const grown = (rss(gateway) - rssBefore) / held / 1024;
  report.note(`${held} sessions with a held poll: ${grown.toFixed(1)} KiB of memory each`);
}

const descriptors = ({ child }) => readdirSync(`/proc/${child.pid}/fd`).length;

function rss({ child }) {
  const [, kib] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'));
  return Number(kib) * 1024;
}

async function untilKeepalive(gateway, count) {
  const before = rss(gateway);
  const crowd = await openCrowd(gateway.base, count, 0);
  const answers = Promise.all(await openPolls(gateway.base, crowd));
  await checkPing(gateway, count, before);
  return { answers };
}

async function untilTermination(gateway, count) {
  const asked = Math.min(1000, Math.floor(count / 10));
  const before = rss(gateway);
  const crowd = await openCrowd(gateway.base, count, asked);
  const answers = await openPolls(gateway.base, crowd);
  let early = 0;
  for (const answer of answers) answer.then(() => { early += 1; });
  await sleep(500);
  report.check(`${count} polls are held`, [
    ...(early === 0 ? [] : [`${early} were answered at once`]),
    ...(descriptors(gateway) >= count ? [] : [`the gateway has ${descriptors(gateway)} descriptors`]),
  ]);
  await checkPing(gateway, count, before);
  await checkEvents(gateway, crowd.slice(0, asked), answers.slice(0, asked));
  await checkTermination(gateway, answers.slice(asked));
}

async function checkEvents(gateway, crowd, answers) {
  await checked(report, `${crowd.length} of them end with their events`, async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 4 });
    const client = new Client(gateway.base, { agent });
    await Promise.all(crowd.map(({ session, handle }, index) => client.ask(session, handle, `crowd-${index}`)));
    agent.destroy();
    return eventProblems({ polls: await Promise.all(answers), asks: [] }, 'crowd');
  });
}

async function checkTermination(gateway, answers) {
  const began = performance.now();
  gateway.child.kill('SIGTERM');
  const ends = await Promise.all(answers);
  const taken = ((performance.now() - began) / 1000).toFixed(1);
  const lively = ends.filter(({ headers }) => headers && headers.connection !== 'close').length;
  report.check(`SIGTERM ends ${answers.length} polls with complete answers, in ${taken} s`, [
    ...keepaliveProblems(ends, { earliest: 0, latest: Infinity }),
    ...(lively === 0 ? [] : [`${lively} answers have no "Connection: close"`]),
  ]);
  gateway.child.kill('SIGTERM'); // the second one skips the wait for the sessions
  const end = (await gateway.ending(5000)) ?? (await gateway.stop());
  report.check('the gateway ends in order', end.code === 0 ? [] : [JSON.stringify(end)]);
}

const some = option('some', 1000);
const many = option('many', 10000);
const binary = binaryUnderTest();
const first = await startGateway(binary, { name: 'some' });
const second = await startGateway(binary, { name: 'many' });
const waiting = await untilKeepalive(first, some);
await untilTermination(second, many).catch((error) => report.check(`${many} polls`, [error.stack]));
report.check(`${some} polls end with their keepalives`, keepaliveProblems(await waiting.answers));
await first.stop();
await second.stop();
report.finish();
