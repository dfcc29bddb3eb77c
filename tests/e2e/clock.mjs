// Long polls while clocks misbehave: each must end with a complete keepalive after 30 s.
//
//   node clock.mjs [BINARY]
//
// The wall clock is stepped by a day, forwards, backwards and to and fro, while polls wait: a
// preloaded library does it (clock_shim.c). The monotonic and the boot-time clock get other origins
// by a time namespace. A toy gateway that does wrong shows that each of these checks can fail.

import { spawnSync } from 'node:child_process';
import { readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, request, transaction } from './lib/http.mjs';
import { idlePolls, keepaliveProblems } from './lib/polls.mjs';
import { binaryUnderTest, here, scratchDir, startGateway } from './lib/process.mjs';
import { Report } from './lib/report.mjs';

const DAY = 86400;
const POLLS = 10;
const STEP_AFTER_MS = 10000;
const TOY = join(here, 'lib/wrong_clock_gateway.mjs');

const report = new Report('clock');

/** What is done to the wall clock: seconds to add, after milliseconds. */
const STEPS = {
  'the wall clock a day forwards': [[STEP_AFTER_MS, DAY]],
  'the wall clock a day back': [[STEP_AFTER_MS, -DAY]],
  'the wall clock to and fro': Array.from({ length: 180 }, (_, index) => [STEP_AFTER_MS + index * 100, [DAY, -DAY, 0][index % 3]]),
};

/** Origins of the other clocks, in seconds from where they are; either may be ahead. */
const NAMESPACES = {
  'boot time far ahead of monotonic time': ['--monotonic=1000', `--boottime=${30 * DAY}`],
  'monotonic time far ahead of boot time': [`--monotonic=${30 * DAY}`, '--boottime=1000'],
};

function compileShim() {
  const shim = join(scratchDir('clock'), 'clock_shim.so');
  const made = spawnSync('cc', ['-shared', '-fPIC', '-O2', '-o', shim, join(here, 'clock_shim.c')], { encoding: 'utf8' });
  return made.status === 0 ? shim : null;
}

function writeStep(file, seconds) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(seconds));
  writeFileSync(file, bytes, { flag: 'r+' });
}

// The gateway's own idea of the time, in seconds from ours.
async function dateOffset(base) {
  const { headers } = await request(`${base}/info`);
  return (Date.parse(headers.date) - Date.now()) / 1000;
}

async function openSessions(client) {
  const sessions = [];
  while (sessions.length < POLLS + 1) {
    const session = await client.create();
    sessions.push({ session, handle: await client.attach(session) });
  }
  return sessions;
}

async function afterwards(client, polled, idle) {
  const problems = [];
  const name = transaction();
  const poll = client.poll(polled.session, { maxev: 10 });
  await client.ask(polled.session, polled.handle, name);
  const [event] = await poll;
  if (event.transaction !== name) problems.push(`after the polls, not the event: ${JSON.stringify(event)}`);
  await client.post(`/${idle.session}`, { janus: 'keepalive' });
  return problems;
}

/** Holds polls on `gateway` while `meanwhile` runs; what is wrong with how they end. */
async function heldThrough(gateway, meanwhile) {
  const client = new Client(gateway.base);
  const [idle, ...polled] = await openSessions(client);
  const [answers] = await Promise.all([idlePolls(gateway.base, polled, { timeout: 34000 }), meanwhile()]);
  const problems = keepaliveProblems(answers, { earliest: 29000, latest: 31000 });
  return problems.length > 0 ? problems : afterwards(client, polled[0], idle);
}

async function stepWallClock(binary, shim, steps, name, env = {}) {
  const file = join(scratchDir(name), 'step');
  writeFileSync(file, Buffer.alloc(8));
  const gateway = await startGateway(binary, { name, preload: shim, env: { ...env, CLOCK_SHIM_FILE: file } });
  const problems = await heldThrough(gateway, async () => {
    const began = performance.now();
    for (const [due, seconds] of steps) {
      await sleep(Math.max(0, began + due - performance.now()));
      writeStep(file, seconds);
    }
  });
  writeStep(file, DAY);
  await sleep(1500); // a server may write the same date for a second
  const offset = await dateOffset(gateway.base).catch(() => NaN);
  if (!(Math.abs(offset - DAY) < 60)) problems.push(`the steps did not reach the process: its date is ${offset} s from ours`);
  await gateway.stop();
  return problems;
}

async function inTimeNamespace(binary, offsets, name, env = {}) {
  const gateway = await startGateway(binary, { name, env, wrap: ['unshare', '-T', ...offsets] });
  const entered = readlinkSync(`/proc/${gateway.child.pid}/ns/time`) !== readlinkSync('/proc/self/ns/time');
  const problems = entered ? [] : ['the process is not in a time namespace of its own'];
  problems.push(...await heldThrough(gateway, async () => {}));
  await gateway.stop();
  return problems;
}

// Runs the same test on the gateway and on the toy, which must fail it by its polls alone.
async function both(title, index, test, wrong) {
  const caught = (problems) => problems.filter((problem) => problem.startsWith('poll ')).length === POLLS;
  const [real, toy] = await Promise.all([
    test(binaryUnderTest(), `clock${index}`).catch((error) => [error.stack]),
    test(TOY, `toy${index}`, { WRONG_CLOCK: wrong }).catch((error) => [error.stack]),
  ]);
  report.check(`${title}: ${POLLS} polls end after 30 s`, real);
  report.check(`${title}: a gateway with the wrong clock is found out`, caught(toy) ? [] : ['it was not', ...toy]);
}

const runs = [];
const shim = compileShim();
for (const [title, steps] of Object.entries(STEPS)) {
  const test = (binary, name, env) => stepWallClock(binary, shim, steps, name, env);
  if (shim) runs.push(both(title, runs.length, test, 'wall'));
  else report.skip(title, 'no C compiler for the library to preload');
}
const mayEnter = spawnSync('unshare', ['-T', 'true']).status === 0;
for (const [title, offsets] of Object.entries(NAMESPACES)) {
  const test = (binary, name, env) => inTimeNamespace(binary, offsets, name, env);
  if (mayEnter) runs.push(both(title, runs.length, test, 'mixed'));
  else report.skip(title, 'no permission to make a time namespace');
}
await Promise.all(runs);
report.finish();
