// The timeline of the simulator in Chromium: a page on its own, with lanes, clocks and bytes.
//
//   node timeline.mjs [BIFRONS-SIM]
//
// The page is that of a run whose wall clock steps, and, where the simulator has mutants, of one
// that breaks a rule. It is opened as a file; it may ask for nothing and log nothing. A page that
// was spoilt on purpose shows that both would be noticed.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { launch } from './lib/chromium.mjs';
import { root, scratchDir } from './lib/process.mjs';
import { Report, checked } from './lib/report.mjs';

const report = new Report('timeline');
const folder = scratchDir('timeline');

const SCENARIO = `
client browser via=nginx11 start=0s messages=3 gap=5s maxev=10 think=0s handles=1
fault @11s clock.wall-step seconds=60
`;

/** The simulator that was built last, of those that there may be. */
function simulator() {
  const named = process.argv.slice(2).find((word) => !word.startsWith('-'));
  const built = ['sim', 'release', 'debug'].map((profile) => join(root, 'target', profile, 'bifrons-sim'));
  const there = (named ? [named] : built).filter((path) => existsSync(path));
  return there.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
}

/** Runs a scenario; gives its page and what the simulator said. */
function replay(binary, name, ...more) {
  const [scenario, page] = [join(folder, `${name}.scn`), join(folder, `${name}.html`)];
  writeFileSync(scenario, SCENARIO);
  const run = spawnSync(binary, ['replay', '--scenario-file', scenario, '--timeline', page, ...more], { encoding: 'utf8' });
  return { page, status: run.status, said: run.stdout + run.stderr };
}

/** Opens a page; gives it and a list of what went wrong on it, which grows. */
async function open(context, file) {
  const page = await context.newPage();
  const problems = [];
  const url = pathToFileURL(file).href;
  page.on('request', (request) => {
    if (request.url() !== url) problems.push(`asks for ${request.url()}`);
  });
  page.on('console', (message) => problems.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => problems.push(`exception: ${error.message}`));
  await page.setViewportSize({ width: 1200, height: 800 });
  await page.goto(url, { waitUntil: 'load' });
  return { page, problems };
}

const near = (value, wanted) => Math.abs(value - wanted) < 0.01;

/** Where the chart has a moment of a lane, in pixels of the canvas. */
const place = (page, lane, at) =>
  page.evaluate(
    ([lane, at]) => {
      const index = lane === 'monotonic' ? lanes.length : lane === 'realtime' ? lanes.length + 2 : lanes.indexOf(lane);
      return { x: left + (at / end) * (canvas.clientWidth - left - 10), y: index * row + row / 2 + 4 };
    },
    [lane, at],
  );

async function hover(page, lane, at) {
  const { x, y } = await place(page, lane, at);
  await page.locator('#chart').hover({ position: { x, y } });
  return page.evaluate(() => (byId('tip').hidden ? '' : byId('tip').textContent));
}

async function lanesProblems({ page }) {
  const problems = [];
  const lanes = await page.evaluate(() => lanes);
  for (const lane of ['c0 browser', 'proxy 0', 'wire', 'FAULT']) {
    if (!lanes.includes(lane)) problems.push(`there is no lane ${lane}, but ${lanes}`);
  }
  // Each lane is drawn: its name, and a mark above its line where its first event is.
  const drawn = await page.evaluate(() => {
    const { width, height } = canvas;
    const { data: pixels } = canvas.getContext('2d').getImageData(0, 0, width, height);
    const hasInk = (x, y, w, h) => {
      for (let i = Math.round(y); i < y + h; i++)
        for (let j = Math.round(x); j < x + w; j++) if (pixels[(i * width + j) * 4 + 3] > 0) return true;
      return false;
    };
    const scale = devicePixelRatio;
    return lanes.map((lane, index) => {
      const event = data.events.find((event) => event.lane === lane);
      const y = index * row + row / 2 + 4;
      const x = left + (event.t / end) * (canvas.clientWidth - left - 10);
      return {
        lane,
        hasName: hasInk(4 * scale, (y - 6) * scale, 100 * scale, 12 * scale),
        hasMark: hasInk((x - 1) * scale, (y - 4) * scale, 2 * scale, 2 * scale),
      };
    });
  });
  for (const { lane, hasName, hasMark } of drawn) {
    if (!hasName) problems.push(`lane ${lane} has no name`);
    if (!hasMark) problems.push(`lane ${lane} has no mark at its first event`);
  }
  return problems;
}

