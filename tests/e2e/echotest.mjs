// What EchoTest can be told during a call, with janus.js in Chromium: node echotest.mjs [BINARY]
//
// Simulcast and its layers, media switched off and on, the bitrate, and a new offer.

import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '../../examples/serve.mjs';
import { echoState, endCall, launch, openPage, startCall } from './lib/chromium.mjs';
import { Service, accepts, binaryUnderTest, isJanus, scratchDir, startGateway } from './lib/process.mjs';
import { Report, checked } from './lib/report.mjs';

const DEFAULT_PORT = 8088;
const DEFAULT_PORT_OF_WEBSOCKET = 8188;

const report = new Report('echotest');

const configure = (page, message) => page.evaluate((settings) => window.echo.configure(settings), message);

/** Waits until `holds` is true of the page's state; the problem, if it does not become so. */
async function until(page, what, holds, patience = 15000) {
  const limit = performance.now() + patience;
  let state;
  do {
    state = await echoState(page);
    if (holds(state)) return [];
    await sleep(250);
  } while (performance.now() < limit);
  const { events, ...rest } = state;
  return [`not ${what}: ${JSON.stringify(rest)}, events ${JSON.stringify(events.slice(-3))}`];
}

async function framesIn(page, ms) {
  const { framesDecoded, audioPackets } = await echoState(page);
  await sleep(ms);
  const after = await echoState(page);
  return { video: after.framesDecoded - framesDecoded, audio: after.audioPackets - audioPackets };
}

async function layer(page, substream, size) {
  await sleep(1500); // a browser does not make key frames more often than it likes
  await configure(page, { substream });
  return [
    ...await until(page, `frames of ${size}`, (state) => state.frameSize === size),
    ...await until(page, `an event of substream ${substream}`, ({ events }) => events.some((event) => event.substream === substream)),
  ];
}

async function temporalLayers(page) {
  await configure(page, { substream: 0, temporal: 2 });
  await sleep(2000);
  const all = (await framesIn(page, 3000)).video;
  await configure(page, { temporal: 0 });
  const told = await until(page, 'an event of temporal layer 0', ({ events }) => events.some(({ temporal }) => temporal === 0));
  await sleep(1000);
  const lowest = (await framesIn(page, 3000)).video;
  return lowest > 0 && lowest < all * 0.7 ? told : [...told, `in 3 s ${all} frames with all temporal layers, ${lowest} with the lowest`];
}

// With the dependency descriptor, Chromium leaves the temporal layer out of the payload of VP8, the
// only place where most gateways look for it.
const withoutDescriptor = () => {
  const { createOffer } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.createOffer = async function offer(...options) {
    const { type, sdp } = await createOffer.apply(this, options);
    return { type, sdp: sdp.replace(/a=extmap:.*dependency-descriptor.*\r\n/g, '') };
  };
};

async function iceRestart(page) {
  const ufrag = () => page.evaluate(() => /a=ice-ufrag:(\S+)/.exec(window.connection.remoteDescription.sdp)[1]);
  const oks = ({ events }) => events.filter(({ result }) => result === 'ok').length;
  const answered = oks(await echoState(page)) + 1;
  const before = await ufrag();
  await page.evaluate(() => window.echo.restartIce());
  const problems = await until(page, 'an answer', (state) => oks(state) >= answered);
  await sleep(1500);
  if (await ufrag() === before) problems.push('the answer has the same credentials');
  const { video, audio } = await framesIn(page, 2000);
  if (video < 5 || audio < 5) problems.push(`afterwards ${video} frames and ${audio} audio packets in 2 s`);
  return [...problems, ...await until(page, 'connected', ({ iceState }) => ['connected', 'completed'].includes(iceState))];
}

// Keeps the page's connection where a test can look into it.
const keepConnection = () => {
  const Connection = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Connection {
    constructor(...options) {
      super(...options);
      window.connection = this;
    }
  };
};

async function switched(page, medium) {
  await configure(page, { [medium]: false });
  await sleep(1000);
  const silent = (await framesIn(page, 1500))[medium];
  await configure(page, { [medium]: true });
  await sleep(1500);
  const flowing = (await framesIn(page, 1500))[medium];
  return [
    ...(silent <= 1 ? [] : [`${silent} of ${medium} while it is off`]),
    ...(flowing > 5 ? [] : [`${flowing} of ${medium} after it is on again`]),
  ];
}

// The first command of the README: no configuration, the default port, media on the host's addresses.
async function withoutConfiguration(context, pages) {
  const dir = scratchDir('defaults');
  const service = new Service('defaults', binary, [], { dir });
  await service.listening(DEFAULT_PORT);
  const { page } = await openPage(context);
  const missing = await startCall(page, pages, `http://127.0.0.1:${DEFAULT_PORT}/janus`);
  await page.close();
  await service.stop();
  return missing;
}

const binary = binaryUnderTest();
const gateway = await startGateway(binary);
const pages = await serve();
const context = await launch();

const { page: plain } = await openPage(context);
await plain.addInitScript(keepConnection);
report.check('a call', await startCall(plain, pages.url, gateway.base));
await checked(report, 'audio off and on', () => switched(plain, 'audio'));
await checked(report, 'video off and on', () => switched(plain, 'video'));
await checked(report, 'ICE restarts', () => iceRestart(plain));
await checked(report, 'the call ends', async () => { await endCall(plain); return []; });
await plain.close();

const { page } = await openPage(context);
await page.addInitScript(withoutDescriptor);
report.check('a call with simulcast', await startCall(page, pages.url, gateway.base, { options: '&simulcast' }));
await sleep(3000); // until the sender's estimate carries all three
await checked(report, 'the highest of three layers', () => layer(page, 2, '1280 x 720'));
await checked(report, 'the lowest layer', () => layer(page, 0, '320 x 180'));
await checked(report, 'the middle layer', () => layer(page, 1, '640 x 360'));
await checked(report, 'temporal layers', () => temporalLayers(page));
await checked(report, 'the call with simulcast ends', async () => { await endCall(page); return []; });

await page.close();

if (isJanus(binary)) report.skip('a call without configuration', 'Janus needs one');
else if (await accepts(DEFAULT_PORT) || await accepts(DEFAULT_PORT_OF_WEBSOCKET)) report.skip('a call without configuration', 'the default ports are in use');
else await checked(report, 'a call without configuration', () => withoutConfiguration(context, pages.url));

await context.close();
await gateway.stop();
await pages.close();
report.finish();
