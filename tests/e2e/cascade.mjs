// What leaves a room without WebRTC, and the pattern of Nextcloud's signalling server:
// node cascade.mjs [BINARY]
//
// A publisher in Chromium is forwarded to ffmpeg, which writes a file; it is published to a second
// gateway, whose subscriber sees it; and one session with hundreds of handles has a room per stream.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '../../examples/serve.mjs';
import { launch } from './lib/chromium.mjs';
import { pool } from './lib/http.mjs';
import { binaryUnderTest, freeUdpPorts, installed, scratchDir, startGateway } from './lib/process.mjs';
import { Report, checked } from './lib/report.mjs';
import { Member, Session, manage } from './lib/room.mjs';

const HANDLES = 300;
const PUBLISHERS = 5;
const SUBSCRIBERS = 50;

const report = new Report('cascade');
const binary = binaryUnderTest();
const gateway = await startGateway(binary, { name: 'source' });
const other = await startGateway(binary, { name: 'target' });
const pages = await serve();
const context = await launch();
const join = (server, room, options) => Member.join(context, pages.url, server, room, options);

async function toFfmpeg(publisher, id) {
  const dir = scratchDir('ffmpeg');
  const port = await freeUdpPorts(4);
  writeFileSync(joinPath(dir, 'room.sdp'), [
    'v=0', 'o=- 0 0 IN IP4 127.0.0.1', 's=-', 'c=IN IP4 127.0.0.1', 't=0 0',
    `m=audio ${port} RTP/AVP 111`, 'a=rtpmap:111 opus/48000/2',
    `m=video ${port + 2} RTP/AVP 96`, 'a=rtpmap:96 VP8/90000', '',
  ].join('\r\n'));
  const file = joinPath(dir, 'room.webm');
  const args = ['-nostdin', '-loglevel', 'error', '-protocol_whitelist', 'file,udp,rtp', '-i', joinPath(dir, 'room.sdp'), '-c', 'copy', '-t', '4', '-y', file];
  const ffmpeg = spawn('ffmpeg', args, { stdio: 'ignore' });
  const ended = new Promise((resolve) => ffmpeg.once('exit', resolve));
  await sleep(700);
  const { forwarders } = await manage(gateway.base, {
    request: 'rtp_forward', room: 7600, publisher_id: id, host: '127.0.0.1',
    streams: [{ mid: '0', port, pt: 111 }, { mid: '1', port: port + 2, pt: 96 }],
  });
  await Promise.race([ended, sleep(15000)]);
  ffmpeg.kill('SIGKILL');
  for (const { stream_id: stream } of forwarders) await manage(gateway.base, { request: 'stop_rtp_forward', room: 7600, publisher_id: id, stream_id: stream });
  if (!existsSync(file)) return ['ffmpeg wrote no file'];
  const probe = spawnSync('ffprobe', ['-loglevel', 'error', '-count_frames', '-show_entries', 'stream=codec_name,width,nb_read_frames', '-of', 'json', file], { encoding: 'utf8', timeout: 20000 });
  const streams = JSON.parse(probe.stdout || '{}').streams ?? [];
  const has = (codec, least) => streams.some(({ codec_name: name, nb_read_frames: count }) => name === codec && Number(count) >= least);
  return has('opus', 100) && has('vp8', 20) ? [] : [`the file has ${JSON.stringify(streams)} ${probe.stderr}`];
}

async function toOther(publisher, id) {
  const { events } = await publisher.state();
  const { streams } = events.findLast((event) => event.streams && event.configured);
  const { port, rtcp_port: rtcp } = await manage(other.base, {
    request: 'add_remote_publisher', room: 7601, id: 1, display: 'from elsewhere',
    streams: streams.map(({ type, mid, mindex, codec }) => ({ type, mid, mindex, codec })),
  });
  await manage(gateway.base, { request: 'publish_remotely', room: 7600, publisher_id: id, remote_id: 'one', host: '127.0.0.1', port, rtcp_port: rtcp });
  const watcher = await join(other.ws, 7601, '&watch');
  const problems = await watcher.sees(1, 15000);
  const { audio } = await watcher.flow(1000);
  if (audio < 20) problems.push(`${audio} packets of sound in 1 s`);
  await manage(gateway.base, { request: 'unpublish_remotely', room: 7600, publisher_id: id, remote_id: 'one' });
  await manage(other.base, { request: 'remove_remote_publisher', room: 7601, id: 1 });
  await watcher.leave();
  return problems;
}

