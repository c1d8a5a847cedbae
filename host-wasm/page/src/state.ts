/** What the page knows: one place for what several panels share. */
import { computed, signal } from '@preact/signals';
import { applyTheme, stored } from '../../parts/stored.js';
import { forget, learnFrom } from './known.js';
import { connect, proxy, registry, relay } from './remote.js';
import { Server, isRegistry, problemOf } from './server.js';
import type { SignIn } from './server.js';
import type { CallState, Snapshot, UpstreamState, WireOptions, WireRequest, WireResponse } from './wire.js';
import { SHOWN } from './wire.js';

/** Which registry the page drives. */
export type Target = 'tab' | 'server';

/** A panel of the page. */
export type PanelName = 'requests' | 'effects' | 'store' | 'scenarios' | 'conformance' | 'images' | 'clients';

export const PANELS: { name: PanelName; title: string; about: string }[] = [
  { name: 'requests', title: 'Requests', about: 'Build a request, send it, read the answer.' },
  { name: 'effects', title: 'Effects', about: 'See what a call does in the storage, one effect at a time.' },
  { name: 'store', title: 'Store', about: 'What the registry in this tab holds.' },
  { name: 'scenarios', title: 'Scenarios', about: 'Guided tours of the protocol, with a check at each step.' },
  { name: 'conformance', title: 'Conformance', about: 'Test a registry against the specifications.' },
  { name: 'images', title: 'Images', about: 'Push images from files, and download images.' },
  { name: 'clients', title: 'Clients', about: 'Real JavaScript clients against the registry in this tab.' },
];

export const target = stored<Target>('orlop-target', 'tab', ['tab', 'server']);
/** Whether a registry answers at this origin: the server that the page came from. */
export const serverThere = signal(false);
/** The way to it, with the sign-in of the user. */
export const server = signal(new Server());
/** Whether it has refused a request until the user signs in. */
export const signInNeeded = signal(false);
/** What the page calls it. */
export const SERVER = location.host;
/** Why the registry of the tab is not there. */
export const failure = signal<string | undefined>(undefined);
export const ready = signal(false);
/** What is wrong or done, for a moment: told at the foot of the page. */
export const notice = signal<{ text: string; bad: boolean } | undefined>(undefined);

export const snapshot = signal<Snapshot>({ records: [], objects: [] });
/** The records of the last change. */
export const changed = signal<Set<string>>(new Set());

export const calls = signal<CallState[]>([]);
/** The registry that the one in the tab mirrors. */
export const upstream = signal<UpstreamState>({ broken: false, asked: [] });

/** Where the page is: `#/panel/rest?parameters`. */
export const route = signal(readRoute());

function readRoute(): { panel: PanelName; rest: string[]; parameters: URLSearchParams } {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [first, ...rest] = path.split('/').filter(Boolean);
  const known = PANELS.find(({ name }) => name === first);
  return { panel: known?.name ?? 'requests', rest, parameters: new URLSearchParams(query) };
}

export function go(hash: string): void {
  location.hash = hash;
}

/** The settings of the registry in the tab. */
export const OPTIONS: WireOptions = { assemble: ['multi/**'] };

export const isServer = computed(() => target.value === 'server' && serverThere.value);

let clearing: ReturnType<typeof setTimeout> | undefined;

export function tell(text: string, bad = false): void {
  notice.value = { text, bad };
  clearTimeout(clearing);
  clearing = setTimeout(() => (notice.value = undefined), bad ? 12_000 : 5_000);
}

export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Starts everything. */
export async function start(): Promise<void> {
  addEventListener('hashchange', () => (route.value = readRoute()));
  applyTheme();
  void probe();
  const api = connect((why) => (failure.value = why));
  const wrong = await api.open(OPTIONS);
  if (wrong) {
    failure.value = wrong;
    return;
  }
  relay();
  await api.watch(
    proxy((change) => {
      changed.value = new Set([...change.put, ...change.delete]);
      void refresh();
    }),
  );
  await api.watchUpstream(proxy((state) => void (upstream.value = state)));
  await api.watchFetches(
    proxy((follower, fetch) => {
      // Another tab may have begun it.
      if (calls.value.some(({ id }) => id === follower)) keep(fetch);
    }),
  );
  await refresh();
  ready.value = true;
}

let refreshing: Promise<void> | undefined;
let again = false;

