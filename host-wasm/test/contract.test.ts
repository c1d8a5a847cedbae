/** The contract that every host of the core keeps, memory and disk too: `tests/src/contract.rs`, `contract/upstreams.rs`. */
import 'fake-indexeddb/auto';
import { readFile } from 'node:fs/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { Call } from '../js/call.js';
import type { Host } from '../js/call.js';
import { IndexedDbStorage, MemoryStorage } from '../js/index.js';
import type { Storage, UpstreamFetch } from '../js/index.js';
import { Upstreams } from '../js/upstream.js';
import { Engine, Suite, initSync } from '../js/pkg-suite/orlop_wasm.js';
import type { Behind } from '../js/pkg-suite/orlop_wasm.js';

initSync({ module: await readFile(new URL('../js/pkg-suite/orlop_wasm_bg.wasm', import.meta.url)) });
const suite = new Suite();
let databases = 0;

/** A host on that storage, with what it has kept, and with these registries behind its upstreams. */
async function open(storage: Storage, behind?: Behind, options = {}, now = Date.now): Promise<Host> {
  const engine = new Engine(JSON.stringify(options));
  for (const [key, value] of await storage.open()) engine.restore(key, value);
  const upstreams = new Upstreams(now);
  behind?.names().forEach((name, number) => upstreams.add(asking(behind, number), name));
  let last: Promise<unknown> = Promise.resolve();
  const host: Omit<Host, 'engine'> = {
    storage,
    now,
    random: () => crypto.getRandomValues(new Uint8Array(16)),
    upstreams,
    fetches: new Map(),
    finish: (call) => void call.run(),
    exclusively: <T>(act: () => Promise<T>) => (last = last.then(act)) as Promise<T>,
  };
  return { ...host, engine: engine as never };
}

/** Asks a registry of the suite as `fetch` asks. */
function asking(behind: Behind, upstream: number): UpstreamFetch {
  return async (target, { method, headers }) => {
    const served = behind.answer(upstream, method, target, Object.entries(headers).flat());
    const { status, body, breaks } = served;
    const fields: [string, string][] = [];
    for (let i = 0; i < served.headers.length; i += 2) fields.push([served.headers[i]!, served.headers[i + 1]!]);
    const sent = method === 'HEAD' ? null : arriving(body.slice(0, breaks), breaks !== undefined, false);
    return new Response(sent, { status, headers: fields });
  };
}

/** How long a slow body waits in its middle: longer than the pauses of the suite. In milliseconds. */
const SLOW = 100;

/** The body as a connection brings it: in pieces, and with an error when it breaks. */
function arriving(bytes: Uint8Array, cut: boolean, slow: boolean): ReadableStream<Uint8Array> {
  let at = 0;
  let waits = slow;
  return new ReadableStream({
    async pull(controller) {
      if (waits && at >= bytes.length / 2) {
        waits = false;
        await new Promise((resolve) => setTimeout(resolve, SLOW));
      }
      if (at < bytes.length) controller.enqueue(bytes.slice(at, (at += 2)));
      else if (cut) controller.error(new Error('the connection broke'));
      else controller.close();
    },
  });
}

async function act(host: Host, number: number, which: number): Promise<string | undefined> {
  const inner = suite.begin(host.engine as never, number, which);
  const body = arriving(suite.body(number, which), suite.cut(number, which), suite.slow(number, which));
  await new Call(host, inner as never, body).run();
  return inner.wrong();
}

describe.each(suite.names().map((name, number) => ({ name, number })))('$name', ({ number }) => {
  test('in memory', async () => {
    const host = await open(new MemoryStorage(), suite.behind(number));
    for (let i = 0; i < suite.acts(number); i++) expect(await act(host, number, i)).toBeUndefined();
  });

  test('in IndexedDB', async () => {
    const host = await open(new IndexedDbStorage(`case-${databases++}`), suite.behind(number));
    for (let i = 0; i < suite.acts(number); i++) expect(await act(host, number, i)).toBeUndefined();
    host.storage.close();
  });

  test('in IndexedDB, opened anew for each act', async () => {
    const name = `case-${databases++}`;
    const behind = suite.behind(number);
    for (let i = 0; i < suite.acts(number); i++) {
      const host = await open(new IndexedDbStorage(name), behind);
      expect(await act(host, number, i)).toBeUndefined();
      host.storage.close();
    }
  });
});

test('a call that was held up after it had received its body commits nothing', async () => {
  let clock = 0;
  const host = await open(new MemoryStorage(), undefined, { callLifetimeMs: 0 }, () => ++clock);
  const inner = suite.begin_stalled(host.engine as never);
  await new Call(host, inner as never, suite.stalled_body()).run();
  expect(inner.wrong()).toBeUndefined();
});

test('there are cases, with upstreams and without', () => {
  const upstreams = suite.names().map((_, number) => suite.behind(number).names().length);
  expect(upstreams.filter((count) => count === 0).length).toBeGreaterThan(20);
  expect(upstreams.filter((count) => count > 0).length).toBeGreaterThan(10);
});
afterAll(() => suite.free());
