// A certificate authority of a test's own, and a certificate that it signed for loopback.

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

function openssl(...args) {
  const made = spawnSync('openssl', args, { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`openssl: ${made.stderr}`);
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** Makes them in a folder; `{ca, cert, key}` are the files. */
export function makeCertificate(dir) {
  const file = Object.fromEntries(['ca', 'caKey', 'cert', 'key', 'request', 'names'].map((name) => [name, join(dir, `${name}.pem`)]));
  openssl('req', '-x509', ...KEY, '-keyout', file.caKey, '-out', file.ca, '-days', '2', '-subj', '/CN=test authority');
  openssl('req', ...KEY, '-keyout', file.key, '-out', file.request, '-subj', '/CN=localhost');
  writeFileSync(file.names, 'subjectAltName = IP:127.0.0.1, DNS:localhost\nbasicConstraints = CA:FALSE\n');
  openssl('x509', '-req', '-in', file.request, '-CA', file.ca, '-CAkey', file.caKey, '-CAcreateserial',
    '-out', file.cert, '-days', '2', '-extfile', file.names);
  return file;
}