/** Reads the store anew; several wishes at once become one. */
export function refresh(): Promise<void> {
  if (refreshing) {
    again = true;
    return refreshing;
  }
  refreshing = registry()
    .snapshot()
    .then((taken) => {
      snapshot.value = taken;
    })
    .finally(() => {
      refreshing = undefined;
      if (again) {
        again = false;
        void refresh();
      }
    });
  return refreshing;
}

/**
 * Asks whether a registry answers at this origin. First without credentials, so that the browser asks for none; where
 * something before the registry lets nothing through without them, once more with what the browser has.
 */
async function probe(): Promise<void> {
  for (const signIn of [{ how: 'none' }, { how: 'browser' }] satisfies SignIn[]) {
    try {
      const made = new Server(signIn);
      const response = await made.fetch('/v2/');
      if (!isRegistry(response)) continue;
      server.value = made;
      serverThere.value = true;
      signInNeeded.value = response.status === 401;
      return;
    } catch {
      // No answer at all.
    }
  }
  // Nothing can be sent to a server that is not there.
  target.value = 'tab';
}

/** Signs in at the server. Gives why it did not work, if it did not. */
export async function signIn(given: SignIn): Promise<string | undefined> {
  const made = new Server(given);
  try {
    const response = await made.fetch('/v2/');
    // Where the server lets in everyone, a 401 is still the answer to a wrong password or token.
    if (!response.ok) return await problemOf(response);
  } catch (error) {
    return reason(error);
  }
  forget();
  server.value = made;
  signInNeeded.value = false;
  return undefined;
}

/** Forgets the sign-in. */
export async function signOut(): Promise<void> {
  forget();
  server.value = new Server();
  const response = await server.value.fetch('/v2/').catch(() => undefined);
  signInNeeded.value = response?.status === 401;
}

/** Sends a request to the registry that the page drives. */
export function send(request: WireRequest): Promise<WireResponse> {
  return isServer.value ? sendToServer(request) : registry().send(request);
}

/** Sends a request to the server. */
export async function sendToServer(request: WireRequest): Promise<WireResponse> {
  const began = performance.now();
  const hasBody = !['GET', 'HEAD'].includes(request.method);
  let body = hasBody && request.body != null ? (request.body as BodyInit) : null;
  // A browser cannot break a connection at a byte: it sends what would have arrived, and all is well.
  if (request.cutAfter !== undefined && body !== null) body = new Blob([body as BlobPart]).slice(0, request.cutAfter);
  const { method, target, headers = [] } = request;
  const response = await server.value.fetch(target, { method, headers, body });
  if (response.status === 401) signInNeeded.value = true;
  const blob = await response.blob();
  const answer: WireResponse = {
    status: response.status,
    headers: [...response.headers].map(([name, value]) => [title(name), value]),
    body: blob.size <= SHOWN ? new Uint8Array(await blob.arrayBuffer()) : blob,
    ms: performance.now() - began,
  };
  learnFrom(request, answer);
  return answer;
}

/** A header as it is usually written: browsers give names in small letters. */
function title(name: string): string {
  return name
    .replace(/(^|-)([a-z])/g, (_, dash: string, letter: string) => dash + letter.toUpperCase())
    .replace(/^Etag$/, 'ETag')
    .replace(/^Oci-/, 'OCI-')
    .replace('-Api-', '-API-')
    .replace('-Uuid', '-UUID');
}

/** Takes a call into the list, or its new state. */
export function keep(call: CallState): void {
  const known = calls.value.some(({ id }) => id === call.id);
  calls.value = known ? calls.value.map((old) => (old.id === call.id ? call : old)) : [...calls.value, call];
}

/** A value as it goes into a link. */
export function packed(value: unknown): string {
  const bytes = new TextEncoder().encode(JSON.stringify(value));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replace(/=+$/, '');
}

/** A value out of a link; nothing if it is none. */
export function unpacked(text: string): unknown {
  try {
    const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}

export async function copy(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    tell(`${what} copied.`);
  } catch {
    tell(
      `The browser does not let the page write to the clipboard. Select the text and copy it by hand: ${text}`,
      true,
    );
  }
}

/** The SHA-256 digest of bytes in memory. */
export async function digestOf(bytes: Uint8Array | string): Promise<string> {
  const data = typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes;
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', data as Uint8Array<ArrayBuffer>));
  return `sha256:${[...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
