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

/** Whether a service worker can answer `/v2/` for this page. */
export function canServe(): boolean {
  return 'serviceWorker' in navigator;
}

/** Whether one does. */
export async function isServing(): Promise<boolean> {
  return canServe() && (await navigator.serviceWorker.getRegistration()) !== undefined;
}

/** Puts the service worker before `/v2/` of this origin. */
export async function startServing(): Promise<void> {
  await navigator.serviceWorker.register(new URL('./sw.js', document.baseURI), { type: 'module' });
  await navigator.serviceWorker.ready;
  if (!navigator.serviceWorker.controller) {
    await new Promise((resolve) =>
      navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true }),
    );
  }
}

/** Takes it away again. */
export async function stopServing(): Promise<void> {
  const registration = await navigator.serviceWorker.getRegistration();
  await registration?.unregister();
}

/** Passes on what the service worker asks: it has no way to a worker of a page but by the page. */
export function relay(): void {
  if (!canServe()) return;
  navigator.serviceWorker.addEventListener('message', (event: MessageEvent<{ fetch?: { body: unknown } }>) => {
    const port = event.ports[0];
    const { fetch } = event.data ?? {};
    const streams = fetch?.body instanceof ReadableStream ? [fetch.body as unknown as Transferable] : [];
    if (fetch && port) link?.post({ fetch, port }, [port, ...streams]);
  });
  navigator.serviceWorker.startMessages();
}
