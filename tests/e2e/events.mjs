// What event handlers tell a collector of one aiortc call: node events.mjs [BINARY]
//
// Over HTTP (aiohttp) and over WebSocket (websockets), with TLS or without, the collector is there,
// comes ten seconds late, is restarted during the call, or answers that it cannot for a while.
// Whatever it does, it must hear the whole life of the call, each report once and in order; only what
// was on its way when a connection broke may come twice.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeCertificate } from './lib/certificate.mjs';
import { readMetrics, total } from './lib/metrics.mjs';
import { Service, binaryUnderTest, freePort, here, scratchDir, startGateway } from './lib/process.mjs';
import { Report, checked } from './lib/report.mjs';

const USER = 'gateway';
const PASSWORD = 'a secret';
const AWAY = 10000;

/** The life of the call, as the words of its reports without what comes by the way. */
const LIFE = [
  '1 created', '2 attached', '8 remote', '16 gathering', '8 local', '16 connecting', '64 janus.plugin.echotest',
  '16 selected-pair', '16 connected', '16 ready', '16 trying', '16 connected', '16 webrtcup',
  '16 hangup', '2 detached', '1 destroyed',
];

/** What a report says in a word. */
function word({ type, event }) {
  if (Array.isArray(event)) return `${type} statistics`;
  const names = ['name', 'owner', 'ice', 'dtls', 'connection', 'status', 'plugin'];
  const name = names.find((each) => typeof event[each] === 'string');
  if (name && event.transport === undefined) return `${type} ${event[name]}`;
  if (event['packets-received'] !== undefined) return `${type} statistics`;
  return `${type} ${event.name ?? event.data?.event ?? Object.keys(event)[0]}`;
}

/** A server that keeps what it is told, in a file; `reports` reads it. */
class Collector {
  constructor(python, way, port, dir, pair = []) {
    Object.assign(this, { python, way, port, dir, pair, file: join(dir, `${way}.jsonl`), starts: 0 });
  }

  start() {
    const script = join(here, 'collector.py');
    this.starts += 1;
    const name = `collector-${this.way}-${this.starts}`;
    this.service = new Service(name, this.python, ['-B', script, this.way, String(this.port), this.file, ...this.pair], { dir: this.dir });
    return this.service.listening(this.port);
  }

  refuse() {
    writeFileSync(`${this.file}.refuse`, '');
  }

  accept() {
    rmSync(`${this.file}.refuse`);
  }

  stop() {
    return this.service?.stop();
  }

