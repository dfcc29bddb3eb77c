// A subscriber behind a link of 400 kbit/s, which then becomes wide: node narrow_link.mjs [BINARY]
//
// The test moves into a network namespace of its own with the gateway and the publisher, and puts the
// subscriber's Chromium into a second one. Between the two is a pair of virtual interfaces; `tc`
// limits what the gateway sends into it.

import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { serve } from '../../examples/serve.mjs';
import { launch } from './lib/chromium.mjs';
import { binaryUnderTest, installed, scratchDir, startGateway } from './lib/process.mjs';
import { Report, checked } from './lib/report.mjs';
import { Member, manage } from './lib/room.mjs';

const INSIDE = 'NARROW_LINK_INSIDE';
const HERE = '10.77.0.1';
const THERE = '10.77.0.2';
const NAME = 'a subscriber behind 400 kbit/s gets the low layer, and the high one afterwards';

const report = new Report('narrow link');

function run(command, ...args) {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
}

/** The second namespace, which lives as long as the process that it returns. */
async function makeLink() {
  run('ip', 'link', 'set', 'lo', 'up');
  const holder = spawn('unshare', ['--net', 'sleep', '600'], { stdio: 'ignore' });
  process.on('exit', () => holder.kill('SIGKILL'));
  await sleep(500);
  const there = (...args) => run('nsenter', '--target', String(holder.pid), '--net', ...args);
  run('ip', 'link', 'add', 'here', 'type', 'veth', 'peer', 'name', 'there', 'netns', String(holder.pid));
  run('ip', 'address', 'add', `${HERE}/24`, 'dev', 'here');
  run('ip', 'link', 'set', 'here', 'up');
  there('ip', 'link', 'set', 'lo', 'up');
  there('ip', 'address', 'add', `${THERE}/24`, 'dev', 'there');
  there('ip', 'link', 'set', 'there', 'up');
  const browser = join(scratchDir('narrow-link'), 'chromium-there');
  writeFileSync(browser, `#!/bin/sh\nexec nsenter --target ${holder.pid} --net /usr/bin/chromium "$@"\n`);
  chmodSync(browser, 0o755);
  return { browser, stop: () => holder.kill('SIGKILL') };
}

const narrow = () => run('tc', 'qdisc', 'add', 'dev', 'here', 'root', 'tbf', 'rate', '400kbit', 'burst', '6kb', 'latency', '200ms');
const widen = () => run('tc', 'qdisc', 'del', 'dev', 'here', 'root');

/** A film with so much to see that its encodings take what they may. */
function film() {
  const file = join(scratchDir('film'), 'noise.mjpeg');
  const source = 'testsrc2=size=1280x720:rate=15,noise=alls=30:allf=t';
  run('ffmpeg', '-v', 'error', '-f', 'lavfi', '-i', source, '-t', '2', '-c:v', 'mjpeg', '-q:v', '5', file);
  return `--use-file-for-fake-video-capture=${file}`;
}

/** Lets the encodings take so much that only the lowest fits; by janus.js the middle one has 300 kbit/s. */
async function widenEncodings() {
  const sender = window.room.publisher.webrtcStuff.pc.getSenders().find(({ track }) => track?.kind === 'video');
  const parameters = sender.getParameters();
  const rates = { l: 150_000, m: 700_000, h: 1_800_000 };
  for (const encoding of parameters.encodings) encoding.maxBitrate = rates[encoding.rid];
  await sender.setParameters(parameters);
}

/** What each encoding takes within a second, in bit/s. */
async function measure() {
  const sent = async () => {
    const stats = [...(await window.room.publisher.webrtcStuff.pc.getStats()).values()];
    return stats.filter(({ type, kind }) => type === 'outbound-rtp' && kind === 'video');
  };
  const before = await sent();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const after = await sent();
  return Object.fromEntries(after.map(({ rid, bytesSent }) => [rid, 8 * (bytesSent - before.find((each) => each.rid === rid).bytesSent)]));
}

/** Notes in the page the width of the picture, and the longest time without another one. */
function watch() {
  const seen = { frames: 0, width: 0, changes: [], gap: 0 };
  window.seen = seen;
  let at = null;
  setInterval(async () => {
    const row = Object.values(await window.room.stats()).find(({ kind }) => kind === 'video');
    if (!row?.frames) return;
    const now = performance.now();
    if (row.width !== seen.width) seen.changes.push([Math.round(now - window.began), row.width]);
    if (row.frames !== seen.frames) at = now;
    else if (at !== null) seen.gap = Math.max(seen.gap, now - at);
    Object.assign(seen, { frames: row.frames, width: row.width });
  }, 40);
}

