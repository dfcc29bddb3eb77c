// An EchoTest call of aiortc, over HTTP: node aiortc.mjs [BINARY]
//
// Python makes the call (aiortc_echo.py); this starts the gateway for it.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { binaryUnderTest, here, startGateway } from './lib/process.mjs';
import { Report } from './lib/report.mjs';

const report = new Report('aiortc');
const python = spawnSync(join(here, 'python.sh'), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
if (python.status === 0) {
  const gateway = await startGateway(binaryUnderTest());
  const call = spawnSync(python.stdout.trim(), ['-B', join(here, 'aiortc_echo.py'), gateway.base], { encoding: 'utf8', timeout: 90000 });
  const problems = call.status === 0 ? [] : [...call.stdout.trim().split('\n'), ...call.stderr.trim().split('\n').slice(-5)];
  report.check('a call with audio, video and data', problems);
  await gateway.stop();
} else {
  report.skip('a call with audio, video and data', 'aiortc cannot be installed');
}
report.finish();
