// The VideoRoom page of examples/ in Chromium, and what a test asks of it.

import { setTimeout as sleep } from 'node:timers/promises';
import { openPage } from './chromium.mjs';
import { request, transaction } from './http.mjs';

/** A session of the REST API whose events are given to those who wait for them. */
export class Session {
  static async open(base) {
    const session = new Session(base);
    session.id = (await session.post('', { janus: 'create' })).data.id;
    session.polling = session.poll();
    return session;
  }

  constructor(base) {
    this.base = base;
    this.waiting = new Map();
    this.isOpen = true;
  }

  async post(path, message) {
    const text = JSON.stringify({ transaction: transaction(), ...message });
    const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) };
    const answer = JSON.parse((await request(this.base + path, { method: 'POST', body: text, headers })).text);
    if (answer.janus === 'error') throw new Error(`${message.janus}: ${JSON.stringify(answer.error)}`);
    return answer;
  }

  async poll() {
    while (this.isOpen) {
      const events = await request(`${this.base}/${this.id}?maxev=20`).then(({ text }) => JSON.parse(text)).catch(() => []);
      for (const event of Array.isArray(events) ? events : []) {
        this.waiting.get(event.transaction)?.({ ...event.plugindata?.data, jsep: event.jsep });
      }
    }
  }

  async attach() {
    return (await this.post(`/${this.id}`, { janus: 'attach', plugin: 'janus.plugin.videoroom' })).data.id;
  }

  /** Sends a request; resolves to its answer, which may come as an event. */
  async ask(handle, body, jsep, patience = 15000) {
    const name = transaction();
    const event = new Promise((resolve) => this.waiting.set(name, resolve));
    const answer = await this.post(`/${this.id}/${handle}`, { janus: 'message', transaction: name, body, ...(jsep && { jsep }) });
    const data = answer.janus === 'ack'
      ? await Promise.race([event, sleep(patience, { error: 'no answer' }, { ref: false })])
      : answer.plugindata.data;
    this.waiting.delete(name);
    if (data.error) throw new Error(`${body.request}: ${JSON.stringify(data)}`);
    return data;
  }

  async close() {
    this.isOpen = false;
    await this.post(`/${this.id}`, { janus: 'destroy' });
    await this.polling;
  }
}

/** Sends the VideoRoom a synchronous request, over a session of its own. */
export async function manage(base, body) {
  const session = await Session.open(base);
  const data = await session.ask(await session.attach(), body);
  await session.close();
  return data;
}

/** Somebody in a room: a page of the browser. */
export class Member {
  static async join(context, pages, server, room, options = '') {
    const { page, networkProblems } = await openPage(context);
    const member = new Member(page, networkProblems);
    await page.goto(`${pages}/videoroom/?server=${encodeURIComponent(server)}&room=${room}&autostart${options}`);
    await page.waitForFunction(() => ['joined', 'failed'].includes(window.room.state), null, { timeout: 15000 });
    return member;
  }

  constructor(page, networkProblems) {
    this.page = page;
    this.networkProblems = networkProblems;
  }

  /** Calls something of `window.room`. */
  call(name, ...args) {
    return this.page.evaluate(([what, given]) => window.room[what](...given), [name, args]);
  }

  state() {
    return this.page.evaluate(() => {
      const { state, error, id, isUp, events, subscriberEvents, lines } = window.room;
      return { state, error, id, isUp, events, subscriberEvents, lines };
    });
  }

  async received(kind, feed) {
    const rows = Object.entries(await this.call('stats'));
    return rows.filter(([, row]) => row.kind === kind && (feed === undefined || row.feed === feed))
      .map(([mid, row]) => ({ mid, ...row }));
  }

  /** Waits until `holds` is true of what `look` finds; the problem, if it does not become so. */
  async until(what, look, holds, patience = 10000) {
    const limit = performance.now() + patience;
    let found;
    do {
      found = await look();
      if (holds(found)) return [];
      await sleep(50);
    } while (performance.now() < limit);
    const { state, error } = await this.state();
    return [`not ${what} within ${patience} ms: ${JSON.stringify(found)}, page "${state}", ${error}`];
  }

  /** Waits until pictures of `count` others arrive, each of which goes on. */
  async sees(count, patience = 20000) {
    const look = () => this.received('video');
    const problems = await this.until(`pictures of ${count}`, look, (rows) => rows.filter((row) => row.frames > 0).length >= count, patience);
    if (problems.length > 0) return problems;
    const before = await look();
    return this.until('more pictures', look, (rows) => before.every(({ mid, frames }) => rows.some((row) => row.mid === mid && row.frames > frames)), 5000);
  }

  /** Pictures and sound within some time. */
  async flow(ms = 1500) {
    const sum = async (kind, what) => (await this.received(kind)).reduce((total, row) => total + row[what], 0);
    const before = [await sum('video', 'frames'), await sum('audio', 'packets')];
    await sleep(ms);
    return { video: await sum('video', 'frames') - before[0], audio: await sum('audio', 'packets') - before[1] };
  }

  /**
   * How long after something the next picture is decoded, in ms by the page's clock: `act` is the
   * name of what is called in the page.
   */
  firstFrameAfter(act, args = [], patience = 6000) {
    return this.page.evaluate(async ([name, given, most]) => {
      const frames = async () => Object.values(await window.room.stats())
        .filter((row) => row.kind === 'video').reduce((sum, row) => sum + row.frames, 0);
      const before = await frames();
      const began = performance.now();
      await window.room[name](...given);
      while (performance.now() - began < most) {
        if (await frames() > before) return performance.now() - began;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return null;
    }, [act, args, patience]);
  }

  async leave() {
    await this.page.evaluate(() => window.room.leave());
    // Else the page may be gone before it said so.
    await this.page.waitForFunction(() => window.room.state === 'ended', null, { timeout: 5000 }).catch(() => {});
    await this.page.close();
  }
}
