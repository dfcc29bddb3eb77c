// Recordings of what Chromium publishes, made into files that everybody can play by the tools of
// Janus: node recordings.mjs [BINARY]
//
// Lengths are compared with how long the browser sent, frames with what it says that it has encoded.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '../../examples/serve.mjs';
import { endCall, launch, openPage, startCall } from './lib/chromium.mjs';
import { binaryUnderTest, installed, isJanus, scratchDir, startGateway } from './lib/process.mjs';
import { Report, checked } from './lib/report.mjs';
import { Member, manage } from './lib/room.mjs';

const SECONDS = 5;
const report = new Report('recordings');
const binary = binaryUnderTest();

if (isJanus(binary) || !installed('janus-pp-rec') || !installed('ffprobe')) {
  report.skip('recordings', isJanus(binary) ? 'the folders of Janus are named otherwise' : 'janus-pp-rec or ffprobe is not installed');
  report.finish();
  process.exit();
}

const folder = scratchDir('recordings');
const out = scratchDir('converted');
const config = join(folder, '..', 'recordings.toml');
writeFileSync(config, `[recordings]\nfolders = ["${folder}"]\ntmp_ext = "tmp"\n`);
const gateway = await startGateway(binary, { more: ['--config', config] });
const pages = await serve();
const context = await launch();

const files = (part) => readdirSync(folder).filter((name) => name.includes(part)).sort();

function run(command, args, patience = 30000) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', timeout: patience, maxBuffer: 1 << 28 });
  return { status, text: `${stdout}${stderr}`, stdout };
}

/** The header of a recording as the tool reads it, with what it says of the rest. */
function header(name) {
  const file = join(folder, name);
  const problems = [];
  for (const option of ['--header', '--parse']) {
    const { status, text } = run('janus-pp-rec', ['-o', option, file]);
    if (status !== 0) problems.push(`janus-pp-rec ${option} ${name}: ${status}: ${text.slice(-500)}`);
  }
  const { status, stdout } = run('janus-pp-rec', ['--json', file]);
  if (status !== 0) problems.push(`janus-pp-rec --json ${name}: ${status}`);
  return { problems, json: JSON.parse(stdout || '{}') };
}

/** Makes a recording into a file of another kind; its problems, or what ffprobe says of it. */
function converted(name, ending) {
  const target = join(out, `${basename(name, '.mjr')}.${ending}`);
  const { status, text } = run('janus-pp-rec', ['-o', join(folder, name), target]);
  if (status !== 0 || !existsSync(target)) return { problems: [`janus-pp-rec to ${ending}: ${status}: ${text.slice(-500)}`] };
  const shown = 'stream=codec_name,width,height,nb_read_frames:format=duration';
  const probe = run('ffprobe', ['-v', 'error', '-count_frames', '-show_entries', shown, '-of', 'json', target]);
  const { streams = [], format = {} } = JSON.parse(probe.stdout || '{}');
  const decoded = run('ffmpeg', ['-nostdin', '-v', 'error', '-i', target, '-f', 'null', '-']);
  const problems = decoded.text.trim() ? [`ffmpeg of ${target}: ${decoded.text.trim().slice(0, 500)}`] : [];
  const [{ codec_name: codec, width, height, nb_read_frames: frames } = {}] = streams;
  return { problems, codec, width, height, frames: Number(frames), duration: Number(format.duration) };
}

function near(what, found, wanted, allowed) {
  return Math.abs(found - wanted) <= allowed ? [] : [`${what}: ${found}, and not ${wanted} ± ${allowed}`];
}

/** Frames that the browser has encoded of the biggest picture that it sends. */
async function encoded(member) {
  const video = (await member.call('sent')).filter((row) => row.kind === 'video');
  return video.reduce((most, row) => (row.width > most.width ? row : most), { width: 0, frames: 0 });
}

async function publish(room, options, query = '') {
  await manage(gateway.base, { request: 'create', room, publishers: 10, ...options });
  const member = await Member.join(context, pages.url, gateway.ws, room, `&publish${query}`);
  const problems = await member.until('published', () => member.state(), ({ isUp }) => isUp);
  const { id } = await member.state();
  return { member, id, problems };
}

