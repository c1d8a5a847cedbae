/** The conformance tester in a worker of its own, against a registry beside it or the server of this origin. */
import { Registry } from '../../js/index.js';
import init, { test } from '../pkg/orlop_tester_wasm.js';
import type { CheckResult, Said, TesterMessage, TesterReport, TesterStart } from './conformance.js';

/** How many exchanges of one shortened history are kept. */
const KEPT = 200;

self.addEventListener('message', (event: MessageEvent<TesterStart>) => {
  void run(event.data).catch((error: unknown) => {
    tell({ failed: error instanceof Error ? error.message : String(error) });
  });
});

function tell(message: TesterMessage): void {
  postMessage(message);
}

async function run({ target, bug, settings }: TesterStart): Promise<void> {
  const wasm = await fetch(new URL('../pkg/orlop_tester_wasm_bg.wasm', import.meta.url));
  await init({ module_or_path: await wasm.arrayBuffer() });
  const registry = target === 'tab' ? await Registry.open({ bug }) : undefined;
  const said = new Map<string, Said[]>();
  /** The paths of requests that were to be cut off. */
  const uncut: string[] = [];

  const send = async (method: string, path: string, flat: string[], bytes: Uint8Array, framing: string) => {
    const headers: [string, string][] = [];
    for (let i = 0; i < flat.length; i += 2) headers.push([flat[i]!, flat[i + 1]!]);
    const answer = registry
      ? await inTab(registry, method, path, headers, bytes, framing)
      : await atServer(method, path, headers, bytes);
    if (framing === 'cut' && !registry) uncut.push(path);
    // The shortest failing histories are played in repositories of this name: what is said there can be replayed.
    const short = /\/(h\d+)-short/.exec(path)?.[1];
    if (short) {
      const list = said.get(short) ?? said.set(short, []).get(short)!;
      const location = answer.headers.find(([name]) => name.toLowerCase() === 'location')?.[1];
      if (list.length < KEPT)
        list.push({
          method,
          target: path,
          headers,
          body: bytes,
          chunked: framing === 'chunked',
          status: answer.status,
          ...(location && { location }),
        });
    }
    return { status: answer.status, headers: answer.headers.flat(), body: answer.body };
  };
  const base = registry ? 'http://127.0.0.1:5000' : location.origin;
  const report = await test(base, JSON.stringify(settings), send, (what: string, steps: number) =>
    tell({ what, steps }),
  );
  registry?.close();
  tell({ report: without(JSON.parse(report) as TesterReport, uncut), said: Object.fromEntries(said) });
}

/** What was found, but for checks that a browser cannot do: they work in repositories of their names. */
function without(report: TesterReport, uncut: string[]): TesterReport {
  const checks = report.checks.map((check): CheckResult => {
    if (!uncut.some((path) => path.includes(`/${check.id.toLowerCase()}/`))) return check;
    const { expected: _, came: __, curl: ___, counts: ____, ...rest } = check;
    return {
      ...rest,
      result: 'not-offered',
      what: 'a browser cannot cut a request off; `orlop-conformance` on the command line can',
    };
  });
  const failed = checks.some(({ result, counts }) => result === 'failed' && counts);
  const passed = !report.ended && !failed && report.histories.failed === 0 && report.concurrent.failures.length === 0;
  return { ...report, checks, passed };
}

interface Answered {
  status: number;
  headers: [string, string][];
  body: Uint8Array;
}

async function inTab(
  registry: Registry,
  method: string,
  target: string,
  headers: [string, string][],
  body: Uint8Array,
  framing: string,
): Promise<Answered> {
  const path = target.replace(/^https?:\/\/[^/]+/, '');
  const request = {
    method,
    target: path,
    headers,
    chunked: framing === 'chunked',
    ...(framing === 'cut' && { cutAfter: body.length }),
  };
  const response = await registry.send(request, framing === 'none' ? null : body);
  return { status: framing === 'cut' ? 0 : response.status, headers: response.headers, body: await response.bytes() };
}

/** A browser cannot cut a request off, nor send one in chunks without HTTP/2: these are sent whole. */
async function atServer(
  method: string,
  target: string,
  headers: [string, string][],
  body: Uint8Array,
): Promise<Answered> {
  const bodiless = ['GET', 'HEAD'].includes(method);
  const response = await fetch(target, {
    method,
    headers: [...headers, ['orlop-target', 'server']],
    body: bodiless ? null : (body as Uint8Array<ArrayBuffer>),
    cache: 'no-store',
  });
  return {
    status: response.status,
    headers: [...response.headers],
    body: new Uint8Array(await response.arrayBuffer()),
  };
}
