// nginx and HAProxy in front of a gateway, each route with a port and an upstream address of its own.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Service, freePort, scratchDir } from './process.mjs';

const NGINX_VARIANTS = [
  { name: 'nginx, HTTP/1.0, buffering on', version: '1.0', buffering: 'on' },
  { name: 'nginx, HTTP/1.0, buffering off', version: '1.0', buffering: 'off' },
  { name: 'nginx, HTTP/1.1, buffering on', version: '1.1', buffering: 'on' },
  { name: 'nginx, HTTP/1.1, buffering off', version: '1.1', buffering: 'off' },
];

// What a front writes into its log when its upstream let it down.
const BROKEN_UPSTREAM = /upstream prematurely closed|upstream sent|upstream timed out|connect\(\) failed|recv\(\) failed|\[(crit|alert|emerg)\]/;

const nginxConfig = (dir, upstream, routes) => `
daemon off;
master_process off;
worker_rlimit_nofile 8192;
pid ${dir}/nginx.pid;
error_log ${dir}/error.log warn;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path ${dir}/body;
  proxy_temp_path ${dir}/proxy;
  fastcgi_temp_path ${dir}/fastcgi;
  uwsgi_temp_path ${dir}/uwsgi;
  scgi_temp_path ${dir}/scgi;
${routes.map((route) => `
  server {
    listen 127.0.0.1:${route.port} backlog=1024;
    location / {
      proxy_pass http://127.0.0.1:${upstream};
      proxy_bind ${route.source};
      proxy_http_version ${route.version};
      ${route.version === '1.1' ? 'proxy_set_header Connection "";' : ''}
      proxy_buffering ${route.buffering};
    }
  }`).join('\n')}
}
`;

/** Starts one nginx with the four variants; the routes tell what its error log said meanwhile. */
export async function startNginx(upstream, name = 'nginx') {
  const dir = scratchDir(name);
  const routes = [];
  for (const [index, variant] of NGINX_VARIANTS.entries()) {
    routes.push({ ...variant, port: await freePort(), source: `127.0.0.${11 + index}` });
  }
  writeFileSync(join(dir, 'nginx.conf'), nginxConfig(dir, upstream, routes));
  const service = new Service('nginx', 'nginx', ['-p', dir, '-e', join(dir, 'error.log'), '-c', join(dir, 'nginx.conf')], { dir });
  service.logFile = join(dir, 'error.log');
  for (const { port } of routes) await service.listening(port);
  const complaints = (port) => service.log().split('\n')
    .filter((line) => BROKEN_UPSTREAM.test(line) && line.includes(`:${port}"`));
  return {
    routes: routes.map((route) => ({
      name: route.name,
      version: route.version,
      port: route.port,
      base: `http://127.0.0.1:${route.port}/janus`,
      complaints: () => complaints(route.port),
    })),
    // Lines that name no route, such as one about running out of files.
    complaints: () => service.log().split('\n').filter((line) => /\[(crit|alert|emerg)\]/.test(line)),
    stop: () => service.stop(),
  };
}

const haproxyConfig = (upstream, port) => `
global
  log stdout format raw local0 info
  maxconn 4000
defaults
  mode http
  log global
  option httplog
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 60s
frontend front
  bind 127.0.0.1:${port}
  default_backend gateway
backend gateway
  source 127.0.0.15
  server one 127.0.0.1:${upstream}
`;

/**
 * Starts HAProxy. Its log has two letters for how each exchange ended; the first is `-` where it
 * was complete, `S` where the server broke off, `s` where it took too long, `P` where HAProxy
 * could not make sense of the answer.
 */
export async function startHaproxy(upstream, name = 'haproxy') {
  const dir = scratchDir(name);
  const port = await freePort();
  writeFileSync(join(dir, 'haproxy.cfg'), haproxyConfig(upstream, port));
  const service = new Service('haproxy', 'haproxy', ['-db', '-f', join(dir, 'haproxy.cfg')], { dir });
  await service.listening(port);
  const complaints = () => service.log().split('\n').filter((line) => / [SsPRI][A-Za-z-]{3} \d+\/\d+/.test(line));
  return {
    routes: [{ name: 'HAProxy', version: '1.1', port, base: `http://127.0.0.1:${port}/janus`, complaints }],
    complaints: () => [],
    stop: () => service.stop(),
  };
}