async function clockProblems({ page }) {
  const problems = [];
  const offset = async (clock, at) => {
    const text = await hover(page, clock, at);
    return Number(new RegExp(`${clock} ([+-][0-9.]+) s`).exec(text)?.[1] ?? NaN);
  };
  const last = await page.evaluate(() => end);
  for (const [clock, at, wanted] of [['realtime', 8, 0], ['realtime', last - 1, 60], ['monotonic', 8, 0], ['monotonic', last - 1, 0]]) {
    const value = await offset(clock, at);
    if (!near(value, wanted)) problems.push(`${clock} at ${at} s is off by ${value} s, not ${wanted}`);
  }
  return problems;
}

async function bytesProblems({ page }) {
  const problems = [];
  const first = await page.evaluate(() => data.events.find((event) => event.lane === 'wire'));
  const text = await hover(page, 'wire', first.t);
  if (!text.includes('POST /janus HTTP/1.1')) problems.push(`over the first bytes: ${JSON.stringify(text)}`);
  const fault = await page.evaluate(() => data.events.find((event) => event.lane === 'FAULT'));
  const struck = await hover(page, 'FAULT', fault.t);
  if (!struck.includes('WallStep')) problems.push(`over the fault: ${JSON.stringify(struck)}`);
  const nothing = await hover(page, 'FAULT', fault.t / 2);
  if (nothing !== '') problems.push(`where nothing is: ${JSON.stringify(nothing)}`);
  await page.mouse.move(1, 1);
  if (!(await page.locator('#tip').isHidden())) problems.push('the hint stays when the pointer has gone');
  return problems;
}

async function rowsProblems({ page }) {
  const problems = [];
  const all = await page.locator('#rows tr').count();
  await page.fill('#filter', 'WallStep');
  const some = await page.locator('#rows tr').allTextContents();
  if (some.length === 0 || some.length >= all) problems.push(`the filter leaves ${some.length} of ${all}`);
  for (const row of some) if (!row.includes('WallStep')) problems.push(`the filter leaves ${row}`);
  await page.fill('#filter', '');
  const fault = await page.evaluate(() => data.events.find((event) => event.lane === 'FAULT'));
  const position = await place(page, 'FAULT', fault.t);
  await page.locator('#chart').click({ position });
  const now = await page.locator('tr.now').allTextContents();
  if (now.length !== 1 || !near(Number.parseFloat(now[0]), fault.t)) problems.push(`a click leads to ${now}`);
  if (!(await page.locator('tr.now').isVisible())) problems.push('what a click leads to is not in sight');
  return problems;
}

const binary = simulator();
if (!binary) {
  report.skip('all', 'there is no bifrons-sim: build it with `cargo build --profile sim -p bifrons-sim`');
} else {
  const context = await launch();
  try {
    const run = replay(binary, 'step');
    report.check('a run that is clean has a page', run.status === 0 && existsSync(run.page) ? [] : [`status ${run.status}: ${run.said}`]);
    const opened = await open(context, run.page);
    await checked(report, 'the verdict', async () => {
      const text = await opened.page.locator('#verdict').textContent();
      return text === 'no rule was broken' ? [] : [text];
    });
    await checked(report, 'a lane for each host', () => lanesProblems(opened));
    await checked(report, 'a lane for each clock, and what it shows', () => clockProblems(opened));
    await checked(report, 'the bytes under the pointer', () => bytesProblems(opened));
    await checked(report, 'filter and jump', () => rowsProblems(opened));
    report.check('it asks for nothing and logs nothing', opened.problems);
    await opened.page.close();

    const broken = replay(binary, 'broken', '--mutant', 'clock-wall-deadline');
    if (broken.status === 2 && broken.said.includes('no mutants')) {
      report.skip('a rule that is broken', 'this simulator has no mutants');
    } else {
      await checked(report, 'a rule that is broken', async () => {
        const { page, problems } = await open(context, broken.page);
        const text = await page.locator('#verdict.bad').textContent();
        await page.close();
        const isTold = broken.status === 1 && text.startsWith('VIOLATION poll-not-');
        return isTold ? problems : [`status ${broken.status}: ${text}`, ...problems];
      });
    }

    // What the checks above rest on: both kinds of trouble are noticed.
    await checked(report, 'a page that was spoilt is noticed', async () => {
      const spoilt = join(folder, 'spoilt.html');
      const text = readFileSync(run.page, 'utf8');
      writeFileSync(spoilt, `${text}<script src="http://127.0.0.1:9/x.js"></script><script>nothing()</script>`);
      const { page, problems } = await open(context, spoilt);
      await page.close();
      const wanted = ['asks for http://127.0.0.1:9/x.js', 'exception: nothing is not defined'];
      return wanted.filter((problem) => !problems.includes(problem)).map((problem) => `not noticed: ${problem}`);
    });
  } finally {
    await context.close();
  }
}
report.finish();
