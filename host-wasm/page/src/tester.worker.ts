/** The conformance tester in a worker of its own, against a registry beside it or the server of this origin. */
import { Registry } from '../../js/index.js';
import init, { test } from '../pkg/orlop_tester_wasm.js';
import type { CheckResult, Left, Said, TesterMessage, TesterReport, TesterStart, TesterStop } from './conformance.js';
import { listed } from './lists.js';
import { Made } from './made.js';
import { Server } from './server.js';

/** How many exchanges of one shortened history are kept. */
const KEPT = 200;

/** Whether the run was stopped: no more requests, but those that clean up. */
let stopped = false;

self.addEventListener('message', ({ data }: MessageEvent<TesterStart | TesterStop>) => {
  if ('stop' in data) stopped = true;
  else void run(data);
});

function tell(message: TesterMessage): void {
  postMessage(message);
}

/** Runs the tester, and deletes what it has left on a server, however it ends. */
async function run(start: TesterStart): Promise<void> {
  const server = start.target === 'server' ? new Server(start.signIn) : undefined;
  const made = new Made();
  const ended = await tested(start, server, made).catch((error: unknown) => ({
    failed: error instanceof Error ? error.message : String(error),
  }));
  const left = server && { left: await cleanUp(server, made, start.settings.prefix) };
  tell({ ...ended, ...left });
}

async function cleanUp(server: Server, made: Made, prefix: string): Promise<Left> {
  tell({ what: 'deleting what was pushed', steps: made.size });
  try {
    const remove = async (target: string) => (await server.fetch(target, { method: 'DELETE' })).status;
    const kept = await made.clean(remove, () => tell({ what: '', steps: -1 }));
    return { kept, repositories: await below(server, prefix) };
  } catch {
    // The server is gone: what was not deleted is still there.
    return { kept: made.list().map((path) => ({ path, status: 0 })), repositories: undefined };
  }
}

/** The repositories below a prefix, as the catalog lists them. */
async function below(server: Server, prefix: string): Promise<string[] | undefined> {
  try {
    // In their order, whatever begins with the prefix follows it.
    const { names } = await listed(server, `/v2/_catalog?n=1000&last=${encodeURIComponent(prefix)}`, 'repositories');
    return names.filter((name) => name.startsWith(`${prefix}/`));
  } catch {
    return undefined;
  }
}

async function tested(
  { bug, settings }: TesterStart,
  server: Server | undefined,
  made: Made,
): Promise<{ report: TesterReport; said: Record<string, Said[]> }> {
  const wasm = await fetch(new URL('../pkg/orlop_tester_wasm_bg.wasm', import.meta.url));
  await init({ module_or_path: await wasm.arrayBuffer() });
  const registry = server ? undefined : await Registry.open({ bug });
  const said = new Map<string, Said[]>();
  /** The check that is being done, and those of which a request was to be cut off. */
  let fact = '';
  const uncut = new Set<string>();

  const send = async (method: string, path: string, flat: string[], bytes: Uint8Array, framing: string) => {
    const headers: [string, string][] = [];
    for (let i = 0; i < flat.length; i += 2) headers.push([flat[i]!, flat[i + 1]!]);
    if (stopped) throw new Error('the run was stopped');
    const answer = registry
      ? await inTab(registry, method, path, headers, bytes, framing)
      : await atServer(server!, made, method, path, headers, bytes);
    if (framing === 'cut' && !registry) uncut.add(fact);
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
  const text = await test(base, JSON.stringify(settings), send, (what: string, steps: number) => {
    if (steps < 0) fact = what;
    tell({ what, steps });
  });
  registry?.close();
  const report = without(JSON.parse(text) as TesterReport, uncut);
  if (stopped) report.ended = 'You stopped the run.';
  return { report, said: Object.fromEntries(said) };
}

/** What was found, but for checks that a browser cannot do. */
function without(report: TesterReport, uncut: Set<string>): TesterReport {
  const checks = report.checks.map((check): CheckResult => {
    if (!uncut.has(check.fact)) return check;
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
  server: Server,
  made: Made,
  method: string,
  target: string,
  headers: [string, string][],
  body: Uint8Array,
): Promise<Answered> {
  const bodiless = ['GET', 'HEAD'].includes(method);
  const response = await server.fetch(target, {
    method,
    headers,
    body: bodiless ? null : (body as Uint8Array<ArrayBuffer>),
  });
  made.note({ method, target, status: response.status, header: (name) => response.headers.get(name) });
  return {
    status: response.status,
    headers: [...response.headers],
    body: new Uint8Array(await response.arrayBuffer()),
  };
}