  reports() {
    if (!existsSync(this.file)) return [];
    return readFileSync(this.file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }

  /** The reports, once one of them says that the gateway stopped. */
  async allReports() {
    for (let tries = 0; tries < 100; tries += 1) {
      const reports = this.reports();
      if (reports.some(({ event }) => event.status === 'shutdown')) return reports;
      await sleep(100);
    }
    return this.reports();
  }
}

function configFile(dir, ways, { combined, ca, adminPort }) {
  const file = join(dir, 'bifrons.toml');
  const s = ca ? 's' : '';
  const tables = ways.map(({ way, port }) => (way === 'http'
    ? `[events.post]\nenabled = true\nbackend = "http${s}://127.0.0.1:${port}/events"\nuser = "${USER}"\npassword = "${PASSWORD}"\ncompress = true\n`
    : `[events.ws]\nenabled = true\nbackend = "ws${s}://127.0.0.1:${port}/events"\n`));
  const admin = `[admin]\nenabled = true\nbind = "127.0.0.1:${adminPort}"\n\n`;
  const trust = ca ? `ca_pem = "${ca}"\n` : '';
  writeFileSync(file, `${admin}[events]\nenabled = true\ncombine_media_stats = ${combined}\n${trust}\n${tables.join('\n')}`);
  return file;
}

/** What is wrong with the reports of the one call. */
function problemsOf(reports, { combined }) {
  const problems = [];
  const words = reports.map(word);
  const told = words.filter((each) => LIFE.includes(each));
  if (told.join() !== LIFE.join()) problems.push(`the call was told as ${told.join(', ')}`);
  const first = words[0];
  const last = words.at(-1);
  if (first !== '256 started') problems.push(`the first report is ${first}`);
  if (last !== '256 shutdown') problems.push(`the last report is ${last}`);
  const texts = reports.map((report) => JSON.stringify(report));
  const twice = texts.filter((text, at) => texts.indexOf(text) < at);
  // Only what says the same at the same microsecond could be a report that came twice.
  if (twice.length > 0) problems.push(`told twice: ${twice[0]}`);
  for (let at = 1; at < reports.length; at += 1) {
    const [before, after] = [reports[at - 1], reports[at]];
    const isSame = before.session_id !== undefined && before.session_id === after.session_id;
    const isStep = before.type === 16 || after.type === 16; // Steps of a connection have their own times.
    if (isSame && !isStep && before.timestamp > after.timestamp) problems.push(`out of order at ${at}: ${words[at]}`);
  }
  const created = reports.find((report) => word(report) === '1 created');
  const request = reports.find(({ type, event }) => type === 128 && event.id === created?.event.transport.id);
  if (!request) problems.push('no request is named by the session');
  problems.push(...statisticsProblems(reports, combined));
  return problems;
}

/** The reports without those that came again. */
function unrepeated(reports) {
  const seen = new Set();
  return reports.filter((report) => {
    const text = JSON.stringify(report);
    return !seen.has(text) && seen.add(text);
  });
}

function statisticsProblems(reports, combined) {
  const statistics = reports.filter(({ type, subtype }) => type === 32 && subtype === 3);
  if (statistics.some(({ event }) => Array.isArray(event) !== combined)) return ['statistics have the wrong shape'];
  const all = statistics.flatMap(({ event }) => event);
  const problems = [];
  for (const media of ['audio', 'video', 'data']) {
    const last = all.findLast((each) => each.media === media);
    const least = media === 'data' ? 2 : 10;
    if (!(last?.['packets-received'] >= least && last?.['packets-sent'] >= least)) {
      problems.push(`statistics of ${media}: ${JSON.stringify(last)}`);
    }
  }
  return problems;
}

/** Makes a call while the collectors do as `around` says, and looks at what they were told. */
async function scenario(python, name, ways, around, { combined = false, tls = false, mayRepeat = false, isTold = true } = {}) {
  const dir = scratchDir(name.replaceAll(' ', '-'));
  const { ca, cert, key } = tls ? makeCertificate(dir) : {};
  const pair = tls ? [cert, key] : [];
  const collectors = [];
  for (const way of ways) collectors.push(new Collector(python, way, await freePort(), dir, pair));
  const adminPort = await freePort();
  // Whoever is not vouched for shows a certificate of an authority that nobody named.
  const trusted = isTold ? ca : makeCertificate(scratchDir(`${name.replaceAll(' ', '-')}-other`)).ca;
  const config = configFile(dir, collectors, { combined, ca: trusted, adminPort });
  let gateway;
  const call = async () => {
    const caller = new Service('call', python, ['-B', join(here, 'aiortc_echo.py'), gateway.base], { dir });
    const { code } = (await caller.ending(90000)) ?? {};
    return code === 0 ? [] : [`the call failed: ${caller.log().slice(-500)}`];
  };
  const begin = async () => {
    gateway = await startGateway(binaryUnderTest(), { name: `gateway-${name.replaceAll(' ', '-')}`, more: ['--config', config] });
  };
  try {
    const problems = await around({ collectors, begin, call, admin: `http://127.0.0.1:${adminPort}` });
    await gateway.stop();
    for (const collector of collectors) {
      if (!isTold) {
        const { length } = collector.reports();
        if (length > 0) problems.push(`${collector.way}: ${length} reports came`);
        continue;
      }
      const all = await collector.allReports();
      const found = problemsOf(mayRepeat ? unrepeated(all) : all, { combined });
      problems.push(...found.map((problem) => `${collector.way}: ${problem}`));
    }
    const credentials = collectors.find(({ way }) => way === 'http');
    if (credentials && existsSync(`${credentials.file}.credentials`)) {
      const header = readFileSync(`${credentials.file}.credentials`, 'utf8');
      const wanted = `Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString('base64')}`;
      if (header !== wanted) problems.push(`credentials are ${header}`);
    }
    return problems;
  } finally {
    await gateway?.stop();
    for (const collector of collectors) await collector.stop();
  }
}

const all = (collectors, act) => Promise.all(collectors.map(act));

/** The collectors end and come back while the call goes on. */
async function restarted({ collectors, begin, call }) {
  await all(collectors, (each) => each.start());
  await begin();
  const calling = call();
  const heard = async (collector, least) => {
    for (let tries = 0; tries < 300 && collector.reports().length < least; tries += 1) await sleep(50);
    return collector.reports().length;
  };
  const before = await all(collectors, (each) => heard(each, 10));
  await all(collectors, (each) => each.stop());
  await sleep(500);
  await all(collectors, (each) => each.start());
  const problems = await calling;
  const after = await Promise.all(collectors.map((each, at) => heard(each, before[at] + 1)));
  before.forEach((count, at) => {
    if (count < 10) problems.push(`${collectors[at].way}: ${count} reports came before the restart`);
    if (after[at] <= count) problems.push(`${collectors[at].way}: ${after[at]} reports, none after the restart`);
  });
  return problems;
}

/** A collector that nobody vouches for: handlers try, and tell it nothing. */
async function stranger({ collectors, begin, call, admin }) {
  await all(collectors, (each) => each.start());
  await begin();
  const problems = await call();
  const samples = await readMetrics(admin);
  const delivered = total(samples, 'bifrons_events_delivered_reports_total');
  if (delivered !== 0) problems.push(`${delivered} reports count as delivered`);
  for (const handler of ['post', 'ws']) {
    const failed = samples[`bifrons_events_failed_deliveries_total{handler="${handler}"}`];
    if (!(failed > 0)) problems.push(`${handler}: ${failed} failures are counted`);
  }
  return problems;
}

const SCENARIOS = {
  'a collector that is there': [async ({ collectors, begin, call }) => {
    await all(collectors, (each) => each.start());
    await begin();
    return call();
  }, { combined: true }],
  'a collector that speaks TLS': [async ({ collectors, begin, call }) => {
    await all(collectors, (each) => each.start());
    await begin();
    return call();
  }, { tls: true }],
  'a collector that is restarted during the call': [restarted, { mayRepeat: true }],
  'a collector that speaks TLS and is restarted during the call': [restarted, { tls: true, mayRepeat: true }],
  'a collector that is away for ten seconds': [async ({ collectors, begin, call }) => {
    await all(collectors, (each) => each.start());
    await begin();
    await all(collectors, (each) => each.stop());
    const problems = await call();
    await sleep(AWAY);
    await all(collectors, (each) => each.start());
    await sleep(9000); // The longest pause between two tries, and a little.
    return problems;
  }],
  'a collector that cannot for a while': [async ({ collectors, begin, call }) => {
    await all(collectors, (each) => { each.refuse(); return each.start(); });
    await begin();
    const problems = await call();
    await all(collectors, (each) => each.accept());
    await sleep(9000);
    return problems;
  }],
};

const report = new Report('events');
const python = spawnSync(join(here, 'python.sh'), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
if (python.status === 0) {
  const run = (name, around, options) => () => scenario(python.stdout.trim(), name, ['http', 'ws'], around, options);
  const checks = Object.entries(SCENARIOS).map(([name, [around, options]]) => (
    [`${name} hears of everything, in order`, run(name, around, options)]));
  checks.push(['a collector that nobody vouches for hears nothing', run('a stranger', stranger, { tls: true, isTold: false })]);
  // Some side by side: they mostly wait.
  while (checks.length > 0) {
    await Promise.all(checks.splice(0, 4).map(([name, body]) => checked(report, name, body)));
  }
} else {
  report.skip('collectors', 'aiohttp cannot be installed');
}
report.finish();
