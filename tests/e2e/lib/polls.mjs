// Many long polls at a time, from Node or from a page, and the verdict on how each of them ended.

import { setTimeout as sleep } from 'node:timers/promises';
import { Client, pool, request } from './http.mjs';

// A gateway may limit how many sessions one address creates; this stays below 64 a second.
const CREATES_PER_SECOND = 50;

/** Creates sessions with an EchoTest handle each, at a pace that no sane limit objects to. */
export async function openSessions(base, count, options = {}) {
  const client = new Client(base, options);
  const began = performance.now();
  return pool(Array.from({ length: count }), 8, async (_, index) => {
    const due = began + (index * 1000) / CREATES_PER_SECOND;
    await sleep(Math.max(0, due - performance.now()));
    const session = await client.create();
    return { session, handle: await client.attach(session) };
  });
}

async function record(promise) {
  const began = performance.now();
  try {
    const { status, text, ms } = await promise;
    return { status, text, ms };
  } catch (error) {
    return { error: error.message, ms: performance.now() - began };
  }
}

/** Holds one poll on each session until its keepalive. */
export function idlePolls(base, sessions, options = {}) {
  return Promise.all(sessions.map(({ session }) => record(request(`${base}/${session}?maxev=10`, options))));
}

/** Polls from inside a page; with `ask`, each session is asked something as soon as all polls wait. */
export function pagePolls(page, port, sessions, { ask = true, tag }) {
  return page.evaluate(async ({ port, sessions, ask, tag }) => {
    // Six connections a host is the browser's limit: four polls and two for the rest.
    const base = (index) => `http://${tag}${Math.floor(index / 4)}.poll.test:${port}/janus`;
    const read = async (url, init) => {
      const began = performance.now();
      try {
        const response = await fetch(url, { cache: 'no-store', ...init });
        return { status: response.status, text: await response.text(), ms: performance.now() - began };
      } catch (error) {
        return { error: String(error), ms: performance.now() - began };
      }
    };
    const polls = sessions.map(({ session }, index) => read(`${base(index)}/${session}?maxev=10&rid=${index}`));
    let asks = [];
    if (ask) {
      await new Promise((resolve) => setTimeout(resolve, 1500));
      asks = sessions.map(({ session, handle }, index) => read(`${base(index)}/${session}/${handle}`, {
        method: 'POST',
        headers: { 'Content-Type': 'text/plain' }, // what needs no preflight
        body: JSON.stringify({ janus: 'message', transaction: `${tag}-${index}`, body: { audio: true } }),
      }));
    }
    return { polls: await Promise.all(polls), asks: await Promise.all(asks) };
  }, { port, sessions, ask, tag });
}

// What is wrong with one answer as a piece of HTTP and JSON; returns the parsed body when nothing is.
function parsed(answer) {
  if (answer.error) return { problem: answer.error };
  if (answer.status !== 200) return { problem: `status ${answer.status}` };
  try {
    return { body: JSON.parse(answer.text) };
  } catch (error) {
    return { problem: `body is no JSON (${error.message}): ${JSON.stringify(answer.text.slice(0, 120))}` };
  }
}

function verdict(answers, what, expectation) {
  return answers.flatMap((answer, index) => {
    const { problem, body } = parsed(answer);
    const wrong = problem ?? expectation(body, index, answer.ms);
    return wrong ? [`${what} ${index}, after ${(answer.ms / 1000).toFixed(1)} s: ${wrong}`] : [];
  });
}

/** Every poll must have ended with a complete keepalive, after the 30 s and not before. */
export function keepaliveProblems(answers, { earliest = 29000, latest = 33000 } = {}) {
  return verdict(answers, 'poll', (body, _index, ms) => {
    const right = Array.isArray(body) && body.length === 1 && body[0].janus === 'keepalive';
    if (!right) return `no keepalive: ${JSON.stringify(body)}`;
    return ms < earliest || ms > latest ? 'a keepalive at the wrong time' : null;
  });
}

/** Every poll must have ended with the event of its own request, every request with an ack. */
export function eventProblems({ polls, asks }, tag) {
  const names = (body) => body.map((event) => event.transaction);
  return [
    ...verdict(asks, 'request', (body) => (body.janus === 'ack' ? null : `no ack: ${JSON.stringify(body)}`)),
    ...verdict(polls, 'poll', (body, index) => (
      Array.isArray(body) && names(body).includes(`${tag}-${index}`) ? null : `not its event: ${JSON.stringify(body)}`
    )),
  ];
}