/** PeerConnections in a page, with sound only, so that a hundred of them are little work. */
async function connections() {
  const page = await context.newPage();
  await page.goto(`${pages.url}/videoroom/`);
  await page.evaluate(async () => {
    const sound = await navigator.mediaDevices.getUserMedia({ audio: true });
    const all = [];
    const described = async (pc, description) => {
      await pc.setLocalDescription(description);
      while (pc.iceGatheringState !== 'complete') await new Promise((resolve) => setTimeout(resolve, 20));
      const { type, sdp } = pc.localDescription;
      return { type, sdp };
    };
    window.ends = {
      async offer() {
        const pc = new RTCPeerConnection();
        all.push(pc);
        pc.addTrack(sound.getTracks()[0], sound);
        return { index: all.length - 1, jsep: await described(pc, await pc.createOffer()) };
      },
      answered: (index, jsep) => all[index].setRemoteDescription(jsep),
      async answer(jsep) {
        const pc = new RTCPeerConnection();
        all.push(pc);
        await pc.setRemoteDescription(jsep);
        return { index: all.length - 1, jsep: await described(pc, await pc.createAnswer()) };
      },
      /** How many packets each one has received; -1 for one that is not connected. */
      received: () => Promise.all(all.map(async (pc) => {
        if (pc.connectionState !== 'connected') return -1;
        const rows = [...(await pc.getStats()).values()].filter((row) => row.type === 'inbound-rtp');
        return rows.reduce((sum, row) => sum + row.packetsReceived, 0);
      })),
    };
  });
  const call = (name, ...args) => page.evaluate(([what, given]) => window.ends[what](...given), [name, args]);
  return { call, close: () => page.close() };
}

// One session for everybody, a handle for each end of a stream, a room for each stream.
async function manyHandles() {
  const began = performance.now();
  const session = await Session.open(gateway.base);
  const rooms = Array.from({ length: HANDLES }, (_, index) => 9000 + index);
  const handles = await pool(rooms, 8, async (room) => {
    const handle = await session.attach();
    await session.ask(handle, { request: 'create', room, publishers: 1 });
    const joined = await session.ask(handle, { request: 'join', ptype: 'publisher', room, id: room });
    if (joined.videoroom !== 'joined') throw new Error(JSON.stringify(joined));
    return handle;
  });
  const ends = await connections();
  const published = rooms.slice(0, PUBLISHERS);
  await pool(published, 4, async (room) => {
    const { index, jsep } = await ends.call('offer');
    const { jsep: answer } = await session.ask(handles[room - rooms[0]], { request: 'publish' }, jsep);
    await ends.call('answered', index, answer);
  });
  const isPublished = async () => (await ends.call('received')).every((packets) => packets >= 0);
  await until(isPublished, 20000);
  const subscriptions = published.flatMap((room) => Array(SUBSCRIBERS / PUBLISHERS).fill(room));
  await pool(subscriptions, 8, async (room) => {
    const handle = await session.attach();
    const streams = [{ feed: room, mid: '0' }];
    const { jsep: offer } = await session.ask(handle, { request: 'join', ptype: 'subscriber', room, streams });
    const { jsep } = await ends.call('answer', offer);
    const { started } = await session.ask(handle, { request: 'start', room }, jsep);
    if (started !== 'ok') throw new Error(`not started in room ${room}`);
  });
  const flows = async () => (await ends.call('received')).slice(PUBLISHERS).filter((packets) => packets > 20).length;
  await until(async () => await flows() === SUBSCRIBERS, 30000);
  const problems = [];
  const heard = await flows();
  if (heard !== SUBSCRIBERS) problems.push(`${heard} of ${SUBSCRIBERS} subscribers hear their publisher`);
  const { exists } = await manage(gateway.base, { request: 'exists', room: rooms[HANDLES - 1] });
  if (!exists) problems.push(`no room ${rooms[HANDLES - 1]}`);
  await session.close();
  await ends.close();
  const took = performance.now() - began;
  report.note(`${HANDLES + SUBSCRIBERS} handles and ${PUBLISHERS + SUBSCRIBERS} connections in ${(took / 1000).toFixed(1)} s`);
  return took < 90000 ? problems : [...problems, 'it took more than 90 s'];
}

async function until(holds, patience) {
  const limit = performance.now() + patience;
  while (!await holds() && performance.now() < limit) await sleep(100);
}

await manage(gateway.base, { request: 'create', room: 7600, publishers: 10 });
await manage(other.base, { request: 'create', room: 7601, publishers: 10 });
const publisher = await join(gateway.ws, 7600, '&publish');
const { id } = await publisher.state();
report.check('a publisher', await publisher.until('published', () => publisher.state(), ({ isUp }) => isUp));
if (installed('ffmpeg')) {
  await checked(report, 'ffmpeg writes a playable file', async () => {
    // It gives up on the video when a busy browser makes its key frame too late.
    const problems = await toFfmpeg(publisher, id);
    return problems.length === 0 ? [] : toFfmpeg(publisher, id);
  });
}
if (!installed('ffmpeg')) report.skip('ffmpeg writes a playable file', 'ffmpeg is not installed');
await checked(report, 'a publisher of another gateway is seen', () => toOther(publisher, id));
await publisher.leave();
await checked(report, `one session, ${HANDLES} handles, a room for each stream, ${SUBSCRIBERS} who hear one`, manyHandles);

await context.close();
await gateway.stop();
await other.stop();
await pages.close();
report.finish();
