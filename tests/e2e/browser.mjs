// The EchoTest page in Chromium, and crowds of long polls, over every route to the gateway:
// directly, through nginx in four variants, through HAProxy.
//
//   node browser.mjs [--polls=200] [BINARY]
//
// On each route: a call with audio, video and data; 200 polls of the browser that end with events
// while the call goes on; 200 polls that are held until their keepalive, and a few of the browser.
// No answer may be incomplete, none 5xx, each must parse, and no front may have logged an upstream
// that closed early. `faulty_front.mjs` shows that these checks can fail.

import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '../../examples/serve.mjs';
import { echoState, endCall, launch, openPage, startCall } from './lib/chromium.mjs';
import { eventProblems, idlePolls, keepaliveProblems, openSessions, pagePolls } from './lib/polls.mjs';
import { binaryUnderTest, installed, option, startGateway } from './lib/process.mjs';
import { startHaproxy, startNginx } from './lib/proxies.mjs';
import { Report, checked } from './lib/report.mjs';

const POLLS = option('polls', 200);
const POLLS_OF_BROWSER_HELD = 5;

const report = new Report('browser');

async function startFronts(upstream) {
  const fronts = [];
  for (const [command, start] of [['nginx', startNginx], ['haproxy', startHaproxy]]) {
    if (installed(command)) fronts.push(await start(upstream));
    else report.skip(command, 'not installed and cannot be');
  }
  return fronts;
}

async function heldPolls(context, pages, route, index) {
  const sessions = await openSessions(route.base, POLLS);
  const ofBrowser = await openSessions(route.base, POLLS_OF_BROWSER_HELD);
  const { page, networkProblems } = await openPage(context);
  await page.goto(`${pages}/echotest/`);
  const [fromNode, fromPage] = await Promise.all([
    idlePolls(route.base, sessions),
    pagePolls(page, route.port, ofBrowser, { ask: false, tag: `held${index}-` }),
  ]);
  const problems = [...keepaliveProblems(fromNode), ...keepaliveProblems(fromPage.polls), ...networkProblems()];
  await page.close();
  report.check(`${route.name}: ${POLLS} + ${POLLS_OF_BROWSER_HELD} polls held for 30 s`, problems);
}

async function callWithCrowd(context, pages, route, index) {
  const sessions = await openSessions(route.base, POLLS);
  const { page, networkProblems } = await openPage(context);
  const missing = await startCall(page, pages, route.base);
  report.check(`${route.name}: call with audio, video and data`, missing);

  const before = await echoState(page);
  const tag = `crowd${index}-`;
  const crowd = await pagePolls(page, route.port, sessions, { tag });
  report.check(`${route.name}: ${POLLS} polls of the browser end with their events`, eventProblems(crowd, tag));

  await sleep(500);
  const after = await echoState(page);
  report.check(`${route.name}: the call went on meanwhile`, [
    ...(after.framesDecoded > before.framesDecoded ? [] : [`frames decoded stay at ${after.framesDecoded}`]),
    ...(after.audioPackets > before.audioPackets ? [] : [`audio packets stay at ${after.audioPackets}`]),
  ]);
  const during = networkProblems();
  await checked(report, `${route.name}: the call ends`, async () => {
    await endCall(page);
    return [];
  });
  // janus.js may poll once more while its session ends, and then leaves the 404 unread.
  const atTheEnd = networkProblems().slice(during.length).filter((problem) => !problem.startsWith('net::ERR_ABORTED'));
  report.check(`${route.name}: the browser saw no network error and no 5xx`, [...during, ...atTheEnd]);
  await page.close();
}

const gateway = await startGateway(binaryUnderTest());
const pages = await serve();
const fronts = await startFronts(gateway.port);
const context = await launch();
const routes = [
  { name: 'direct', port: gateway.port, base: gateway.base, complaints: () => [] },
  ...fronts.flatMap((front) => front.routes),
];

const held = Promise.all(routes.map((route, index) => (
  heldPolls(context, pages.url, route, index).catch((error) => report.check(`${route.name}: held polls`, [error.stack]))
)));
for (const [index, route] of routes.entries()) {
  await callWithCrowd(context, pages.url, route, index)
    .catch((error) => report.check(`${route.name}: call and polls`, [error.stack]));
}
await held;

await context.close();
for (const front of fronts) await front.stop();
for (const route of routes.slice(1)) {
  report.check(`${route.name}: the log blames the gateway for nothing`, route.complaints());
}
report.check('the fronts were well', fronts.flatMap((front) => front.complaints()));
await checked(report, 'the gateway ends in order', async () => {
  const end = await gateway.stop();
  return end.code === 0 ? [] : [`it ended with ${JSON.stringify(end)}`];
});
await pages.close();
report.finish();