/** Waits until no file with `part` in its name is open. */
async function closed(part) {
  for (let tries = 0; tries < 40 && files(part).some((name) => name.endsWith('.tmp')); tries += 1) await sleep(50);
  return files(part).filter((name) => name.endsWith('.tmp')).map((name) => `${name} is open`);
}

/** A publisher in a room that is recorded, and what becomes of its files. */
async function room(number, options, query, { audio = 'opus', video, endings }) {
  const { member, id, problems } = await publish(number, { record: true, ...options }, query);
  const before = await encoded(member);
  const began = performance.now();
  await sleep(SECONDS * 1000);
  const { width, frames } = await encoded(member);
  const took = (performance.now() - began) / 1000;
  const prefix = `videoroom-${number}-user-${id}-`;
  const open = files(prefix);
  if (open.length !== 2 || open.some((name) => !name.endsWith('.mjr.tmp'))) problems.push(`open files: ${open}`);
  if (open.some((name) => statSync(join(folder, name)).size < 5000)) problems.push('the files do not grow');
  await member.call('unpublish');
  problems.push(...await closed(prefix));
  await member.leave();
  for (const [index, kind] of ['audio', 'video'].entries()) {
    const name = files(prefix).find((each) => each.endsWith(`-${kind}-${index}.mjr`));
    if (!name) {
      problems.push(`no ${kind} among ${files(prefix)}`);
      continue;
    }
    const { json, problems: wrong } = header(name);
    problems.push(...wrong);
    const codec = kind === 'audio' ? audio : video;
    if (json.t !== kind[0] || json.c !== codec) problems.push(`the header of ${name} is ${JSON.stringify(json)}`);
    const found = converted(name, endings[index]);
    problems.push(...found.problems);
    // From when it is up until it unpublishes, which takes a moment at both ends.
    problems.push(...near(`the length of ${name}`, found.duration, took + 0.5, 1.2));
    if (found.codec !== codec) problems.push(`it is ${found.codec}`);
    if (kind === 'audio') problems.push(...near('frames of sound', found.frames, found.duration * 50, 10));
    if (kind === 'video') {
      const rate = (frames - before.frames) / took;
      problems.push(...near('pictures', found.frames, found.duration * rate, Math.max(12, found.duration * rate * 0.15)));
      if (found.width !== width) problems.push(`pictures are ${found.width} wide, and not ${width}`);
      report.note(`${video}: ${found.frames} pictures of ${found.width}x${found.height} in ${found.duration} s, ${rate.toFixed(1)}/s encoded`);
    }
  }
  return problems;
}

/** Recording begins and ends while somebody publishes: by itself, and by the room. */
async function onAndOff() {
  const { member, id, problems } = await publish(7703, { secret: 'hush', lock_record: true });
  const wish = (record, more = {}) => member.call('configure', { record, filename: `mine-${id}`, ...more });
  await wish(true);
  await sleep(300);
  if (files(`mine-${id}`).length > 0) problems.push('it is recorded without the secret');
  await wish(true, { secret: 'hush' });
  await sleep(1500);
  await wish(false, { secret: 'hush' });
  problems.push(...await closed(`mine-${id}`));
  const first = files(`mine-${id}`);
  if (`${first}` !== `mine-${id}-audio-0.mjr,mine-${id}-video-1.mjr`) problems.push(`files: ${first}`);
  const all = { request: 'enable_recording', room: 7703, secret: 'hush' };
  await manage(gateway.base, { ...all, record: true });
  await sleep(1500);
  await manage(gateway.base, { ...all, record: false });
  problems.push(...await closed(`mine-${id}`));
  // What is there stays: the second two have the time behind their names.
  const second = files(`mine-${id}`).filter((name) => !first.includes(name));
  if (second.length !== 2 || second.some((name) => !/-\d{16}\.mjr$/.test(name))) problems.push(`more files: ${second}`);
  for (const name of files(`mine-${id}`).filter((each) => each.includes('audio'))) {
    const { problems: wrong, duration } = converted(name, 'opus');
    problems.push(...wrong, ...near(`the length of ${name}`, duration, 1.5, 0.6));
  }
  await member.leave();
  return problems;
}

