// Serves the example pages, with the official janus.js and webrtc-adapter from npm, on loopback.
//
//   node serve.mjs [--port 8000]
//
// Exports `serve` for the end-to-end tests, which want a port of their own, and other pages.

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);

const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
};

// The two libraries are served under fixed names, wherever npm has put them.
function libraries() {
  const janus = dirname(require.resolve('janus-gateway/package.json'));
  const adapter = dirname(require.resolve('webrtc-adapter/package.json'));
  return {
    '/lib/janus.es.js': join(janus, 'npm/dist/janus.es.js'),
    '/lib/adapter.js': join(adapter, 'out/adapter.js'),
  };
}

function examples() {
  const library = libraries();
  return (path) => {
    if (library[path]) return library[path];
    const name = normalize(path.endsWith('/') ? `${path}index.html` : path);
    const shown = /^\/(echotest|videoroom)\//.test(name) && TYPES[extname(name)];
    return shown ? join(here, name) : null;
  };
}

async function answer(request, response, fileFor) {
  const { pathname } = new URL(request.url, 'http://localhost');
  if (pathname === '/') {
    response.writeHead(302, { Location: '/echotest/' }).end();
    return;
  }
  const file = fileFor(pathname);
  const size = file && (await stat(file).catch(() => null))?.size;
  if (size === undefined || size === null) {
    response.writeHead(404, { 'Content-Type': 'text/plain' }).end('not found\n');
    return;
  }
  response.writeHead(200, {
    'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream',
    'Content-Length': size,
    'Cache-Control': 'no-store',
  });
  createReadStream(file).pipe(response);
}

/**
 * Starts the server; resolves to `{ url, close }`. Port 0 takes a free one. `fileFor` maps the path of
 * a request to a file, or to null.
 */
export async function serve({ port = 0, host = '127.0.0.1', fileFor = examples() } = {}) {
  const server = createServer((request, response) => {
    answer(request, response, fileFor).catch((error) => {
      console.error(error);
      response.destroy();
    });
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  return {
    url: `http://${host}:${server.address().port}`,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const at = process.argv.indexOf('--port');
  const { url } = await serve({ port: at > 0 ? Number(process.argv[at + 1]) : 8000 });
  console.log(`EchoTest: ${url}/echotest/`);
  console.log(`VideoRoom: ${url}/videoroom/`);
}
