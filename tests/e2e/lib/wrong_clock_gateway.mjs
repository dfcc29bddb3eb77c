#!/usr/bin/env node
// Just enough of a gateway to hold long polls, with deadlines on a wrong clock: the proof that
// clock.mjs finds such a thing. Takes `--http HOST:PORT` as bifrons does, ignores other flags.
//
// WRONG_CLOCK=wall measures the 30 s on the wall clock; WRONG_CLOCK=mixed makes a deadline on the
// monotonic clock and compares it with the time since boot, as the historical bug did.

import { createServer } from 'node:http';
import { uptime } from 'node:os';

const HOLD_MS = 30000;
const monotonic = () => Number(process.hrtime.bigint() / 1000000n);
const boottime = () => uptime() * 1000;
const [made, awaited] = process.env.WRONG_CLOCK === 'wall' ? [Date.now, Date.now] : [monotonic, boottime];

const polls = new Set();
let ids = 1;

function answer(response, body) {
  response.writeHead(200, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(body));
}

const server = createServer((request, response) => {
  if (request.method === 'GET') {
    polls.add({ response, deadline: made() + HOLD_MS });
    return;
  }
  request.resume();
  request.on('end', () => {
    ids += 1;
    answer(response, { janus: 'success', data: { id: ids } });
  });
});

setInterval(() => {
  for (const poll of polls) {
    if (awaited() < poll.deadline) continue;
    polls.delete(poll);
    answer(poll.response, [{ janus: 'keepalive' }]);
  }
}, 50);

const [host, port] = process.argv[process.argv.indexOf('--http') + 1].split(':');
server.listen(Number(port), host);
