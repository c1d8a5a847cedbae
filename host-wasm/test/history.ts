/**
 * A registry for `tests/integration/histories`: each line of the input is a question in JSON, and each is answered by
 * a line. Bytes are in base64.
 */
import 'fake-indexeddb/auto';
import { createInterface } from 'node:readline';
import { IndexedDbStorage, MemoryStorage, Registry } from '../js/index.js';
import type { Body, Call, FaultOptions, RegistryOptions, RegistryRequest, RegistryResponse } from '../js/index.js';

type Question =
  | Opening
  | ({ ask: 'call'; request: Request } & Ambient)
  | ({ ask: 'gc' } & Ambient)
  /** What is stored: records, and the objects with their sizes. */
  | { ask: 'everything' };

/** Begins anew, with an empty registry. What is in IndexedDB is opened again before each garbage collection, and at the end. */
interface Opening {
  ask: 'open';
  storage: 'memory' | 'IndexedDB';
  options: RegistryOptions;
}

/** What the host lends to a call, and how the storage fails meanwhile: at that effect, counted from 0. */
interface Ambient {
  now: number;
  random: string;
  failure: ({ effect: number } & FaultOptions) | null;
}

interface Request {
  method: string;
  target: string;
  headers: [name: string, value: string][];
  /** How long the body is, where the request says so. */
  length: number | null;
  /** What arrives of it, and whether the connection breaks then. */
  body: string;
  cut: boolean;
}

let registry = await Registry.open();
let opened: Opening = { ask: 'open', storage: 'memory', options: {} };
let ambient: Ambient = { now: 0, random: '', failure: null };

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await answered(JSON.parse(line) as Question).catch((error: unknown) => ({ thrown: String(error) }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

async function answered(question: Question): Promise<unknown> {
  switch (question.ask) {
    case 'open':
      opened = question;
      await open();
      await registry.reset();
      return {};
    case 'call':
      ambient = question;
      return told(await send(question.request));
    case 'gc':
      ambient = question;
      if (opened.storage === 'IndexedDB') await open();
      return ending(registry.beginGc(), (call) => call.report());
    case 'everything':
      if (opened.storage === 'IndexedDB') await open();
      return {
        records: registry.records().map(([key, value]) => [key, base64(value)]),
        objects: registry.objects().map(({ name, size }) => [name, size]),
      };
  }
}

/** Opens a registry in place of the last one, with what its storage has kept. */
async function open(): Promise<void> {
  await registry.close();
  const storage = opened.storage === 'IndexedDB' ? new IndexedDbStorage('history') : new MemoryStorage();
  const random = () => Buffer.from(ambient.random, 'base64');
  registry = await Registry.open({ ...opened.options, storage, random, now: () => ambient.now });
}

/** Makes a call: as the package does it, or with the failure. */
async function send({ method, target, headers, length, body, cut }: Request): Promise<RegistryResponse> {
  const arrived = Buffer.from(body, 'base64');
  const request: RegistryRequest = { method, target, headers };
  const sent: Body = length === null ? streamed(arrived, cut) : Buffer.concat([arrived], length);
  if (length !== null && cut) request.cutAfter = arrived.length;
  if (ambient.failure) return ending(registry.begin(request, sent), (call) => call.response());
  const response = await registry.send(request, sent);
  // What follows the answer belongs to the call: the model knows nothing of a time in between.
  await registry.idle();
  return response;
}

/** Runs a call to its end, with the failure on its way. */
async function ending<T>(call: Call, end: (call: Call) => T): Promise<T> {
  const { failure } = ambient;
  try {
    if (failure) {
      // What follows the answer does not fail, as on the other hosts.
      for (let effect = 0; effect < failure.effect && !call.answered; effect++) await call.step();
      if (!call.answered) await call.fault(failure);
    }
    await call.run();
    return end(call);
  } finally {
    call.free();
  }
}

/** A body as a connection brings it: in small pieces, and with an error when it breaks. */
function streamed(bytes: Uint8Array, cut: boolean): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at < bytes.length) controller.enqueue(bytes.slice(at, (at += 7)));
      else if (cut) controller.error(new Error('the connection broke'));
      else controller.close();
    },
  });
}

async function told(response: RegistryResponse): Promise<unknown> {
  const { status, headers, fault } = response;
  return { status, headers, fault, body: base64(await response.bytes()) };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
