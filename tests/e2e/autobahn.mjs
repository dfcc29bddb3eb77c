// The cases of the Autobahn test suite against our WebSocket codec: node autobahn.mjs [BINARY]
//
// The package kosoku plays them against the echo server of examples/. All groups are played but 12
// and 13, which are about compression: no extension is ever agreed on. Group 9 has messages of up
// to 16 MiB and is here for its limits, not its times.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Service, binaryUnderTest, freePort, here, scratchDir } from './lib/process.mjs';
import { Report } from './lib/report.mjs';

const CASES = 301;
const PATIENCE = 150000;
const PLAY = `
import asyncio, sys, kosoku

async def play():
    try:
        results = await kosoku.run_fuzzingclient(sys.argv[1], None, ["12.*", "13.*"])
    except kosoku.FailureError as failure:
        print(failure, file=sys.stderr)
        sys.exit(1)
    print(len(results))

asyncio.run(play())
`;

const report = new Report('autobahn');
const echo = join(dirname(binaryUnderTest()), 'examples/websocket_echo');
const python = spawnSync(join(here, 'python.sh'), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
if (!existsSync(echo)) {
  report.skip('all', `no ${echo}: build it with \`cargo build --example websocket_echo\``);
} else if (python.status !== 0) {
  report.skip('all', 'the package kosoku cannot be installed');
} else {
  const port = await freePort();
  const server = new Service('echo', echo, [`127.0.0.1:${port}`], { dir: scratchDir('autobahn') });
  await server.listening(port);
  const { status, error, stdout, stderr } = spawnSync(python.stdout.trim(), ['-B', '-c', PLAY, `127.0.0.1:${port}`], { encoding: 'utf8', timeout: PATIENCE });
  const problems = status === 0 ? [] : [...(error ? [String(error)] : []), ...stderr.trim().split('\n')];
  // Fewer would be another list of cases than the one that was looked at.
  if (status === 0 && Number(stdout) < CASES) problems.push(`${stdout.trim()} cases, not ${CASES}`);
  report.check(`no case of ${CASES} fails`, problems);
  await server.stop();
}
report.finish();
