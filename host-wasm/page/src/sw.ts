/**
 * The service worker: answers `/v2/…` from the registry in the tab, for the tabs that asked for it. Its scope has a
 * query (`?v2=tab`), so a browser gives it the requests of pages at that address only.
 */

declare const self: ServiceWorkerGlobalScope;

interface ServiceWorkerGlobalScope {
  registration: { scope: string };
  skipWaiting(): Promise<void>;
  clients: {
    claim(): Promise<void>;
    get(id: string): Promise<Window | undefined>;
    matchAll(options: { type: 'window' }): Promise<Window[]>;
  };
  addEventListener(type: string, listener: (event: ExtendableEvent) => void): void;
}

interface Window {
  url: string;
  postMessage(message: unknown, transfer: Transferable[]): void;
}

interface ExtendableEvent {
  waitUntil(done: Promise<unknown>): void;
  respondWith(response: Promise<Response>): void;
  request: Request;
  clientId: string;
}

/** How long a page may take to answer. */
const PATIENCE = 60_000;

/** Whether this is registered for such tabs alone: an earlier version of the page registered it for all. */
const ONE_TAB = new URL(self.registration.scope).search !== '';

/** The header by which the page asks the server itself, past this worker. */
const PAST = 'orlop-target';

self.addEventListener('install', (event) => event.waitUntil(self.skipWaiting()));
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  if (url.origin !== location.origin || !/^\/v2(\/|$)/.test(url.pathname)) return;
  if (event.request.headers.has(PAST) || !ONE_TAB) return;
  event.respondWith(answer(event.request, url, event.clientId));
});

async function answer(request: Request, url: URL, clientId: string): Promise<Response> {
  const page = await playground(clientId);
  if (!page) return refusal(503, 'the registry of this tab is not open: open the playground in another tab');
  const channel = new MessageChannel();
  const answered = new Promise<{ status: number; headers: [string, string][]; body: BodyInit; error?: string }>(
    (resolve, reject) => {
      channel.port1.onmessage = (event) => resolve(event.data);
      setTimeout(() => reject(new Error('the page did not answer in a minute')), PATIENCE);
    },
  );
  const hasBody = !['GET', 'HEAD'].includes(request.method);
  const fetch = {
    method: request.method,
    target: url.pathname + url.search,
    headers: [...request.headers],
    // As a stream where there is one: a blob would be copied first, and browsers have limits to that.
    body: hasBody ? (request.body ?? (await request.blob())) : null,
  };
  const streams = fetch.body instanceof ReadableStream ? [fetch.body as unknown as Transferable] : [];
  page.postMessage({ fetch }, [channel.port2, ...streams]);
  try {
    const { status, headers, body, error } = await answered;
    if (error) return refusal(503, error);
    const bodiless = request.method === 'HEAD' || status === 204 || status === 304;
    return new Response(bodiless ? null : body, { status, headers });
  } catch (error) {
    return refusal(504, error instanceof Error ? error.message : String(error));
  }
}

/** A page that can pass the request on: the one that asks, if it is a playground, or any other. */
async function playground(clientId: string): Promise<Window | undefined> {
  const pages = await self.clients.matchAll({ type: 'window' });
  const asking = pages.find((page) => (page as unknown as { id: string }).id === clientId);
  return asking ?? pages[0];
}

function refusal(status: number, message: string): Response {
  const errors = [{ code: 'UNAVAILABLE', message }];
  return new Response(JSON.stringify({ errors }), { status, headers: { 'Content-Type': 'application/json' } });
}

export {};
