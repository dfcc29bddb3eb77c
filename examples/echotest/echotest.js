// An EchoTest call with janus.js: sends audio, video and data, shows what comes back.
//
// `window.echo` is the page's state, for a person at the console and for tests; `echo.configure`
// sends settings to the plugin, such as `{ substream: 0 }` or `{ bitrate: 128000 }`, and
// `echo.restartIce` renegotiates.

import Janus from '/lib/janus.es.js';

const $ = (id) => document.getElementById(id);
const BINARY = Uint8Array.from({ length: 256 }, (_, index) => index);

const query = new URLSearchParams(location.search);

const echo = {
  state: 'idle',
  error: null,
  framesDecoded: 0,
  frameSize: null,
  videoPackets: 0,
  audioPackets: 0,
  textEcho: null,
  binaryEcho: null,
  iceState: null,
  events: [],
  configure: (message) => handle.send({ message }),
  restartIce: () => offer({ iceRestart: true }),
};
window.echo = echo;

let janus = null;
let handle = null;
let statsTimer = null;

function log(text) {
  $('log').textContent += `${new Date().toISOString().slice(11, 23)}  ${text}\n`;
}

function enter(state, error = null) {
  echo.state = state;
  echo.error = error && String(error);
  $('state').textContent = error ? `${state}: ${error}` : state;
  $('start').disabled = !['idle', 'ended', 'failed'].includes(state);
  $('stop').disabled = !$('start').disabled;
  log($('state').textContent);
}

function show() {
  for (const name of ['framesDecoded', 'frameSize', 'videoPackets', 'audioPackets', 'textEcho', 'binaryEcho']) {
    $(name).textContent = echo[name] ?? '–';
  }
}

async function readStats() {
  const connection = handle?.webrtcStuff?.pc;
  if (!connection) return;
  echo.iceState = connection.iceConnectionState;
  for (const row of (await connection.getStats()).values()) {
    if (row.type !== 'inbound-rtp') continue;
    if (row.kind === 'video') {
      echo.framesDecoded = row.framesDecoded ?? 0;
      if (row.frameWidth) echo.frameSize = `${row.frameWidth} x ${row.frameHeight}`;
      echo.videoPackets = row.packetsReceived ?? 0;
    } else {
      echo.audioPackets = row.packetsReceived ?? 0;
    }
  }
  show();
}

function addTrack(video, track, on) {
  const stream = video.srcObject ?? new MediaStream();
  if (on && !stream.getTracks().includes(track)) stream.addTrack(track);
  if (!on) stream.removeTrack(track);
  if (video.srcObject !== stream) video.srcObject = stream;
}

async function onData(data) {
  if (typeof data === 'string') {
    echo.textEcho = data;
  } else {
    const bytes = new Uint8Array(data instanceof Blob ? await data.arrayBuffer() : data);
    const same = bytes.length === BINARY.length && bytes.every((byte, at) => byte === BINARY[at]);
    echo.binaryEcho = same ? `${bytes.length} bytes, unchanged` : `changed (${bytes.length} bytes)`;
  }
  show();
}

function say(text) {
  handle.data({ text, error: (reason) => log(`data: ${reason}`) });
}

function offer(options = {}) {
  const video = query.has('simulcast') ? { capture: 'hires', simulcast: true } : { capture: true };
  const tracks = [
    { type: 'audio', capture: true, recv: true },
    { type: 'video', recv: true, ...video },
    { type: 'data' },
  ];
  handle.createOffer({
    ...(options.iceRestart ? options : { tracks }),
    success: (jsep) => handle.send({ message: { audio: true, video: true }, jsep }),
    error: (reason) => enter('failed', reason.message ?? reason),
  });
}

function attach() {
  janus.attach({
    plugin: 'janus.plugin.echotest',
    success: (made) => {
      handle = made;
      enter('calling');
      offer();
    },
    error: (reason) => enter('failed', reason),
    onmessage: (message, jsep) => {
      echo.events.push(message);
      log(`event ${JSON.stringify(message)}${jsep ? ` with ${jsep.type}` : ''}`);
      if (jsep) handle.handleRemoteJsep({ jsep, error: (reason) => enter('failed', reason.message ?? reason) });
    },
    webrtcState: (up, reason) => up ? enter('connected') : log(`peer connection down: ${reason}`),
    mediaState: (medium, receiving, mid) => log(`${medium} (mid ${mid}) ${receiving ? 'arrives' : 'stopped'}`),
    slowLink: (uplink, lost, mid) => log(`slow link (mid ${mid}): ${lost} lost`),
    onlocaltrack: (track, on) => addTrack($('local'), track, on),
    onremotetrack: (track, mid, on) => addTrack($('remote'), track, on),
    ondataopen: () => {
      $('text').disabled = $('send').disabled = false;
      say('hello');
      handle.data({ data: BINARY, error: (reason) => log(`data: ${reason}`) });
    },
    ondata: (data) => onData(data),
    oncleanup: () => { $('local').srcObject = $('remote').srcObject = null; },
  });
}

function start() {
  enter('connecting');
  janus = new Janus({
    server: $('server').value,
    iceServers: [],
    success: attach,
    error: (reason) => enter('failed', reason),
    destroyed: () => {
      clearInterval(statsTimer);
      $('text').disabled = $('send').disabled = true;
      enter('ended');
    },
  });
  statsTimer = setInterval(readStats, 250);
}

$('server').value = query.get('server') ?? 'http://127.0.0.1:8088/janus';
$('call').addEventListener('submit', (event) => { event.preventDefault(); start(); });
$('stop').addEventListener('click', () => janus.destroy());
$('talk').addEventListener('submit', (event) => {
  event.preventDefault();
  say($('text').value);
  $('text').value = '';
});
Janus.init({
  debug: ['warn', 'error'],
  dependencies: Janus.useDefaultDependencies({ adapter: window.adapter }),
  callback: () => { if (query.has('autostart')) start(); },
});
