/** The contract that every host of the core keeps, memory and disk too: `tests/src/contract.rs`. */
import 'fake-indexeddb/auto';
import { readFile } from 'node:fs/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { Call } from '../js/call.js';
import type { Host } from '../js/call.js';
import { IndexedDbStorage, MemoryStorage } from '../js/index.js';
import type { Storage } from '../js/index.js';
import { Engine, Suite, initSync } from '../js/pkg-suite/orlop_wasm.js';

initSync({ module: await readFile(new URL('../js/pkg-suite/orlop_wasm_bg.wasm', import.meta.url)) });
const suite = new Suite();
let databases = 0;

/** A host on that storage, with what it has kept. */
async function open(storage: Storage, options = {}, now = Date.now): Promise<Host> {
  const engine = new Engine(JSON.stringify(options));
  for (const [key, value] of await storage.open()) engine.restore(key, value);
  let last: Promise<unknown> = Promise.resolve();
  const host = {
    engine,
    storage,
    now,
    exclusively: <T>(act: () => Promise<T>) => (last = last.then(act)) as Promise<T>,
  };
  return host as unknown as Host;
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
    const host = await open(new MemoryStorage());
    for (let i = 0; i < suite.acts(number); i++) expect(await act(host, number, i)).toBeUndefined();
  });

  test('in IndexedDB', async () => {
    const host = await open(new IndexedDbStorage(`case-${databases++}`));
    for (let i = 0; i < suite.acts(number); i++) expect(await act(host, number, i)).toBeUndefined();
    host.storage.close();
  });

  test('in IndexedDB, opened anew for each act', async () => {
    const name = `case-${databases++}`;
    for (let i = 0; i < suite.acts(number); i++) {
      const host = await open(new IndexedDbStorage(name));
      expect(await act(host, number, i)).toBeUndefined();
      host.storage.close();
    }
  });
});

test('a call that was held up after it had received its body commits nothing', async () => {
  let clock = 0;
  const host = await open(new MemoryStorage(), { callLifetimeMs: 0 }, () => ++clock);
  const inner = suite.begin_stalled(host.engine as never);
  await new Call(host, inner as never, suite.stalled_body()).run();
  expect(inner.wrong()).toBeUndefined();
});

test('there are cases', () => expect(suite.names().length).toBeGreaterThan(20));
afterAll(() => suite.free());
