// Server-sent events on the session URL, over every route: node event_stream.mjs [BINARY]
//
// All events come in order, each with an id; a stream that was cut resumes behind the last id; a
// stream ends with the chunk that ends it when its session is destroyed and when the gateway ends.
// Chromium's EventSource reads one, too. Where a front talks HTTP/1.0, in which the end of a stream
// cannot be told from its breaking off, streams are refused.

import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '../../examples/serve.mjs';
import { launch, openPage } from './lib/chromium.mjs';
import { Client, fresh } from './lib/http.mjs';
import { binaryUnderTest, installed, startGateway } from './lib/process.mjs';
import { startHaproxy, startNginx } from './lib/proxies.mjs';
import { Report, checked } from './lib/report.mjs';

const EVENTS = 40;

const report = new Report('event stream');

/** Opens a stream; `events` grows, and `ended` tells whether its end was complete. */
function openStream(base, session, lastId) {
  const headers = { Accept: 'text/event-stream' };
  if (lastId) headers['Last-Event-ID'] = lastId;
  const stream = { events: [], comments: 0, head: null };
  stream.ended = new Promise((resolve) => {
    stream.request = get(`${base}/${session}`, { headers, agent: fresh }, (response) => {
      stream.head = response;
      let rest = '';
      response.setEncoding('utf8');
      response.on('data', (part) => {
        const blocks = (rest + part).split(/\r?\n\r?\n/);
        rest = blocks.pop();
        for (const block of blocks) readBlock(stream, block);
      });
      response.on('end', () => resolve(response.complete ? 'complete' : 'incomplete'));
      response.on('error', (error) => resolve(error.message));
    });
    stream.request.on('error', (error) => resolve(error.message));
  });
  return stream;
}

function readBlock(stream, block) {
  const event = { id: null, data: [] };
  for (const line of block.split(/\r?\n/)) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === '') stream.comments += 1;
    else if (field === 'data') event.data.push(value);
    else event[field] = value;
  }
  if (event.data.length > 0) stream.events.push({ id: event.id, body: JSON.parse(event.data.join('\n')) });
}

async function until(condition, patience = 5000) {
  const limit = performance.now() + patience;
  while (!condition() && performance.now() < limit) await sleep(20);
}

const names = (stream) => stream.events.map(({ body }) => body.transaction);

async function open(client) {
  const session = await client.create();
  return { session, handle: await client.attach(session) };
}

async function askAll(client, { session, handle }, wanted) {
  for (const name of wanted) await client.ask(session, handle, name);
}

async function inOrder(client, base) {
  const made = await open(client);
  const stream = openStream(base, made.session);
  const wanted = Array.from({ length: EVENTS }, (_, index) => `e${index}`);
  await until(() => stream.head);
  await askAll(client, made, wanted);
  await until(() => stream.events.length >= EVENTS);
  const problems = [];
  const type = stream.head?.headers['content-type'] ?? '';
  if (!type.startsWith('text/event-stream')) problems.push(`Content-Type is ${type}, status ${stream.head?.statusCode}`);
  if (names(stream).join() !== wanted.join()) problems.push(`events: ${names(stream)}`);
  if (new Set(stream.events.map(({ id }) => id)).size !== EVENTS) problems.push('the ids are not all there and different');
  await client.destroy(made.session);
  const end = await Promise.race([stream.ended, sleep(3000, 'no end')]);
  if (end !== 'complete') problems.push(`after destroy: ${end}`);
  return problems;
}

async function resumed(client, base) {
  const made = await open(client);
  const wanted = Array.from({ length: EVENTS }, (_, index) => `r${index}`);
  const first = openStream(base, made.session);
  await until(() => first.head);
  await askAll(client, made, wanted.slice(0, 10));
  await until(() => first.events.length >= 10);
  const seen = first.events.slice(0, 7); // as if the last three had been lost on their way
  first.request.destroy();
  await sleep(200);
  await askAll(client, made, wanted.slice(10));
  const second = openStream(base, made.session, seen.at(-1)?.id);
  await until(() => second.events.length >= EVENTS - 7);
  const got = [...seen.map(({ body }) => body.transaction), ...names(second)];
  second.request.destroy();
  await client.destroy(made.session);
  return got.join() === wanted.join() ? [] : [`events: ${got}`];
}

async function refused(client, base) {
  const { session } = await open(client);
  const stream = openStream(base, session);
  const end = await Promise.race([stream.ended, sleep(3000, 'no end')]);
  await client.destroy(session);
  const { statusCode: status } = stream.head ?? {};
  return status === 406 && end === 'complete' ? [] : [`status ${status}, ${end}`];
}

async function inBrowser(context, pages, client, base) {
  const made = await open(client);
  const { page, networkProblems } = await openPage(context);
  await page.goto(`${pages}/echotest/`);
  await page.evaluate((url) => {
    window.seen = [];
    window.source = new EventSource(url);
    window.source.onmessage = (event) => window.seen.push(JSON.parse(event.data).transaction);
    return new Promise((resolve, reject) => {
      window.source.onopen = resolve;
      window.source.onerror = () => reject(new Error('the stream did not open'));
    });
  }, `${base}/${made.session}`);
  const wanted = Array.from({ length: EVENTS }, (_, index) => `b${index}`);
  await askAll(client, made, wanted);
  await page.waitForFunction((count) => window.seen.length >= count, EVENTS, { timeout: 5000 }).catch(() => {});
  const seen = await page.evaluate(() => { window.source.close(); return window.seen; });
  const problems = networkProblems().filter((problem) => !problem.includes('ERR_ABORTED'));
  await page.close();
  await client.destroy(made.session);
  return seen.join() === wanted.join() ? problems : [`events: ${seen}`, ...problems];
}

async function endsWithGateway(gateway) {
  const client = new Client(gateway.base);
  const made = await open(client);
  const stream = openStream(gateway.base, made.session);
  await until(() => stream.head);
  gateway.child.kill('SIGTERM');
  const end = await Promise.race([stream.ended, sleep(3000, 'no end')]);
  return end === 'complete' ? [] : [`at SIGTERM: ${end}`];
}

const gateway = await startGateway(binaryUnderTest());
const client = new Client(gateway.base);
const fronts = [];
if (installed('nginx')) fronts.push(await startNginx(gateway.port));
if (installed('haproxy')) fronts.push(await startHaproxy(gateway.port));
const all = [{ name: 'direct', base: gateway.base }, ...fronts.flatMap((front) => front.routes)];
const routes = all.filter((route) => route.version !== '1.0');
for (const route of all.filter((other) => !routes.includes(other))) {
  await checked(report, `${route.name}: a stream is refused`, () => refused(client, route.base));
}
for (const route of routes) {
  await checked(report, `${route.name}: ${EVENTS} events in order, and a complete end`, () => inOrder(client, route.base));
  await checked(report, `${route.name}: a stream that was cut resumes`, () => resumed(client, route.base));
}
if (installed('chromium')) {
  const pages = await serve();
  const context = await launch();
  for (const route of routes) {
    await checked(report, `${route.name}: EventSource of the browser`, () => inBrowser(context, pages.url, client, route.base));
  }
  await context.close();
  await pages.close();
} else {
  report.skip('EventSource of the browser', 'chromium cannot be installed');
}
for (const front of fronts) await front.stop();
await checked(report, 'SIGTERM ends a stream completely', () => endsWithGateway(gateway));
await gateway.stop();
report.finish();
