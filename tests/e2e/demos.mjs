// The demo pages of Janus as Debian ships them, unmodified, against this gateway: node demos.mjs [BINARY]
//
// Three people publish and three only watch, in the VideoRoom demo over REST and over WebSocket; two meet
// in the multistream one, where all feeds share a connection; and an EchoTest. Only `settings.js`, which is what those who install the demos are to change, is another
// one: it names the gateway.

import { existsSync, readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '../../examples/serve.mjs';
import { launch, openPage } from './lib/chromium.mjs';
import { binaryUnderTest, startGateway } from './lib/process.mjs';
import { Report, checked } from './lib/report.mjs';
import { manage } from './lib/room.mjs';

const DEMOS = '/usr/share/janus/demos';
const ROOM = 1234;
// What the pages get wrong by themselves: they ask for the bitrate of a feed that they have just let go.
const KNOWN = /setting 'bsnow'/;
const report = new Report('demos');

if (!existsSync(join(DEMOS, 'videoroomtest.html')) || !existsSync(join(DEMOS, 'javascript/jquery/jquery.min.js'))) {
  report.skip('the demo pages', 'the package janus-demos is not installed');
  report.finish();
  process.exit();
}

const gateway = await startGateway(binaryUnderTest());
// The pages as they are, with the libraries that belong to the package.
const pages = await serve({ fileFor: (path) => join(DEMOS, normalize(path)) });
// Six pages encode and decode some twenty streams: few pictures a second will do.
const context = await launch(['--use-fake-device-for-media-stream=fps=8']);
await manage(gateway.base, { request: 'create', room: ROOM, publishers: 6, bitrate: 128000, fir_freq: 10 });

/** A demo page with the gateway in its settings. */
async function open(name, server, query = '') {
  const { page, networkProblems } = await openPage(context);
  const settings = `${readFileSync(join(DEMOS, 'settings.js'), 'utf8')}\nserver = ${JSON.stringify(server)};\niceServers = [];\nvar token = null, apisecret = null;\n`;
  await page.route('**/settings.js', (route) => route.fulfill({ contentType: 'text/javascript', body: settings }));
  // One transport is what is tested; nothing may come from elsewhere.
  const strangers = [];
  page.on('request', (request) => {
    const { origin, hostname } = new URL(request.url());
    if (origin !== pages.url && hostname !== new URL(server).hostname) strangers.push(request.url());
  });
  await page.goto(`${pages.url}/${name}?room=${ROOM}${query}`);
  await page.click('#start');
  const problems = () => [...networkProblems().filter((text) => !KNOWN.test(text)), ...strangers.map((url) => `asked ${url}`)];
  return { page, problems };
}

async function enter(name, server, who, query) {
  const opened = await open(name, server, query);
  await opened.page.waitForSelector('#username', { state: 'visible', timeout: 15000 });
  await opened.page.fill('#username', who);
  await opened.page.click('#register');
  return { who, ...opened };
}

/** Pictures of others: those that are shown with a size, and how many were decoded on each. */
function seen(page) {
  return page.evaluate(async () => {
    const shown = [...document.querySelectorAll('[id^=videoremote] video')].filter((video) => video.videoWidth > 0 && !video.paused);
    // Globals of the demos: a handle for each feed, or one for all.
    const handles = [...Object.values(window.feeds ?? {}), window.remoteFeed].filter((handle) => handle?.webrtcStuff?.pc);
    const frames = {};
    for (const handle of handles) {
      for (const row of (await handle.webrtcStuff.pc.getStats()).values()) {
        if (row.type === 'inbound-rtp' && row.kind === 'video') frames[`${handle.getId()} ${row.id}`] = row.framesDecoded ?? 0;
      }
    }
    return { shown: shown.length, frames, labels: [...document.querySelectorAll('[id^=remote]')].map((label) => label.textContent).filter(Boolean) };
  });
}

/** Waits until the pictures of `count` others are there and go on. */
async function sees(person, count, patience = 40000) {
  const limit = performance.now() + patience;
  let found = null;
  let before = null;
  while (performance.now() < limit) {
    before = found;
    found = await seen(person.page);
    const goOn = Object.keys(found.frames).filter((name) => found.frames[name] > (before?.frames[name] ?? Infinity));
    const goesOn = goOn.length >= count;
    if (found.shown === count && goesOn) return [];
    await sleep(500);
  }
  return [`${person.who} does not see ${count} others: ${JSON.stringify(found)}`];
}

async function gone(person, count) {
  const limit = performance.now() + 10000;
  let found = null;
  do {
    found = await seen(person.page);
    if (found.shown === count) return [];
    await sleep(250);
  } while (performance.now() < limit);
  return [`${person.who} sees ${found.shown} others, and not ${count}`];
}

/** As the button that says "Stop": the session ends, whatever it came over. */
async function leave({ page }) {
  await page.click('#start');
  await sleep(500);
  await page.close();
}

/** Three who publish and three who watch. */
async function crowd(name, server) {
  const people = [];
  // A browser opens six connections to a host, which six polls would take for themselves.
  const reach = (who) => server.replace('//127.0.0.1', `//${who.toLowerCase()}.poll.test`);
  for (const who of ['Ada', 'Ben', 'Cleo']) people.push(await enter(name, reach(who), who, ''));
  for (const who of ['Dan', 'Eve', 'Finn']) people.push(await enter(name, reach(who), who, '&subscriber-mode=yes'));
  const problems = [];
  for (const [index, person] of people.entries()) problems.push(...await sees(person, index < 3 ? 2 : 3));
  const { participants } = await manage(gateway.base, { request: 'listparticipants', room: ROOM });
  const publish = participants.filter(({ publisher }) => publisher).map(({ display }) => display).sort();
  if (`${publish}` !== 'Ada,Ben,Cleo' || participants.length !== 6) problems.push(`in the room: ${JSON.stringify(participants)}`);
  const { labels } = await seen(people[3].page);
  if (`${labels.sort()}` !== 'Ada,Ben,Cleo') problems.push(`names over the pictures: ${labels}`);
  // One stops and another one leaves: their pictures go.
  await people[0].page.click('#unpublish');
  await leave(people[1]);
  problems.push(...await gone(people[2], 0), ...await gone(people[4], 1), ...await sees(people[4], 1));
  // And comes back, once janus.js has let go of the track: of shorter silences it tells no page.
  await sleep(4000);
  await people[0].page.click('#publish');
  problems.push(...await sees(people[2], 1), ...await sees(people[5], 2));
  for (const person of people.filter((each) => !each.page.isClosed())) {
    problems.push(...person.problems());
    await leave(person);
  }
  await sleep(300);
  return problems;
}

/** Two who publish; one stops and comes back, in sections of the other's connection that were inactive. */
async function multistream(name, server) {
  const people = [];
  for (const who of ['Gus', 'Hal']) people.push(await enter(name, server, who, ''));
  const problems = [];
  for (const person of people) problems.push(...await sees(person, 1));
  await people[0].page.click('#unpublish');
  problems.push(...await gone(people[1], 0));
  await sleep(4000);
  await people[0].page.click('#publish');
  problems.push(...await sees(people[1], 1));
  for (const person of people) {
    problems.push(...person.problems());
    await leave(person);
  }
  return problems;
}

async function echo(server) {
  const { page, problems } = await open('echotest.html', server);
  const shown = () => page.evaluate(() => [...document.querySelectorAll('video')].filter((video) => video.videoWidth > 0).length);
  const limit = performance.now() + 20000;
  while (await shown() < 2 && performance.now() < limit) await sleep(250);
  const count = await shown();
  const all = [...problems(), ...(count < 2 ? [`${count} pictures, and not one's own and its echo`] : [])];
  await page.close();
  return all;
}

await checked(report, 'EchoTest over REST', () => echo(gateway.base));
await checked(report, 'EchoTest over WebSocket', () => echo(gateway.ws));
await checked(report, 'VideoRoom over REST: three publish, six see them', () => crowd('videoroomtest.html', gateway.base));
await checked(report, 'VideoRoom over WebSocket: three publish, six see them', () => crowd('videoroomtest.html', gateway.ws));
await checked(report, 'VideoRoom, multistream, over REST: who comes back is seen again', () => multistream('mvideoroomtest.html', gateway.base));
await checked(report, 'VideoRoom, multistream, over WebSocket: who comes back is seen again', () => multistream('mvideoroomtest.html', gateway.ws));

await context.close();
await gateway.stop();
await pages.close();
report.finish();
