// Chromium with fake devices, and the EchoTest page of examples/ in it.

import { chromium } from 'playwright-core';
import { setTimeout as sleep } from 'node:timers/promises';
import { scratchDir } from './process.mjs';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--use-fake-ui-for-media-stream',
  '--use-fake-device-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
  '--allow-loopback-in-peer-connection',
  '--disable-features=WebRtcHideLocalIpsWithMdns',
  // A browser opens six connections to a host, so a crowd of polls needs a crowd of hosts.
  '--host-resolver-rules=MAP *.poll.test 127.0.0.1',
];

export function launch(flags = [], { name = 'chromium', executablePath = '/usr/bin/chromium' } = {}) {
  return chromium.launchPersistentContext(scratchDir(name), {
    executablePath,
    headless: true,
    args: [...FLAGS, ...flags],
    permissions: ['camera', 'microphone'],
  });
}

/** A page that remembers what went wrong on the network, as the browser puts it. */
export async function openPage(context) {
  const page = await context.newPage();
  const problems = [];
  page.on('requestfailed', (request) => {
    problems.push(`${request.failure()?.errorText} (${request.method()} ${request.url()})`);
  });
  page.on('response', (response) => {
    if (response.status() >= 500) problems.push(`status ${response.status()} (${response.url()})`);
  });
  page.on('pageerror', (error) => problems.push(`exception in the page: ${error.message}`));
  return { page, networkProblems: () => [...problems] };
}

/** Starts a call in the page; resolves to what is missing from it, which should be nothing. */
export async function startCall(page, pages, base, { patience = 25000, options = '' } = {}) {
  await page.goto(`${pages}/echotest/?server=${encodeURIComponent(base)}&autostart${options}`);
  const until = performance.now() + patience;
  let missing;
  do {
    await sleep(250);
    missing = await missingFrom(page);
  } while (missing.length > 0 && performance.now() < until);
  return missing;
}

async function missingFrom(page) {
  const echo = await echoState(page);
  if (!echo) return ['the page did not start'];
  const missing = [];
  if (echo.state !== 'connected') missing.push(`the call is "${echo.state}" (ICE ${echo.iceState}), error: ${echo.error}`);
  if (!(echo.framesDecoded > 0)) missing.push(`frames decoded: ${echo.framesDecoded}`);
  if (!(echo.audioPackets > 0)) missing.push(`audio packets: ${echo.audioPackets}`);
  if (echo.textEcho !== 'Janus EchoTest here! You wrote: hello') missing.push(`text echoed: ${echo.textEcho}`);
  if (echo.binaryEcho !== '256 bytes, unchanged') missing.push(`binary echoed: ${echo.binaryEcho}`);
  return missing;
}

export function echoState(page) {
  return page.evaluate(() => window.echo && JSON.parse(JSON.stringify(window.echo)));
}

export async function endCall(page) {
  await page.click('#stop');
  await page.waitForFunction(() => window.echo.state === 'ended', null, { timeout: 5000 });
}
