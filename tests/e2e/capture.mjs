// Captures of a browser's call over the Admin API, read by Wireshark: node capture.mjs [BINARY]
//
// And what `handle_info` says of the call meanwhile.

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '../../examples/serve.mjs';
import { endCall, launch, openPage, startCall } from './lib/chromium.mjs';
import { json, request, transaction } from './lib/http.mjs';
import { binaryUnderTest, freePort, installed, scratchDir, startGateway } from './lib/process.mjs';
import { Report, checked } from './lib/report.mjs';

const SECRET = 'an admin secret of the tests';
const report = new Report('capture');

/** The Admin API of a gateway. */
class Admin {
  constructor(base) {
    this.base = base;
  }

  async ask(path, janus, more = {}) {
    const body = JSON.stringify({ janus, transaction: transaction(), admin_secret: SECRET, ...more });
    return json(await request(`${this.base}${path}`, { method: 'POST', body }));
  }

  /** The path of the only handle there is. */
  async onlyHandle() {
    const { sessions } = await this.ask('', 'list_sessions');
    const { handles } = await this.ask(`/${sessions[0]}`, 'list_handles');
    return `/${sessions[0]}/${handles[0]}`;
  }
}

/** Packets of a file as Wireshark sees them: its fields, tab by tab. */
function read(file, fields) {
  const heuristics = ['--enable-heuristic', 'rtp_udp', '--enable-heuristic', 'rtcp_udp'];
  const args = ['-r', file, '-n', ...heuristics, '-T', 'fields', ...fields.flatMap((field) => ['-e', field])];
  const { status, stdout, stderr } = spawnSync('tshark', args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`tshark ${args.join(' ')}: ${stderr.trim()}`);
  return stdout.split('\n').filter(Boolean).map((line) => line.split('\t'));
}

/** The longest gap in the sequence numbers of each source: one where nothing is missing. */
function gaps(numbers) {
  const sorted = [...new Set(numbers)].sort((one, other) => one - other);
  return sorted.slice(1).map((number, at) => number - sorted[at]).filter((gap) => gap < 30000);
}

function packetProblems(file, info) {
  const problems = [];
  const rows = read(file, ['ip.src', 'udp.srcport', 'rtp.ssrc', 'rtp.seq', 'rtp.p_type', 'rtcp.pt', 'udp.checksum.status', 'frame.packet_flags_direction']);
  const ours = info.webrtc.ice['selected-pair'].split(' ')[0];
  for (const [mid, { ssrc, codecs }] of Object.entries(info.webrtc.media).filter(([, { type }]) => type !== 'data')) {
    for (const [who, source] of [['we', ssrc.ssrc], ['the browser', ssrc['ssrc-peer']]]) {
      const sent = rows.filter((row) => Number.parseInt(row[2], 16) === source);
      const wrong = sent.filter((row) => (`${row[0]}:${row[1]}` === ours) !== (who === 'we')).length;
      if (sent.length < 50) problems.push(`of what ${who} sent on ${mid} there are ${sent.length} packets`);
      if (wrong > 0) problems.push(`${wrong} packets of ${who} go the wrong way`);
      if (who === 'we' && !sent.every((row) => Number(row[4]) === codecs.pt)) problems.push(`payload types on ${mid}: ${[...new Set(sent.map((row) => row[4]))]}`);
      const missing = gaps(sent.map((row) => Number(row[3]))).filter((gap) => gap > 1);
      if (missing.length > 2) problems.push(`${missing.length} gaps in what ${who} sent on ${mid}`);
    }
  }
  for (const direction of ['1', '2']) {
    if (!rows.some((row) => row[5] && row[7].endsWith(direction))) problems.push(`no RTCP in direction ${direction}`);
  }
  return problems;
}

/** Encrypted VP8 would look like noise: here every frame's first packet says whether it is a key. */
function videoProblems(file, info) {
  const { codecs, ssrc } = info.webrtc.media['1'];
  if (codecs.codec !== 'vp8') return [`the codec is ${codecs.codec}`];
  const decode = spawnSync('tshark', ['-r', file, '-n', '--enable-heuristic', 'rtp_udp', '-o', `vp8.dynamic.payload.type:${codecs.pt}`,
    '-Y', `rtp.ssrc == ${ssrc.ssrc} && vp8.pld.s == 1`, '-T', 'fields', '-e', 'vp8.pld.pictureid', '-e', 'vp8.hdr.version'], { encoding: 'utf8' });
  const rows = decode.stdout.split('\n').filter(Boolean).map((line) => line.split('\t'));
  const steps = rows.slice(1).map(([id], at) => (Number(id) - Number(rows[at][0])) & 0x7fff);
  const odd = steps.filter((step) => step > 1).length;
  return rows.length > 20 && odd < 3 ? [] : [`${rows.length} frames, ${odd} jumps of the picture id; ${decode.stderr.trim()}`];
}

