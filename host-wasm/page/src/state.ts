/** What the page knows: one place for what several panels share. */
import { computed, effect, signal } from '@preact/signals';
import { connect, proxy, registry, relay } from './remote.js';
import type { CallState, Snapshot, WireOptions, WireRequest, WireResponse } from './wire.js';
import { SHOWN } from './wire.js';

/** Which registry the page drives. */
export type Target = 'tab' | 'server';

export type Theme = 'auto' | 'light' | 'dark';

/** A panel of the page. */
export type PanelName = 'requests' | 'effects' | 'store' | 'scenarios' | 'conformance' | 'images' | 'clients';

export const PANELS: { name: PanelName; title: string; about: string }[] = [
  { name: 'requests', title: 'Requests', about: 'Build a request, send it, read the answer.' },
  { name: 'effects', title: 'Effects', about: 'See what a call does to the storage, one effect at a time.' },
  { name: 'store', title: 'Store', about: 'What the registry in this tab holds.' },
  { name: 'scenarios', title: 'Scenarios', about: 'Guided tours of the protocol, with a check at each step.' },
  { name: 'conformance', title: 'Conformance', about: 'Does the registry do what the specifications say?' },
  { name: 'images', title: 'Images', about: 'Put images in, get images out.' },
  { name: 'clients', title: 'Clients', about: 'Real JavaScript clients against the registry in this tab.' },
];

function stored<T extends string>(key: string, standard: T, allowed: readonly T[]) {
  let value = standard;
  try {
    const kept = localStorage.getItem(key) as T | null;
    if (kept && allowed.includes(kept)) value = kept;
  } catch {
    // Without localStorage the setting lasts as long as the page.
  }
  const made = signal<T>(value);
  effect(() => {
    try {
      localStorage.setItem(key, made.value);
    } catch {
      // As above.
    }
  });
  return made;
}

export const theme = stored<Theme>('orlop-theme', 'auto', ['auto', 'light', 'dark']);
export const target = stored<Target>('orlop-target', 'tab', ['tab', 'server']);
/** Whether a registry answers at this origin: the server that the page came from. */
export const serverThere = signal(false);
/** Why the registry of the tab is not there. */
export const failure = signal<string | undefined>(undefined);
export const ready = signal(false);
/** What is wrong or done, for a moment: told at the foot of the page. */
export const notice = signal<{ text: string; bad: boolean } | undefined>(undefined);

export const snapshot = signal<Snapshot>({ records: [], objects: [] });
/** The records of the last change. */
export const changed = signal<Set<string>>(new Set());

export const calls = signal<CallState[]>([]);

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
  effect(() => {
    document.documentElement.dataset['theme'] = theme.value;
  });
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

/** Asks whether a registry answers where the page came from; without credentials, so that nobody is asked for any yet. */
async function probe(): Promise<void> {
  try {
    const response = await fetch('/v2/', { headers: { 'orlop-target': 'server' }, credentials: 'omit' });
    serverThere.value = response.headers.get('Docker-Distribution-API-Version') === 'registry/2.0';
  } catch {
    serverThere.value = false;
  }
  // Nothing can be sent to a server that is not there.
  if (!serverThere.value) target.value = 'tab';
}

/** Sends a request to the registry that the page drives. */
export function send(request: WireRequest): Promise<WireResponse> {
  return isServer.value ? sendToServer(request) : registry().send(request);
}

/** Sends a request to the server, past the service worker. */
export async function sendToServer(request: WireRequest): Promise<WireResponse> {
  const began = performance.now();
  const hasBody = !['GET', 'HEAD'].includes(request.method);
  let body = hasBody && request.body != null ? (request.body as BodyInit) : null;
  // A browser cannot break a connection at a byte: it sends what would have arrived, and all is well.
  if (request.cutAfter !== undefined && body !== null) body = new Blob([body as BlobPart]).slice(0, request.cutAfter);
  const response = await fetch(request.target, {
    method: request.method,
    headers: [...(request.headers ?? []), ['orlop-target', 'server']],
    body,
    cache: 'no-store',
  });
  const blob = await response.blob();
  return {
    status: response.status,
    headers: [...response.headers].map(([name, value]) => [title(name), value]),
    body: blob.size <= SHOWN ? new Uint8Array(await blob.arrayBuffer()) : blob,
    ms: performance.now() - began,
  };
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
