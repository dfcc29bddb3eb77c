// VideoRooms with janus.js in Chromium: node videoroom.mjs [BINARY]
//
// The page is examples/videoroom, which uses janus.js as the demo pages of Janus do: npm's
// janus-gateway has the library without those pages.

import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '../../examples/serve.mjs';
import { launch } from './lib/chromium.mjs';
import { binaryUnderTest, startGateway } from './lib/process.mjs';
import { Report, checked } from './lib/report.mjs';
import { Member, manage } from './lib/room.mjs';

const report = new Report('videoroom');
const gateway = await startGateway(binaryUnderTest(), { shards: 2, name: 'videoroom' });
const pages = await serve();
const context = await launch();

let rooms = 7000;
async function makeRoom(options = {}) {
  rooms += 1;
  await manage(gateway.base, { request: 'create', room: rooms, publishers: 10, ...options });
  return rooms;
}

const join = (server, room, options) => Member.join(context, pages.url, server, room, options);
const leaveAll = (members) => Promise.all(members.map((member) => member.leave()));

async function stopsAndGoesOn(watcher, what, stop, goOn) {
  await stop();
  await sleep(700);
  const silent = (await watcher.flow(1000))[what];
  const before = (await watcher.received(what))[0].frames;
  await goOn();
  return [
    ...(silent <= 1 ? [] : [`${silent} of ${what} while it is off`]),
    ...await watcher.until(`${what} again`, () => watcher.flow(500), (flow) => flow[what] > 2, 8000),
    ...(what === 'video' && !((await watcher.received('video'))[0].frames > before) ? ['no picture'] : []),
  ];
}

// Three who publish and see the two others each, and one after another what can happen to them.
async function three(name, server) {
  const room = await makeRoom();
  const members = [];
  await checked(report, `${name}: 3 publishers and 3 subscribers see each other`, async () => {
    for (let count = 0; count < 3; count += 1) members.push(await join(server, room, `&display=${count}`));
    const seen = await Promise.all(members.map((member) => member.sees(2)));
    const flows = await Promise.all(members.map((member) => member.flow(1000)));
    return [...seen.flat(), ...flows.filter(({ audio }) => audio < 20).map((flow) => `too little sound: ${JSON.stringify(flow)}`)];
  });
  await checked(report, `${name}: one leaves, the others are told`, async () => {
    const gone = members.pop();
    const { id } = await gone.state();
    await gone.leave();
    return members[0].until('told', () => members[0].state(), ({ events }) => events.some((event) => event.leaving === id));
  });
  await leaveAll(members);
}

