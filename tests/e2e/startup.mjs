// How the gateway starts, refuses to start, and ends: node startup.mjs [BINARY]
//
// With Janus' own sample files; with flags, ports and limits that cannot work, which must give one
// line on stderr and status 78; with every signal that must or must not end it.

import { spawnSync } from 'node:child_process';
import { cpSync, existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, json, request } from './lib/http.mjs';
import { Service, binaryUnderTest, freePort, freeUdpPorts, scratchDir, startGateway } from './lib/process.mjs';
import { Report, checked } from './lib/report.mjs';

const SAMPLES = '/etc/janus';
const REFUSED = 78;

const report = new Report('startup');
const binary = binaryUnderTest();

async function flags(port) {
  const ws = `127.0.0.1:${await freePort()}`;
  return ['--http', `127.0.0.1:${port}`, '--ws', ws, '--media-ip', '127.0.0.1', '--media-port', String(await freeUdpPorts(2)), '--shards', '2'];
}

async function answers(base) {
  const info = json(await request(`${base}/info`));
  const { name, version_string: version, bifrons } = info;
  const right = info.janus === 'server_info' && name === 'Janus WebRTC Server' && version && bifrons;
  return right ? [] : [`not the information about this gateway: ${JSON.stringify(info).slice(0, 300)}`];
}

async function withSampleFiles() {
  const dir = scratchDir('samples');
  cpSync(SAMPLES, dir, { recursive: true });
  const port = await freePort();
  const service = new Service('bifrons', binary, ['-F', dir, '-C', join(dir, 'janus.jcfg'), ...await flags(port)], { dir });
  await service.listening(port);
  const problems = await answers(`http://127.0.0.1:${port}/janus`);
  const end = await service.stop();
  return end.code === 0 ? problems : [...problems, `it ended with ${JSON.stringify(end)}`];
}

/** Starts the gateway in a way that it must refuse: one line that `names` the trouble, status 78. */
function refusal(command, args, names) {
  const { status, signal, stderr } = spawnSync(command, args, { encoding: 'utf8', timeout: 10000 });
  const lines = stderr.trim().split('\n');
  const problems = status === REFUSED ? [] : [`status ${status}, signal ${signal}`];
  if (lines.length !== 1) problems.push(`${lines.length} lines on stderr`);
  if (!names.test(stderr)) problems.push(`stderr does not tell: ${stderr.slice(0, 400)}`);
  return problems;
}

async function takenPort() {
  const other = createServer();
  await new Promise((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address();
  const problems = refusal(binary, await flags(port), new RegExp(`${port}`));
  other.close();
  return problems;
}

async function fewDescriptors() {
  const args = await flags(await freePort());
  return refusal('sh', ['-c', 'ulimit -n 512; exec "$0" "$@"', binary, ...args], /descriptor|file|nofile/i);
}

async function endsAt(signal) {
  const gateway = await startGateway(binary, { name: `ends-${signal}` });
  const problems = await answers(gateway.base);
  const poll = request(`${gateway.base}/${await new Client(gateway.base).create()}`);
  await sleep(300);
  const began = performance.now();
  gateway.child.kill(signal);
  if (json(await poll).janus !== 'keepalive') problems.push('the poll that waited got no keepalive');
  if (performance.now() - began > 1500) problems.push(`the poll that waited was answered after ${performance.now() - began} ms`);
  gateway.child.kill(signal);
  const end = (await gateway.ending(4000)) ?? { late: true };
  if (end.code !== 0) problems.push(JSON.stringify(end));
  await gateway.stop();
  return problems;
}

async function survives() {
  const gateway = await startGateway(binary, { name: 'survives' });
  const problems = [];
  for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGPIPE']) {
    gateway.child.kill(signal);
    await sleep(200);
    if (gateway.end) return [`${signal} ended it: ${JSON.stringify(gateway.end)}`];
    problems.push(...await answers(gateway.base));
  }
  await gateway.stop();
  return problems;
}

if (existsSync(join(SAMPLES, 'janus.jcfg'))) {
  await checked(report, 'starts with the sample files of Debian\'s janus', withSampleFiles);
} else {
  report.skip('sample files', 'the package janus cannot be installed');
}
await checked(report, 'refuses a flag that it does not know', () => refusal(binary, ['--no-such-flag'], /no-such-flag/));
await checked(report, 'refuses a port that is taken', takenPort);
await checked(report, 'refuses to start with 512 descriptors', fewDescriptors);
await checked(report, 'refuses a folder without configuration', () => refusal(binary, ['-F', '/nonexistent', '-C', '/nonexistent/janus.jcfg'], /nonexistent/));
await checked(report, 'SIGTERM answers what waits, then ends it', () => endsAt('SIGTERM'));
await checked(report, 'SIGINT answers what waits, then ends it', () => endsAt('SIGINT'));
await checked(report, 'SIGHUP, SIGUSR1, SIGUSR2 and SIGPIPE do not end it', survives);
report.finish();
