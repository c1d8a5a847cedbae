/** `orlop serve` for tests: started on a port of its own, stopped at the end. */
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const ORLOP = process.env['ORLOP'] ?? fileURLToPath(new URL('../../target/release/orlop', import.meta.url));
/** Where the servers have their data. */
export const directory = mkdtempSync(join(tmpdir(), 'orlop-served-'));
const started: ChildProcess[] = [];

/** Starts a server with a data directory of that name: where it listens. */
export async function serve(name: string, ...flags: string[]): Promise<string> {
  const data = ['--data', join(directory, name), ...(flags.includes('--addr') ? [] : ['--addr', '127.0.0.1:0'])];
  const server = spawn(ORLOP, ['serve', ...data, ...flags], { stdio: ['ignore', 'ignore', 'pipe'] });
  started.push(server);
  const said: string[] = [];
  for await (const line of createInterface(server.stderr!)) {
    said.push(line);
    const listening = /listening on (https?:\/\/\S+)/.exec(line);
    if (listening) {
      server.stderr!.resume();
      return `${listening[1]}/`;
    }
  }
  throw new Error(`${ORLOP} ended before it listened: ${said.join('\n')}`);
}

/** Stops them all. */
export function stopServers(): void {
  for (const server of started) server.kill();
}

/** Adds a user to a password file, which is made when it is not there. */
export function passwords(name: string, user: string, password: string): string {
  const file = join(directory, name);
  execFileSync(ORLOP, ['user', 'add', '--auth-htpasswd', file, user], { input: `${password}\n` });
  return file;
}

/** Makes a certificate for 127.0.0.1, and gives the settings that have a server use it. */
export function certified(): string {
  const [certificate, key] = [join(directory, 'certificate.pem'), join(directory, 'key.pem')];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const names = ['-subj', '/CN=orlop-test', '-addext', 'subjectAltName=IP:127.0.0.1'];
  execFileSync('openssl', ['req', '-x509', ...kind, ...names, '-keyout', key, '-out', certificate], {
    stdio: 'ignore',
  });
  return `[tls]\ncertificate = ${JSON.stringify(certificate)}\nkey = ${JSON.stringify(key)}\n`;
}

/** Writes a settings file. */
export function settings(name: string, text: string): string {
  const file = join(directory, name);
  writeFileSync(file, text);
  return file;
}

/** A port that nothing listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Sends a request to a server, as any client would. */
export async function request(url: string, method: string, path: string, body?: string, type?: string) {
  const headers = type ? { 'Content-Type': type } : undefined;
  const response = await fetch(new URL(path, url), { method, ...(body && { body }), ...(headers && { headers }) });
  return { status: response.status, text: await response.text() };
}

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const digest = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;

/** Pushes an image without layers. */
export async function push(url: string, repository: string, ...tags: string[]): Promise<string> {
  const config = '{}';
  await request(url, 'POST', `/v2/${repository}/blobs/uploads/?digest=${digest(config)}`, config);
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: digest(config), size: 2 },
    layers: [],
    annotations: { for: repository },
  });
  for (const tag of tags) {
    const put = await request(url, 'PUT', `/v2/${repository}/manifests/${tag}`, manifest, MANIFEST);
    if (put.status !== 201) throw new Error(`${put.status}: ${put.text}`);
  }
  return digest(manifest);
}

/** What a list of the server says. */
export async function list(url: string, path: string, field: string): Promise<string[]> {
  const { status, text } = await request(url, 'GET', path);
  return status === 404 ? [] : ((JSON.parse(text) as Record<string, string[]>)[field] ?? []);
}
