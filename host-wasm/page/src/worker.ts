/** The worker that holds the registry: shared by all tabs where the browser can, else one for the tab. */
import * as Comlink from 'comlink';
import { Service } from './service.js';
import type { WireRequest } from './wire.js';

const service = new Service();

/** A page that connects, and now and then a request of the service worker by its own port. */
function serve(port: MessagePort | Scope): void {
  port.addEventListener('message', (event) => {
    const message = (event as MessageEvent<unknown>).data as { fetch?: WireRequest; port?: MessagePort } | undefined;
    if (message?.fetch && message.port) void answer(message.fetch, message.port);
  });
  Comlink.expose(service, port as Comlink.Endpoint);
}

/** Answers the service worker, with the body as a stream where streams travel, else as a blob. */
async function answer(request: WireRequest, port: MessagePort): Promise<void> {
  try {
    const response = await service.respond(request);
    const { status, headers } = response;
    if (response.inMemory) {
      port.postMessage({ status, headers, body: response.inMemory });
      return;
    }
    const stream = response.stream();
    try {
      port.postMessage({ status, headers, body: stream }, [stream as unknown as Transferable]);
    } catch {
      port.postMessage({ status, headers, body: await new Response(stream).blob() });
    }
  } catch (error) {
    port.postMessage({ error: error instanceof Error ? error.message : String(error) });
  }
}

/** Either kind of worker. */
interface Scope extends EventTarget {
  postMessage(message: unknown, transfer?: Transferable[]): void;
  onconnect?: (event: MessageEvent) => void;
}

declare const self: Scope;

if ('SharedWorkerGlobalScope' in globalThis) {
  self.onconnect = (event) => {
    const port = event.ports[0]!;
    serve(port);
    port.start();
  };
} else {
  serve(self);
}
