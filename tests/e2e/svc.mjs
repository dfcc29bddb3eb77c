// Layers of one stream (SVC) with Chromium: node svc.mjs [BINARY]
//
// One publishes, one watches and chooses. VP9 is told apart by its payload descriptor where the
// publisher leaves the dependency descriptor out (`plain`), by that otherwise, as AV1 is.

import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '../../examples/serve.mjs';
import { launch } from './lib/chromium.mjs';
import { binaryUnderTest, startGateway } from './lib/process.mjs';
import { Report, checked } from './lib/report.mjs';
import { Member, manage } from './lib/room.mjs';

const PATIENCE = 8000;

const report = new Report('svc');
const gateway = await startGateway(binaryUnderTest(), { shards: 2, name: 'svc' });
const other = await startGateway(binaryUnderTest(), { shards: 2, name: 'svc-other' });
const pages = await serve();
const context = await launch();
let room = 7100;

/** Has a publisher be one of the other gateway, too, as it describes its own streams. */
async function publishAway(publisher) {
  const own = ({ events }) => events.findLast((event) => event.streams && event.configured)?.streams;
  const problems = await publisher.until('published', () => publisher.state(), (state) => state.isUp && own(state) !== undefined, 15000);
  if (problems.length > 0) throw new Error(problems[0]);
  const state = await publisher.state();
  const { port, rtcp_port } = await manage(other.base, { request: 'add_remote_publisher', room, id: 1, streams: own(state) });
  await manage(gateway.base, {
    request: 'publish_remotely', room, publisher_id: state.id, remote_id: 'other', host: '127.0.0.1', port, rtcp_port,
  });
}

/** A publisher in a mode with so many spatial layers, and somebody who watches, maybe at the other gateway. */
async function pair(codec, mode, { options = '', adaptive = false, isAway = false } = {}) {
  room += 1;
  const create = { request: 'create', room, publishers: 2, videocodec: codec, adaptive };
  await manage(gateway.base, create);
  const publisher = await Member.join(context, pages.url, gateway.ws, room, `&publish&svc=${mode}${options}`);
  if (isAway) {
    await manage(other.base, create);
    await publishAway(publisher);
  }
  const watcher = await Member.join(context, pages.url, (isAway ? other : gateway).ws, room, '&watch');
  const row = async () => (await watcher.received('video'))[0];
  const sent = async () => (await publisher.call('sent')).find((each) => each.kind === 'video');
  const top = Number(mode[1]) - 1;
  // A busy machine makes smaller pictures of all layers, so widths are compared; one that is
  // smaller still lacks the highest layer.
  const both = async () => ({ ...await row(), sent: (await sent())?.width });
  const isAt = (layer) => (seen) => seen.sent > 640 && seen.width === seen.sent >> (top - layer);
  return {
    publisher,
    watcher,
    top,
    row,
    sent,
    isAt: async (layer) => isAt(layer)(await both()),
    gets: (layer, patience = PATIENCE) => watcher.until(`at layer ${layer}`, both, isAt(layer), patience),
    ask: async (layers) => watcher.call('adjust', { streams: [{ mid: (await row()).mid, ...layers }] }),
    told: async () => (await watcher.state()).subscriberEvents,
    leave: () => Promise.all([publisher.leave(), watcher.leave()]),
  };
}

/** The mode that the publisher's encoder has in fact; null if it encodes nothing. */
async function modeOf(call) {
  await call.publisher.until('pictures sent', call.sent, (sent) => sent?.frames > 0, 15000);
  return (await call.sent())?.scalabilityMode ?? null;
}