async function changes() {
  const room = await makeRoom();
  const publisher = await join(gateway.base, room, '&publish');
  const watcher = await join(gateway.ws, room, '&watch');
  await checked(report, 'one publishes, one watches', () => watcher.sees(1));
  await checked(report, 'one that comes late has a picture within 1 s of its connection', async () => {
    await sleep(1500);
    const late = await join(gateway.ws, room, '&watch');
    const took = await late.page.evaluate(async () => {
      const frames = async () => Object.values(await window.room.stats()).reduce((sum, row) => sum + row.frames, 0);
      const connection = () => window.room.subscriber?.webrtcStuff.pc;
      while (connection()?.connectionState !== 'connected') await new Promise((resolve) => setTimeout(resolve, 10));
      const began = performance.now();
      while (await frames() === 0 && performance.now() - began < 5000) await new Promise((resolve) => setTimeout(resolve, 10));
      return performance.now() - began;
    });
    await late.leave();
    report.note(`the first picture after ${took.toFixed(0)} ms`);
    return took < 1000 ? [] : [`the first picture after ${took.toFixed(0)} ms`];
  });
  const mute = (send) => publisher.call('configure', { streams: [{ mid: '1', send }] });
  await checked(report, 'video muted and not', () => stopsAndGoesOn(watcher, 'video', () => mute(false), () => mute(true)));
  const refuse = (send) => watcher.call('adjust', { streams: [{ mid: '0', send }] });
  await checked(report, 'sound refused and not', () => stopsAndGoesOn(watcher, 'audio', () => refuse(false), () => refuse(true)));
  await checked(report, 'a picture within 1.5 s after any pause', async () => {
    const times = [];
    for (const pause of [50, 200, 400, 700, 1100, 1700]) {
      await watcher.call('pause');
      await sleep(pause);
      times.push(await watcher.firstFrameAfter('resume'));
    }
    report.note(`pictures after ${times.map((time) => time?.toFixed(0)).join(', ')} ms`);
    return times.filter((time) => time === null || time > 1500).map((time) => `a picture after ${time} ms`);
  });
  await checked(report, 'ICE restarts', async () => {
    await publisher.call('restartIce');
    await sleep(1500);
    const { video } = await watcher.flow(1500);
    return video > 5 ? [] : [`${video} frames in 1.5 s`];
  });
  await checked(report, 'ICE of a subscriber restarts', async () => {
    const ufrag = () => watcher.page.evaluate(() => /a=ice-ufrag:(\S+)/.exec(window.room.subscriber.webrtcStuff.pc.remoteDescription.sdp)[1]);
    const before = await ufrag();
    await watcher.call('adjust', { restart: true });
    const renewed = await watcher.until('other credentials', ufrag, (now) => now !== before);
    await sleep(1000);
    const { video } = await watcher.flow(1500);
    return [...renewed, ...(video > 5 ? [] : [`${video} frames in 1.5 s`])];
  });
  await checked(report, 'a second video is added', async () => {
    await publisher.call('addVideo');
    return watcher.sees(2);
  });
  await checked(report, 'all streams have the new name of their publisher', async () => {
    await publisher.call('configure', { display: 'renamed' });
    await watcher.call('adjust', { request: 'unsubscribe', streams: [{ sub_mid: '2' }] });
    const updated = ({ subscriberEvents }) => subscriberEvents.findLast((event) => event.videoroom === 'updated')?.streams;
    const problems = await watcher.until('an offer', async () => updated(await watcher.state()), (streams) => streams?.[2]?.active === false);
    const names = updated(await watcher.state()).slice(0, 2).map((stream) => stream.feed_display);
    return [...problems, ...(names.every((name) => name === 'renamed') ? [] : [`the streams are of ${names}`])];
  });
  await checked(report, 'unpublish and publish again', async () => {
    await publisher.call('unpublish');
    const { id } = await publisher.state();
    const told = await watcher.until('told', () => watcher.state(), ({ events }) => events.some((event) => event.unpublished === id));
    await sleep(500);
    await publisher.call('publish');
    const published = await publisher.until('published', () => publisher.state(), ({ isUp }) => isUp);
    const flows = await watcher.until('pictures', () => watcher.flow(700), ({ video }) => video > 3, 10000);
    return [...told, ...published, ...flows];
  });
  await leaveAll([publisher, watcher]);
}

async function simulcast() {
  const room = await makeRoom();
  const publisher = await join(gateway.ws, room, '&publish&simulcast');
  const watcher = await join(gateway.base, room, '&watch');
  const size = (width, patience = 8000) => watcher.until(`${width} wide`, async () => (await watcher.received('video'))[0], (row) => row?.width === width, patience);
  await checked(report, 'simulcast: the highest layer by itself', () => size(1280, 15000));
  const mid = (await watcher.received('video'))[0]?.mid ?? '1';
  const ask = (layers) => watcher.call('adjust', { streams: [{ mid, ...layers }] });
  for (const [substream, width] of [[0, 320], [1, 640], [2, 1280]]) {
    await checked(report, `simulcast: substream ${substream}`, async () => {
      await ask({ substream });
      const problems = await size(width);
      const { subscriberEvents } = await watcher.state();
      return subscriberEvents.some((event) => event.substream === substream) ? problems : [...problems, 'no event'];
    });
  }
  await checked(report, 'simulcast: two switches within 300 ms', async () => {
    await ask({ substream: 0 });
    await sleep(250);
    await ask({ substream: 1 });
    return size(640, 3000);
  });
  await leaveAll([publisher, watcher]);
}

async function svc() {
  const room = await makeRoom({ videocodec: 'vp9' });
  const publisher = await join(gateway.ws, room, '&publish&svc=L3T3_KEY');
  const watcher = await join(gateway.ws, room, '&watch');
  const row = async () => (await watcher.received('video'))[0];
  const size = (width, patience = 8000) => watcher.until(`${width} wide`, row, (seen) => seen?.width === width, patience);
  await checked(report, 'VP9 SVC: all layers', () => size(1280, 15000));
  await leaveAll([publisher, watcher]);
}

for (const part of [() => three('REST', gateway.base), () => three('WebSocket', gateway.ws), changes, simulcast, svc]) {
  try {
    await part();
  } catch (error) {
    report.check('a part runs to its end', [error.stack]);
  }
}

await context.close();
await gateway.stop();
await pages.close();
report.finish();
