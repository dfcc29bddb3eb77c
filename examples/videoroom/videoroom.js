// A VideoRoom with janus.js: publishes camera and microphone, shows all others.
//
// As in the demo pages of Janus, one handle publishes, and another one gets the streams of all others
// on a single PeerConnection. `window.room` is for a person at the console and for tests.
//
// Query: server, room, display, simulcast, svc=L3T3_KEY, codec=vp9, capture=lowres, watch (publish
// nothing), publish (subscribe to nothing), autostart.

import Janus from '/lib/janus.es.js';

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);

const room = {
  state: 'idle',
  error: null,
  id: null,
  events: [],
  subscriberEvents: [],
  feeds: {},
  /** Which feed each mid of the subscriber shows. */
  lines: {},
  publisher: null,
  subscriber: null,
  publish,
  unpublish: () => ask(room.publisher, { request: 'unpublish' }),
  configure: (message) => ask(room.publisher, { request: 'configure', ...message }),
  adjust: (message) => ask(room.subscriber, { request: 'configure', ...message }),
  pause: () => ask(room.subscriber, { request: 'pause' }),
  resume: () => ask(room.subscriber, { request: 'start' }),
  restartIce: () => offer({ iceRestart: true }),
  addVideo: () => offer({ tracks: [{ type: 'video', capture: 'lowres', add: true, recv: false }] }),
  stats,
  sent,
};
window.room = room;

let janus = null;
/** Subscribing is one request at a time: the offer of one is answered before the next is sent. */
let wishes = [];
let isAsking = false;

const number = () => Number($('number').value);

function log(text) {
  $('log').textContent += `${new Date().toISOString().slice(11, 23)}  ${text}\n`;
}

function fail(reason) {
  room.state = 'failed';
  room.error = String(reason?.message ?? reason);
  log(`failed: ${room.error}`);
}

function ask(handle, message, jsep) {
  return new Promise((success, error) => handle.send({ message, jsep, success, error }));
}

async function rows(handle) {
  const connection = handle?.webrtcStuff?.pc;
  return connection ? [...(await connection.getStats()).values()] : [];
}

/** What arrives, by mid. */
async function stats() {
  const inbound = (await rows(room.subscriber)).filter((row) => row.type === 'inbound-rtp');
  return Object.fromEntries(inbound.map((row) => [row.mid, {
    kind: row.kind,
    feed: room.lines[row.mid],
    packets: row.packetsReceived ?? 0,
    frames: row.framesDecoded ?? 0,
    keyframes: row.keyFramesDecoded ?? 0,
    width: row.frameWidth ?? 0,
    height: row.frameHeight ?? 0,
    freezes: row.freezeCount ?? 0,
    frozen: row.totalFreezesDuration ?? 0,
    lost: row.packetsLost ?? 0,
    nacks: row.nackCount ?? 0,
    plis: row.pliCount ?? 0,
  }]));
}

/** What is sent, each encoding by itself. */
async function sent() {
  const outbound = (await rows(room.publisher)).filter((row) => row.type === 'outbound-rtp');
  return outbound.map((row) => ({
    kind: row.kind,
    rid: row.rid ?? null,
    packets: row.packetsSent ?? 0,
    frames: row.framesEncoded ?? 0,
    width: row.frameWidth ?? 0,
    plis: row.pliCount ?? 0,
    nacks: row.nackCount ?? 0,
    retransmitted: row.retransmittedPacketsSent ?? 0,
    targetBitrate: row.targetBitrate ?? 0,
    scalabilityMode: row.scalabilityMode ?? null,
  }));
}

function show(track, mid, on) {
  const id = `remote-${mid}`;
  let video = $(id);
  if (!on) {
    video?.remove();
    return;
  }
  if (!video) {
    video = document.createElement('video');
    Object.assign(video, { id, autoplay: true, playsInline: true, muted: true });
    $('videos').append(video);
  }
  video.srcObject = new MediaStream([track]);
}

function offer(options) {
  room.publisher.createOffer({
    ...options,
    customizeSdp: (jsep) => { if (query.has('plain')) jsep.sdp = jsep.sdp.replace(/a=extmap:.*dependency-descriptor.*\r\n/g, ''); },
    success: (jsep) => {
      const message = { request: 'configure', audio: true, video: true };
      if (query.get('codec')) message.videocodec = query.get('codec');
      room.publisher.send({ message, jsep });
    },
    error: fail,
  });
}