/** What cannot be recorded is told, and the call goes on. */
async function refused() {
  const { member, problems } = await publish(7704, {});
  await member.call('configure', { record: true, filename: '../outside' });
  const told = await member.until('told', () => member.state(), ({ events }) => events.filter(({ recording }) => recording === 'failed').length === 2);
  problems.push(...told);
  if (existsSync(join(folder, '..', 'outside-audio-0.mjr'))) problems.push('it is written elsewhere');
  await member.leave();
  return problems;
}

/** The messages of an echo, as subtitles. */
async function echo() {
  const { page } = await openPage(context);
  const problems = await startCall(page, pages.url, gateway.base);
  await page.evaluate(() => window.echo.configure({ record: true, filename: 'echo' }));
  await sleep(500);
  for (const text of ['first words', 'last words']) {
    await page.fill('#text', text);
    await page.click('#send');
    await sleep(1000);
  }
  await endCall(page);
  await page.close();
  problems.push(...await closed('echo-'));
  const names = ['echo-audio.mjr', 'echo-data.mjr', 'echo-video.mjr'];
  if (`${files('echo-')}` !== `${names}`) return [...problems, `files: ${files('echo-')}`];
  problems.push(...names.flatMap((name) => header(name).problems));
  const target = join(out, 'echo.srt');
  const { text } = run('janus-pp-rec', ['-o', join(folder, 'echo-data.mjr'), target]);
  const subtitles = existsSync(target) ? readFileSync(target, 'utf8') : text;
  if (!/first words[^]*last words/.test(subtitles)) problems.push(`subtitles: ${subtitles}`);
  const { duration, problems: wrong } = converted('echo-video.mjr', 'webm');
  return [...problems, ...wrong, ...near('the length', duration, 2.5, 1)];
}

/** A gateway that stops, or is killed, leaves what has come. */
async function stops() {
  const { member, id, problems } = await publish(7705, { record: true });
  await sleep(2500);
  const prefix = `videoroom-7705-user-${id}-`;
  const cut = files(prefix).find((name) => name.includes('audio'));
  const part = join(folder, `cut-${basename(cut, '.tmp')}`);
  // What a killed gateway would have left.
  writeFileSync(part, readFileSync(join(folder, cut)).subarray(0, -7));
  const end = await gateway.stop();
  if (end.killed) problems.push('the gateway had to be killed');
  problems.push(...await closed(prefix));
  const whole = converted(files(prefix).find((name) => name.includes('audio')), 'opus');
  problems.push(...whole.problems, ...near('the length', whole.duration, 3.5, 1.5));
  const kept = converted(basename(part), 'opus');
  problems.push(...kept.problems, ...near('the length of what was cut off', kept.duration, 2.2, 1));
  await member.page.close();
  return problems;
}

const webm = ['opus', 'webm'];
await checked(report, 'VP8 and Opus', () => room(7700, {}, '', { video: 'vp8', endings: webm }));
await checked(report, 'H.264', () => room(7701, { videocodec: 'h264' }, '', { video: 'h264', endings: ['opus', 'mp4'] }));
await checked(report, 'VP9, and sound with copies', () => room(7706, { videocodec: 'vp9', audiocodec: 'red,opus' }, '', { video: 'vp9', endings: webm }));
await checked(report, 'the best of three sizes', () => room(7702, {}, '&simulcast', { video: 'vp8', endings: webm }));
await checked(report, 'on and off, with the secret of the room', onAndOff);
await checked(report, 'what leads elsewhere is refused', refused);
await checked(report, 'an echo with its messages', echo);
await checked(report, 'a gateway that stops', stops);

await context.close();
await gateway.stop();
await pages.close();
report.finish();
