// Shows that the checks of browser.mjs can fail: the gateway stands behind a front that breaks its
// long polls as the historical bug did, and every route must turn red in the way it did then.
//
//   node faulty_front.mjs [BINARY]
//
// The bug sent the head of a poll's answer and closed, without a body and without the chunk that
// ends it. Browsers then report an incomplete chunked encoding; behind a front that talks HTTP/1.0
// to its upstream, where the end of the connection is the end of the body, they see a success with
// an empty body instead. Only reading each body as JSON finds that one.

import { createServer, request as forward } from 'node:http';
import { launch, openPage, startCall } from './lib/chromium.mjs';
import { idlePolls, keepaliveProblems, eventProblems, openSessions, pagePolls } from './lib/polls.mjs';
import { binaryUnderTest, freePort, installed, startGateway } from './lib/process.mjs';
import { startHaproxy, startNginx } from './lib/proxies.mjs';
import { Report } from './lib/report.mjs';
import { serve } from '../../examples/serve.mjs';

const POLLS = 12;
const INCOMPLETE = /ERR_INCOMPLETE_CHUNKED_ENCODING/;
const NO_JSON = /body is no JSON/;

const KEEPALIVE = '[{"janus":"keepalive"}]';

/** Where a faulty front cuts the answer of a poll. */
const FAULTS = {
  afterHead: { body: '', delay: 0 },
  afterHeadLate: { body: '', delay: 1000 },
  afterChunk: { body: `${KEEPALIVE.length.toString(16)}\r\n${KEEPALIVE}\r\n`, delay: 0 },
};

/** A front that passes everything to `upstream` but answers long polls itself, and wrongly. */
function startFaultyFront(port, upstream, fault) {
  const server = createServer((request, response) => {
    if (request.method === 'GET' && /^\/janus\/\d+\?/.test(request.url)) {
      breakOff(request, fault);
      return;
    }
    const { method, url: path, headers } = request;
    const outgoing = forward({ host: '127.0.0.1', port: upstream, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    request.pipe(outgoing);
  });
  return new Promise((resolve) => {
    server.listen(port, '127.0.0.1', () => resolve(() => {
      server.closeAllConnections();
      return new Promise((closed) => server.close(closed));
    }));
  });
}

function breakOff({ socket, httpVersion }, { body, delay }) {
  const head = [
    'HTTP/1.1 200 OK',
    'Content-Type: application/json',
    'Access-Control-Allow-Origin: *',
    httpVersion === '1.0' ? 'Connection: close' : 'Transfer-Encoding: chunked',
    '', '',
  ].join('\r\n');
  socket.write(head + body);
  setTimeout(() => socket.end(), delay);
}

const matching = (problems, pattern) => problems.filter((problem) => pattern.test(problem)).length;

// A check of a check: says what is missing from the redness of a route.
function expectRed(report, name, seen, expected) {
  report.check(name, Object.entries(expected).flatMap(([where, { pattern, atLeast }]) => {
    const count = pattern ? matching(seen[where], pattern) : seen[where].length;
    return count >= atLeast ? [] : [`${where}: ${count} of at least ${atLeast} problems ${pattern ?? ''}; seen: ${seen[where].slice(0, 2).join(' | ')}`];
  }));
}

async function tryRoute(context, pages, sessions, route, tag) {
  const { page, networkProblems } = await openPage(context);
  await page.goto(`${pages}/echotest/`);
  const crowd = await pagePolls(page, route.port, sessions, { ask: false, tag });
  const seen = {
    polls: eventProblems(crowd, tag),
    browser: networkProblems(),
    node: keepaliveProblems(await idlePolls(route.base, sessions.slice(0, 4))),
    log: route.complaints(),
  };
  await page.close();
  return seen;
}

function expectations(route, fault) {
  const all = { atLeast: POLLS };
  const node = { atLeast: 4 };
  if (route.version === '1.0') {
    // A complete answer as far as anyone can tell: only its body gives it away.
    return { polls: { ...all, pattern: NO_JSON }, node: { ...node, pattern: NO_JSON } };
  }
  const logged = route.name === 'direct' ? 0 : 1;
  return {
    polls: { ...all, pattern: /Failed to fetch|network error/ },
    browser: { ...all, pattern: INCOMPLETE },
    node: { ...node, pattern: /broke off|incomplete|aborted|hang up/ },
    log: { atLeast: logged },
  };
}

const report = new Report('faulty front');
const gateway = await startGateway(binaryUnderTest());
const pages = await serve();
const context = await launch();
const sessions = await openSessions(gateway.base, POLLS);
const port = await freePort();
const base = `http://127.0.0.1:${port}/janus`;
const fronts = [];
let stopFaulty = await startFaultyFront(port, gateway.port, FAULTS.afterHead);
for (const [command, start] of [['nginx', startNginx], ['haproxy', startHaproxy]]) {
  if (installed(command)) fronts.push(await start(port, `faulty-${command}`));
  else report.skip(command, 'not installed and cannot be');
}
const routes = [{ name: 'direct', version: '1.1', port, base, complaints: () => [] }, ...fronts.flatMap((front) => front.routes)];

for (const [name, fault] of Object.entries(FAULTS)) {
  await stopFaulty();
  stopFaulty = await startFaultyFront(port, gateway.port, fault);
  for (const [index, route] of routes.entries()) {
    // With HTTP/1.0 a body that ends with its connection is whole, chunk or no chunk.
    if (route.version === '1.0' && fault.body) continue;
    const seen = await tryRoute(context, pages.url, sessions, route, `${name.toLowerCase()}${index}-`)
      .catch((error) => ({ polls: [error.stack], browser: [], node: [], log: [] }));
    expectRed(report, `${route.name}: an answer cut ${name} turns the checks red`, seen, expectations(route, fault));
  }
}

const { page } = await openPage(context);
await stopFaulty();
stopFaulty = await startFaultyFront(port, gateway.port, FAULTS.afterHead);
const missing = await startCall(page, pages.url, base, { patience: 5000 });
report.check('direct: the call does not come up, and the check says so', missing.length > 0 ? [] : ['the call came up']);

await context.close();
await stopFaulty();
for (const front of fronts) await front.stop();
await gateway.stop();
await pages.close();
report.finish();