function publish() {
  const capture = query.get('capture') ?? (query.has('simulcast') || query.has('svc') ? 'hires' : 'lowres');
  const video = { type: 'video', capture, recv: false, simulcast: query.has('simulcast') };
  if (query.has('svc')) video.svc = query.get('svc');
  offer({ tracks: [{ type: 'audio', capture: true, recv: false }, video] });
}

function subscribe(publishers) {
  for (const { id, display, streams } of publishers) {
    const known = room.feeds[id]?.streams ?? [];
    const isKnown = (stream) => known.some(({ mid }) => mid === stream.mid);
    wishes.push(...streams.filter((stream) => !stream.disabled && !isKnown(stream)).map(({ mid }) => ({ feed: id, mid })));
    room.feeds[id] = { display, streams };
  }
  nextWish();
}

function nextWish() {
  if (isAsking || wishes.length === 0 || !room.subscriber) return;
  isAsking = true;
  const streams = wishes;
  wishes = [];
  const isFirst = !room.subscriber.webrtcStuff.pc && Object.keys(room.lines).length === 0;
  const message = isFirst
    ? { request: 'join', ptype: 'subscriber', room: number(), streams, private_id: room.privateId }
    : { request: 'subscribe', streams };
  room.subscriber.send({ message });
}

function answer(jsep) {
  room.subscriber.createAnswer({
    jsep,
    tracks: [{ type: 'data' }],
    success: (made) => {
      room.subscriber.send({ message: { request: 'start', room: number() }, jsep: made });
      isAsking = false;
      nextWish();
    },
    error: fail,
  });
}

function onSubscriberMessage(message, jsep) {
  room.subscriberEvents.push({ at: performance.now(), ...message });
  log(`subscriber: ${JSON.stringify(message)}${jsep ? ` with ${jsep.type}` : ''}`);
  for (const { mid, feed_id: feed } of message.streams ?? []) room.lines[mid] = feed;
  if (message.error) fail(message.error);
  if (jsep) answer(jsep);
}

function onPublisherMessage(message, jsep) {
  room.events.push(message);
  log(`publisher: ${JSON.stringify(message)}${jsep ? ` with ${jsep.type}` : ''}`);
  if (message.error) fail(message.error);
  if (message.videoroom === 'joined') {
    room.id = message.id;
    room.privateId = message.private_id;
    room.state = 'joined';
    if (!query.has('watch')) publish();
  }
  if (message.publishers && !query.has('publish')) subscribe(message.publishers);
  for (const id of [message.unpublished, message.leaving]) delete room.feeds[id];
  if (jsep) room.publisher.handleRemoteJsep({ jsep, error: fail });
}

function attachPublisher() {
  janus.attach({
    plugin: 'janus.plugin.videoroom',
    success: (handle) => {
      room.publisher = handle;
      handle.send({ message: { request: 'join', ptype: 'publisher', room: number(), display: $('display').value } });
    },
    error: fail,
    onmessage: onPublisherMessage,
    webrtcState: (up, reason) => { room.isUp = up; log(up ? 'published' : `down: ${reason}`); },
    slowLink: (uplink, lost, mid) => room.events.push({ slowlink: { uplink, lost, mid } }),
    onlocaltrack: (track, on) => { if (on && track.kind === 'video') $('local').srcObject = new MediaStream([track]); },
  });
}

function attachSubscriber() {
  if (query.has('publish')) return;
  janus.attach({
    plugin: 'janus.plugin.videoroom',
    success: (handle) => { room.subscriber = handle; nextWish(); },
    error: fail,
    onmessage: onSubscriberMessage,
    slowLink: (uplink, lost, mid) => room.subscriberEvents.push({ at: performance.now(), slowlink: { uplink, lost, mid } }),
    onremotetrack: show,
  });
}

function start() {
  room.state = 'connecting';
  janus = new Janus({
    server: $('server').value,
    iceServers: [],
    success: () => { attachPublisher(); attachSubscriber(); },
    error: fail,
    destroyed: () => { room.state = 'ended'; },
  });
  room.leave = () => janus.destroy({ cleanupHandles: true });
}

for (const [name, id] of [['server', 'server'], ['room', 'number'], ['display', 'display']]) {
  if (query.get(name)) $(id).value = query.get(name);
}
$('server').value ||= `http://${location.hostname}:8088/janus`;
$('call').addEventListener('submit', (event) => { event.preventDefault(); start(); });
Janus.init({
  debug: ['error', 'warn'],
  dependencies: Janus.useDefaultDependencies({ adapter: window.adapter }),
  callback: () => { if (query.has('autostart')) start(); },
});