const within = (value, low, high) => typeof value === 'number' && value >= low && value <= high;

function infoProblems({ webrtc }) {
  const problems = [];
  const check = (what, value, low, high) => {
    if (!within(value, low, high)) problems.push(`${what} is ${JSON.stringify(value)}`);
  };
  if (!/^SRTP_A/.test(webrtc.dtls['srtp-profile'])) problems.push(`the profile is ${webrtc.dtls['srtp-profile']}`);
  for (const [mid, { type, stats, rtcp, ssrc, codecs }] of Object.entries(webrtc.media)) {
    check(`${mid} in packets`, stats.in.packets, type === 'data' ? 0 : 50, 1e9);
    if (type === 'data') continue;
    check(`${mid} in bytes_lastsec`, stats.in.bytes_lastsec, 500, 1e7);
    check(`${mid} out bytes_lastsec`, stats.out.bytes_lastsec, 500, 1e7);
    check(`${mid} rtt`, rtcp.main.rtt, 0, 500);
    check(`${mid} jitter-remote`, rtcp.main['jitter-remote'], 0, 500);
    check(`${mid} in-link-quality`, rtcp.main['in-link-quality'], 90, 100);
    check(`${mid} out-link-quality`, rtcp.main['out-link-quality'], 90, 100);
    if (codecs['rtx-pt']) check(`${mid} ssrc-peer-rtx`, ssrc['ssrc-peer-rtx'], 1, 2 ** 32);
  }
  return problems;
}

async function capturedCall(admin, path, folder) {
  const file = join(folder, 'call.pcapng');
  const started = await admin.ask(path, 'start_pcap', { filename: 'call.pcapng' });
  if (started.janus !== 'success') return [`start_pcap: ${JSON.stringify(started)}`];
  await sleep(5000);
  const { info } = await admin.ask(path, 'handle_info');
  const stopped = await admin.ask(path, 'stop_pcap');
  if (stopped.janus !== 'success') return [`stop_pcap: ${JSON.stringify(stopped)}`];
  report.check('handle_info of a call', infoProblems(info));
  if (info['pcap-file'] !== file) return [`handle_info names ${info['pcap-file']}`];
  if (!installed('tshark')) {
    report.skip('Wireshark reads the capture', 'tshark is not installed');
    return [];
  }
  report.check('Wireshark reads the capture', packetProblems(file, info));
  report.check('Wireshark decodes the video in it', videoProblems(file, info));
  return [];
}

async function dumpedCall(admin, path, folder) {
  const dump = join(folder, 'call.txt');
  await admin.ask(path, 'start_text2pcap', { filename: 'call.txt', truncate: 40 });
  await sleep(2000);
  await admin.ask(path, 'stop_text2pcap');
  if (!installed('text2pcap')) return [];
  const made = join(folder, 'made.pcapng');
  const { status, stderr } = spawnSync('text2pcap', ['-D', '-t', '%Y-%m-%d %H:%M:%S.%f', '-u', '1000,2000', dump, made], { encoding: 'utf8' });
  if (status !== 0) return [`text2pcap: ${stderr.trim()}`];
  const rows = read(made, ['udp.length']);
  const long = rows.filter(([size]) => Number(size) > 48).length;
  return rows.length > 100 && long === 0 ? [] : [`${rows.length} packets, ${long} of them longer than asked for: ${stderr.trim()}`];
}

const folder = scratchDir('captures');
const port = await freePort();
const config = join(folder, 'bifrons.toml');
writeFileSync(config, `[admin]\nenabled = true\nbind = "127.0.0.1:${port}"\nsecret = "${SECRET}"\ncapture_folder = "${folder}"\n`);
const gateway = await startGateway(binaryUnderTest(), { more: ['--config', config] });
const admin = new Admin(`http://127.0.0.1:${port}/admin`);
const pages = await serve();
const context = await launch();
const { page } = await openPage(context);
report.check('a call', await startCall(page, pages.url, gateway.base));
await sleep(3000);
const path = await admin.onlyHandle();
await checked(report, 'a capture in the middle of a call', () => capturedCall(admin, path, folder));
await checked(report, 'a dump of the first bytes', () => dumpedCall(admin, path, folder));
await checked(report, 'the call ends', async () => { await endCall(page); return []; });
await context.close();
await gateway.stop();
await pages.close();
report.finish();