async function becomes(page, width, patience) {
  const began = performance.now();
  while (performance.now() - began < patience) {
    if (await page.evaluate((wanted) => window.seen.width === wanted, width)) return Math.round(performance.now() - began);
    await sleep(50);
  }
  return null;
}

async function inside() {
  const link = await makeLink();
  const gateway = await startGateway(binaryUnderTest(), { name: 'narrow', host: HERE });
  const pages = [await serve(), await serve({ host: HERE })];
  const flags = ['--disable-features=WebRtcHideLocalIpsWithMdns,LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests'];
  const here = await launch([...flags, film()], { name: 'publishes' });
  const there = await launch(flags, { name: 'subscribes', executablePath: link.browser });
  await manage(gateway.base, { request: 'create', room: 7400 });
  const publisher = await Member.join(here, pages[0].url, gateway.ws, 7400, '&publish&simulcast');
  await publisher.until('sent in three sizes', () => publisher.call('sent'), (rows) => rows.some(({ rid, width }) => rid === 'h' && width === 1280), 20000);
  await publisher.page.evaluate(widenEncodings);
  let rates;
  await publisher.until('the middle encoding takes more than the link carries', async () => (rates = await publisher.page.evaluate(measure)), ({ m }) => m > 450_000, 15000);
  report.note(`encodings of ${JSON.stringify(rates)} bit/s`);
  await checked(report, NAME, async () => {
    const page = await there.newPage();
    const server = encodeURIComponent(gateway.ws);
    await page.goto(`${pages[1].url}/videoroom/?server=${server}&room=7400&watch`);
    await page.waitForFunction(() => window.room);
    narrow();
    await page.evaluate(watch);
    await page.evaluate(() => { window.began = performance.now(); document.querySelector('form').requestSubmit(); });
    await page.waitForFunction(() => window.room.subscriber?.webrtcStuff.pc?.connectionState === 'connected', null, { timeout: 15000, polling: 20 });
    const low = await becomes(page, 320, 8000);
    await sleep(8000);
    const held = await page.evaluate(() => window.seen);
    widen();
    const high = await becomes(page, 1280, 20000);
    const after = await page.evaluate(() => window.seen);
    report.note(`low after ${low} ms, longest gap ${held.gap.toFixed(0)} ms, high after ${high} ms, widths ${JSON.stringify(after.changes)}`);
    return [
      ...(low !== null && low <= 3000 ? [] : [`the low layer after ${low} ms`]),
      ...(held.width === 320 ? [] : [`${held.width} wide after 8 s`]),
      ...(held.gap <= 1000 ? [] : [`nothing for ${held.gap.toFixed(0)} ms while the link was narrow`]),
      ...(after.gap <= 1000 ? [] : [`nothing for ${after.gap.toFixed(0)} ms`]),
      ...(high !== null && high <= 10000 ? [] : [`the high layer after ${high} ms`]),
    ];
  });
  await there.close();
  await here.close();
  await gateway.stop();
  for (const each of pages) await each.close();
  link.stop();
}

if (process.env[INSIDE]) {
  try {
    await inside();
  } catch (error) {
    report.check('the test runs', [error.stack]);
  }
  report.finish();
  process.exit();
}
const tools = ['unshare', 'nsenter', 'ip', 'tc', 'ffmpeg'].filter((tool) => !installed(tool));
const probe = spawnSync('unshare', ['--net', 'ip', 'link', 'add', 'here', 'type', 'veth', 'peer', 'name', 'there'], { encoding: 'utf8' });
if (tools.length > 0 || probe.status !== 0) {
  report.skip(NAME, tools.length > 0 ? `${tools.join(', ')} not installed` : `no network namespace: ${probe.stderr?.trim()}`);
  report.finish();
} else {
  // Three browsers encode and decode beside it: a host that is busy with something else makes any
  // bound on time fail once in a while, and hardly twice in a row.
  for (const isLast of [false, true]) {
    const again = spawn('unshare', ['--net', process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
      stdio: ['inherit', 'pipe', 'inherit'],
      env: { ...process.env, [INSIDE]: '1' },
    });
    const [text, code] = await Promise.all([
      again.stdout.setEncoding('utf8').toArray().then((parts) => parts.join('')),
      new Promise((resolve) => again.once('exit', (status) => resolve(status ?? 1))),
    ]);
    process.exitCode = code;
    if (code === 0 || isLast) {
      process.stdout.write(text);
      break;
    }
    console.log(text.split('\n').filter((line) => line.startsWith('note')).join('\n'));
    console.log('note  narrow link: once more');
  }
}
