/** The page's ends of its workers: the registry in the tab, and the service worker before it. */
import * as Comlink from 'comlink';
import type { RegistryApi } from './wire.js';

interface Link {
  api: Comlink.Remote<RegistryApi>;
  post: (message: unknown, transfer: Transferable[]) => void;
}

let link: Link | undefined;

/** Connects to the worker, once. */
export function connect(failed: (why: string) => void): Comlink.Remote<RegistryApi> {
  if (link) return link.api;
  const broken = (event: Event) => {
    const why = (event as ErrorEvent).message || 'its script could not be loaded';
    failed(
      `The worker that holds the registry could not start (${why}). Load the page again; if that does not help, look whether the site is complete.`,
    );
  };
  if (typeof SharedWorker === 'function') {
    const worker = new SharedWorker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'orlop' });
    worker.addEventListener('error', broken);
    worker.port.start();
    link = {
      api: Comlink.wrap<RegistryApi>(worker.port),
      post: (message, transfer) => worker.port.postMessage(message, transfer),
    };
  } else {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'orlop' });
    worker.addEventListener('error', broken);
    link = {
      api: Comlink.wrap<RegistryApi>(worker),
      post: (message, transfer) => worker.postMessage(message, transfer),
    };
  }
  return link.api;
}

/** The registry in the tab. */
export function registry(): Comlink.Remote<RegistryApi> {
  if (!link) throw new Error('the registry is not connected');
  return link.api;
}

export { proxy } from 'comlink';

/**
 * The scope of the service worker: tabs whose address has this query, and no others. A service worker with the scope of
 * the whole site would hide the registry of the server from every tab, and from every page beside this one.
 */
const SCOPE = new URL('./?v2=tab', document.baseURI);

/** Whether a service worker can answer `/v2/` for this page. */
export function canServe(): boolean {
  return 'serviceWorker' in navigator;
}

/** Whether one does. */
export function isServing(): boolean {
  return canServe() && navigator.serviceWorker.controller !== null;
}

/** Has `/v2/` of this tab answered by the service worker: loads the page again, at the address that it is for. */
export async function startServing(): Promise<void> {
  const script = new URL('./sw.js', document.baseURI);
  const registration = await navigator.serviceWorker.register(script, { type: 'module', scope: SCOPE.href });
  await new Promise<void>((resolve, reject) => {
    const worker = registration.active ?? registration.waiting ?? registration.installing;
    const look = () => {
      if (worker?.state === 'activated') resolve();
      else if (worker?.state === 'redundant') reject(new Error('the browser gave it up'));
    };
    worker?.addEventListener('statechange', look);
    look();
  });
  moveTo(SCOPE);
}

/** Ends that. Other tabs that have it keep it until they are closed. */
export async function stopServing(): Promise<void> {
  await (await navigator.serviceWorker.getRegistration(SCOPE.href))?.unregister();
  moveTo(new URL('./', SCOPE));
}

/** Loads the page at another query, at the panel where it is. */
function moveTo(place: URL): void {
  const to = new URL(place);
  to.hash = location.hash;
  if (to.search === location.search) location.reload();
  else location.replace(to);
}

/** Removes the service worker of earlier versions, which answered for every tab. */
async function removeEarlier(): Promise<void> {
  const [whole, script] = [new URL('./', SCOPE).href, new URL('./sw.js', SCOPE).href];
  for (const registration of await navigator.serviceWorker.getRegistrations()) {
    if (registration.scope === whole && registration.active?.scriptURL === script) await registration.unregister();
  }
}

/** Passes on what the service worker asks: it has no way to a worker of a page but by the page. */
export function relay(): void {
  if (!canServe()) return;
  void removeEarlier();
  navigator.serviceWorker.addEventListener('message', (event: MessageEvent<{ fetch?: { body: unknown } }>) => {
    const port = event.ports[0];
    const { fetch } = event.data ?? {};
    const streams = fetch?.body instanceof ReadableStream ? [fetch.body as unknown as Transferable] : [];
    if (fetch && port) link?.post({ fetch, port }, [port, ...streams]);
  });
  navigator.serviceWorker.startMessages();
}
