/** Names of what the server holds: suggestions for the fields of a request. All of it was said by the server. */
import { signal } from '@preact/signals';
import { listed } from './lists.js';
import type { Server } from './server.js';
import type { WireRequest, WireResponse } from './wire.js';

export interface Known {
  repositories: string[];
  /** By repository. */
  tags: Record<string, string[]>;
  manifests: Record<string, string[]>;
  blobs: Record<string, string[]>;
  /** Upload sessions that were opened from here. */
  sessions: string[];
}

const NOTHING: Known = { repositories: [], tags: {}, manifests: {}, blobs: {}, sessions: [] };

/** How many names are asked for at once, and how many of a kind are kept. */
const [PAGE, KEPT] = [50, 500];

export const known = signal<Known>(NOTHING);

/** Forgets everything: another user may see something else. */
export function forget(): void {
  known.value = NOTHING;
}

const merged = (old: string[] = [], more: string[]) => [...new Set([...more, ...old])].slice(0, KEPT).sort();
const without = (old: string[] = [], gone: string) => old.filter((one) => one !== gone);

/** Asks for repositories that come after what is typed: those that begin with it are the first of them. */
export async function learnRepositories(server: Server, typed: string): Promise<void> {
  const { names } = await listed(server, `/v2/_catalog?${parameters(typed)}`, 'repositories');
  known.value = { ...known.value, repositories: merged(known.value.repositories, names) };
}

/** The same for the tags of a repository. */
export async function learnTags(server: Server, repository: string, typed: string): Promise<void> {
  const { names } = await listed(server, `/v2/${repository}/tags/list?${parameters(typed)}`, 'tags');
  const tags = { ...known.value.tags, [repository]: merged(known.value.tags[repository], names) };
  known.value = { ...known.value, tags };
}

function parameters(typed: string): string {
  return new URLSearchParams({ n: String(PAGE), ...(typed && { last: typed }) }).toString();
}

/** Takes from an exchange what can be named in another. */
export function learnFrom({ method, target }: WireRequest, { status, headers, body }: WireResponse): void {
  if (status < 200 || status > 299) return;
  const path = decodeURIComponent(new URL(target, location.origin).pathname);
  const found = /^\/v2\/(.+?)\/(manifests|blobs|referrers)\/(.+)$/.exec(path);
  if (!found) return;
  const [, repository, kind, reference] = found as unknown as [string, string, string, string];
  const header = (name: string) => headers.find(([given]) => given.toLowerCase() === name)?.[1];
  const now = { ...known.value, repositories: merged(known.value.repositories, [repository]) };
  const digest = header('docker-content-digest');
  const add = (to: 'tags' | 'manifests' | 'blobs', names: string[]) =>
    (now[to] = { ...now[to], [repository]: merged(now[to][repository], names) });
  const session = /\/blobs\/uploads\/([^/?]+)/.exec(header('location') ?? '')?.[1];
  if (method === 'DELETE') {
    for (const one of ['tags', 'manifests', 'blobs'] as const)
      now[one] = { ...now[one], [repository]: without(now[one][repository], reference) };
    now.sessions = without(now.sessions, reference.replace(/^uploads\//, ''));
  } else if (kind === 'blobs') {
    if (status === 202 && session) now.sessions = merged(now.sessions, [session]);
    else if (digest) add('blobs', [digest]);
  } else {
    if (digest) add('manifests', [digest]);
    if (kind === 'manifests' && !reference.includes(':')) add('tags', [reference]);
    const document = method === 'GET' && body instanceof Uint8Array ? read(body) : {};
    add('manifests', digestsOf(document.manifests));
    add('blobs', digestsOf([...(document.config ? [document.config] : []), ...(document.layers ?? [])]));
  }
  known.value = now;
}

interface Descriptor {
  digest?: unknown;
}

function read(bytes: Uint8Array): { config?: Descriptor; layers?: Descriptor[]; manifests?: Descriptor[] } {
  try {
    return (JSON.parse(new TextDecoder().decode(bytes)) ?? {}) as object;
  } catch {
    return {};
  }
}

function digestsOf(descriptors: Descriptor[] | undefined): string[] {
  const given = Array.isArray(descriptors) ? descriptors.map((one) => one?.digest) : [];
  return given.filter((digest): digest is string => typeof digest === 'string');
}