async function layers(name, codec, mode, options) {
  const call = await pair(codec, mode, { options });
  const encoded = await modeOf(call);
  if (encoded !== mode) {
    report.note(`${name}: this browser makes ${encoded} of it`);
    await call.leave();
    return;
  }
  const { top } = call;
  await checked(report, `${name}: all layers`, () => call.gets(top, 15000));
  for (const layer of [0, top, 0, 1, top]) {
    await checked(report, `${name}: spatial_layer ${layer}`, async () => {
      const since = (await call.told()).length;
      await call.ask({ spatial_layer: layer });
      const problems = await call.gets(layer);
      const told = (await call.told()).slice(since).map((event) => event.spatial_layer);
      return told.includes(layer) ? problems : [...problems, `told of ${JSON.stringify(told)}`];
    });
  }
  await checked(report, `${name}: pictures go on in every layer`, async () => {
    const { freezes } = await call.row();
    const { video } = await call.watcher.flow(2000);
    const later = await call.row();
    return video > 20 && later.freezes === freezes ? [] : [`${video} frames in 2 s, ${later.freezes - freezes} freezes`];
  });
  await checked(report, `${name}: two switches within 300 ms`, async () => {
    await call.ask({ spatial_layer: 0 });
    await sleep(250);
    await call.ask({ spatial_layer: 1 });
    const problems = await call.gets(1, 3000);
    await sleep(500);
    return await call.isAt(1) ? problems : [...problems, 'not for long'];
  });
  await checked(report, `${name}: temporal_layer 0 has fewer pictures, 2 has all`, async () => {
    await call.ask({ spatial_layer: 0, temporal_layer: 0 });
    await sleep(500);
    const few = (await call.watcher.flow(2000)).video;
    await call.ask({ temporal_layer: 2 });
    await sleep(1500);
    const all = (await call.watcher.flow(2000)).video;
    report.note(`${name}: ${few} and ${all} pictures in 2 s`);
    return few > 3 && all > 1.6 * few ? [] : [`${few} and ${all} pictures in 2 s`];
  });
  await checked(report, `${name}: a picture within 1.5 s after a pause`, async () => {
    const times = [];
    for (const pause of [100, 1500]) {
      await call.watcher.call('pause');
      await sleep(pause);
      times.push(await call.watcher.firstFrameAfter('resume'));
    }
    return times.filter((time) => time === null || time > 1500).map((time) => `a picture after ${time} ms`);
  });
  await call.leave();
}

/** A line of AV1 is fed by one publisher and the other in turns: frames are numbered by each. */
async function switched() {
  const call = await pair('av1', 'L2T2');
  await call.gets(1, 15000);
  const second = await Member.join(context, pages.url, gateway.ws, room, '&publish&svc=L2T2');
  await checked(report, 'AV1: pictures go on when a line is switched to and fro', async () => {
    const problems = await call.watcher.sees(2);
    const ids = [(await second.state()).id, (await call.publisher.state()).id];
    const line = (await call.watcher.received('video')).find((row) => row.feed === ids[1]).mid;
    for (const feed of [...ids, ...ids]) {
      // The key frame may be there before the answer is.
      const before = (await call.watcher.received('video')).find((row) => row.mid === line);
      await call.watcher.page.evaluate((streams) => new Promise((success, error) => {
        window.room.subscriber.send({ message: { request: 'switch', streams }, success, error });
      }), [{ feed, mid: '1', sub_mid: line }]);
      await sleep(2500);
      const after = (await call.watcher.received('video')).find((row) => row.mid === line);
      if (after.frames - before.frames < 10 || after.keyframes === before.keyframes) {
        problems.push(`fed by ${feed}: ${after.frames - before.frames} pictures, ${after.keyframes - before.keyframes} keyframes`);
      }
    }
    return problems;
  });
  await call.leave();
  await second.leave();
}

/** What a publisher is told of its streams is enough for another gateway to tell layers apart. */
async function away() {
  for (const [codec, mode] of [['av1', 'L2T2'], ['vp9', 'L3T3']]) {
    const call = await pair(codec, mode, { isAway: true });
    await checked(report, `${codec} at another gateway: all layers`, () => call.gets(call.top, 15000));
    for (const layer of [0, call.top]) {
      await checked(report, `${codec} at another gateway: spatial_layer ${layer}`, async () => {
        await call.ask({ spatial_layer: layer });
        return call.gets(layer);
      });
    }
    await call.leave();
  }
}

/** Without being asked for, all layers come once the way is known to carry them. */
async function adaptive() {
  const call = await pair('vp9', 'L3T3', { adaptive: true });
  await checked(report, 'adaptive: the highest layer by itself', () => call.gets(2, 30000));
  await checked(report, 'adaptive: no higher than was asked for', async () => {
    await call.ask({ spatial_layer: 1 });
    return call.gets(1);
  });
  await call.leave();
}

for (const part of [
  () => layers('VP9 by its payload', 'vp9', 'L3T3', '&plain'),
  () => layers('VP9 described', 'vp9', 'L3T3'),
  () => layers('VP9 with keyed layers', 'vp9', 'L3T3_KEY'),
  () => layers('AV1', 'av1', 'L2T2'),
  away,
  switched,
  adaptive,
]) {
  try {
    await part();
  } catch (error) {
    report.check('a part runs to its end', [error.stack]);
  }
}

await context.close();
await gateway.stop();
await other.stop();
await pages.close();
report.finish();
