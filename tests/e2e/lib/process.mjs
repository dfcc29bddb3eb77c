// Starts and ends the servers of a test, each by its own process id, and finds free ports.

import { spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const here = dirname(dirname(fileURLToPath(import.meta.url)));
export const root = dirname(dirname(here));

/** The gateway under test: the first argument that is no option, `BIFRONS`, or the release build. */
export function binaryUnderTest() {
  const named = process.argv.slice(2).find((word) => !word.startsWith('-'));
  return named ?? process.env.BIFRONS ?? join(root, 'target/release/bifrons');
}

/** The value of `--NAME=NUMBER` on the command line. */
export function option(name, fallback) {
  const word = process.argv.find((argument) => argument.startsWith(`--${name}=`));
  return word ? Number(word.slice(name.length + 3)) : fallback;
}

export function isJanus(binary) {
  return basename(binary) === 'janus';
}

export function installed(command) {
  return spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;
}

let scratch = null;

/** A folder for the files of this run, below the build folder. */
export function scratchDir(name) {
  if (!scratch) {
    const parent = join(root, 'target/e2e');
    mkdirSync(parent, { recursive: true });
    scratch = mkdtempSync(join(parent, 'run-'));
  }
  const dir = join(scratch, name);
  mkdirSync(dir, { recursive: true });
  return dir;
}

export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function udpIsFree(port) {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.once('error', () => resolve(false));
    socket.bind(port, '127.0.0.1', () => socket.close(() => resolve(true)));
  });
}

/** The first of `count` free UDP ports in a row, below the range that the system hands out. */
export async function freeUdpPorts(count) {
  for (let tries = 0; tries < 100; tries += 1) {
    const first = 20000 + Math.floor(Math.random() * 10000);
    const free = [];
    for (let port = first; port < first + count; port += 1) free.push(await udpIsFree(port));
    if (free.every(Boolean)) return first;
  }
  throw new Error('no free UDP ports');
}

/** Whether something accepts connections on a port, of loopback by default. */
export function accepts(port, host = '127.0.0.1') {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    socket.once('connect', () => { socket.destroy(); resolve(true); });
    socket.once('error', () => resolve(false));
  });
}

const running = new Set();
process.on('exit', () => { for (const child of running) child.kill('SIGKILL'); });
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

/** A child process with its output in a file; `stop` ends it and tells how it ended. */
export class Service {
  constructor(name, command, args, { env = {}, dir } = {}) {
    this.name = name;
    this.logFile = join(dir, `${name}.log`);
    const log = openSync(this.logFile, 'a');
    this.child = spawn(command, args, {
      stdio: ['ignore', log, log],
      env: { ...process.env, ...env },
    });
    running.add(this.child);
    this.ended = new Promise((resolve) => {
      this.child.once('error', (error) => resolve({ error }));
      this.child.once('exit', (code, signal) => resolve({ code, signal }));
    }).then((end) => {
      running.delete(this.child);
      this.end = end;
      return end;
    });
  }

  log() {
    return readFileSync(this.logFile, 'utf8');
  }

  async listening(port, host) {
    for (let tries = 0; tries < 150; tries += 1) {
      if (this.end) throw new Error(`${this.name} ended: ${JSON.stringify(this.end)}\n${this.log().slice(-2000)}`);
      if (await accepts(port, host)) return this;
      await sleep(100);
    }
    throw new Error(`${this.name} does not listen on port ${port}\n${this.log().slice(-2000)}`);
  }

  /** Waits for the end; `null` if it does not come in time. */
  ending(patience) {
    return Promise.race([this.ended, sleep(patience, null, { ref: false })]);
  }

  /**
   * Asks the process to end, and once more a second later, which tells a gateway to drain no
   * longer; kills it where that does not help.
   */
  async stop() {
    for (const patience of [1000, 5000]) {
      this.child.kill('SIGTERM');
      const end = await this.ending(patience);
      if (end) return end;
    }
    this.child.kill('SIGKILL');
    await this.ended;
    return { killed: true };
  }
}

// Janus takes a folder; bifrons takes flags. The tests are tried out against both.
function janusConfig(port, wsPort, dir) {
  writeFileSync(join(dir, 'janus.jcfg'), `
general: { debug_level = 3, debug_colors = false, interface = "127.0.0.1" }
media: { ipv6 = false }
nat: { ice_enforce_list = "127.0.0.1" }
plugins: { disable = "libjanus_sip.so,libjanus_nosip.so,libjanus_lua.so,libjanus_duktape.so,libjanus_voicemail.so,libjanus_streaming.so,libjanus_audiobridge.so" }
transports: { disable = "libjanus_rabbitmq.so,libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so" }
`);
  writeFileSync(join(dir, 'janus.transport.http.jcfg'), `
general: { http = true, port = ${port}, ip = "127.0.0.1", https = false }
`);
  writeFileSync(join(dir, 'janus.transport.websockets.jcfg'), `
general: { ws = true, ws_port = ${wsPort}, ws_ip = "127.0.0.1", wss = false }
`);
  return ['-F', dir, '-C', join(dir, 'janus.jcfg')];
}

async function bifronsFlags(port, wsPort, shards, host) {
  return [
    '--http', `${host}:${port}`,
    '--ws', `${host}:${wsPort}`,
    '--media-ip', host,
    '--media-port', String(await freeUdpPorts(shards)),
    '--shards', String(shards),
    '--log', 'info',
  ];
}

/**
 * Starts the gateway on free loopback ports; resolves once it accepts connections. `wrap` is a
 * command that runs it; `preload` is a library for it alone; `host` is its address, other than
 * loopback in a network namespace of the test's own; `more` are further arguments.
 */
export async function startGateway(binary, { shards = 2, name = 'gateway', env = {}, wrap = [], preload, host = '127.0.0.1', more = [] } = {}) {
  const dir = scratchDir(name);
  const port = await freePort();
  const wsPort = await freePort();
  const args = isJanus(binary) ? janusConfig(port, wsPort, dir) : await bifronsFlags(port, wsPort, shards, host);
  const preloads = [preload, isJanus(binary) && process.env.JANUS_PRELOAD].filter(Boolean);
  if (preloads.length > 0) env = { ...env, LD_PRELOAD: preloads.join(':') };
  const [command, ...rest] = [...wrap, binary, ...args, ...more];
  const service = new Service(name, command, rest, { env, dir });
  await service.listening(port, host);
  return Object.assign(service, { port, base: `http://${host}:${port}/janus`, ws: `ws://${host}:${wsPort}` });
}
