/** What the worker does: one registry for the tab, its upstream, one for replays, and the calls that are under way. */
import { IndexedDbStorage, Registry, StorageFormat } from '../../js/index.js';
import type { Archive, Call, RegistryOptions } from '../../js/index.js';
import { Upstream } from './upstream.js';
import { SHOWN } from './wire.js';
import type { CallState, RegistryApi, UpstreamState, Which, WireOptions, WireRequest, WireResponse } from './wire.js';
import type { RegistryResponse } from '../../js/index.js';

/** A call and what it is called. */
interface UnderWay {
  call: Call;
  title: string;
  request?: WireRequest;
  /** What it results in: a response, a report of a garbage collection, or a blob that others wait for. */
  kind: 'request' | 'collection' | 'fetch';
  began: number;
  response?: WireResponse;
}

/** Payloads and records are text; what is not is shown by its size. */
const decoder = new TextDecoder();

export class Service implements RegistryApi {
  private main: Registry | undefined;
  private lab: Registry | undefined;
  private behind: Upstream | undefined;
  private opening: Promise<string | undefined> | undefined;
  private options = '';
  private readonly calls = new Map<number, UnderWay>();
  private readonly watching = new Set<(change: { put: string[]; delete: string[] }) => void>();
  private readonly watchingFetches = new Set<(follower: number, fetch: CallState) => void>();
  private next = 1;

  open(options: WireOptions): Promise<string | undefined> {
    const asked = JSON.stringify(options);
    // Another tab may have opened it already.
    if (this.main && this.options === asked) return Promise.resolve(undefined);
    const before = this.opening ?? Promise.resolve(undefined);
    this.opening = before.then(async () => {
      try {
        if (this.main && this.options === asked) return undefined;
        const before = this.main;
        this.main = undefined;
        await before?.close();
        this.behind ??= await Upstream.open();
        this.main = await stored({ ...options, mirrors: [this.behind.mirror()] });
        this.main.onChange((change) => this.watching.forEach((told) => told(change)));
        this.options = asked;
        return undefined;
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    });
    return this.opening;
  }

  async openLab(options: WireOptions): Promise<void> {
    await this.lab?.close();
    this.lab = await Registry.open(options);
  }

  async send(request: WireRequest, which: Which = 'main'): Promise<WireResponse> {
    const began = performance.now();
    const registry = this.registry(which);
    const response = await registry.send({ ...request, method: request.method });
    return wire(response, performance.now() - began);
  }

  /** The response itself, for the service worker. */
  respond(request: WireRequest): Promise<RegistryResponse> {
    return this.registry('main').send(request);
  }

  async begin(request: WireRequest, which: Which = 'main'): Promise<CallState> {
    const call = this.registry(which).begin(request);
    const title = `${request.method} ${request.target}`;
    const state = await this.keep({ call, title, request, kind: 'request', began: performance.now() });
    call.onFetch = (fetch) => void this.fetches(state.id, fetch);
    return state;
  }

  async beginGc(now: number): Promise<CallState> {
    const call = this.registry('main').beginGc(now);
    return this.keep({ call, title: 'Garbage collection', kind: 'collection', began: performance.now() });
  }

  async step(id: number): Promise<CallState> {
    await this.underWay(id).call.step();
    return this.state(id);
  }

  async run(id: number): Promise<CallState> {
    const { call } = this.underWay(id);
    // What it begins now runs, too.
    call.onFetch = undefined;
    await call.run(true);
    return this.state(id);
  }

  async crash(id: number): Promise<CallState> {
    this.underWay(id).call.crash();
    return this.state(id);
  }

  async fault(id: number, options: { full?: boolean; afterwards?: boolean }): Promise<CallState> {
    await this.underWay(id).call.fault(options);
    return this.state(id);
  }

  async drop(id: number): Promise<void> {
    this.calls.get(id)?.call.free();
    this.calls.delete(id);
  }

  async snapshot() {
    const registry = this.registry('main');
    const records = registry.records().map(([key, value]): [string, string] => [key, decoder.decode(value)]);
    return { records, objects: registry.objects() };
  }

  async watch(told: (change: { put: string[]; delete: string[] }) => void): Promise<void> {
    this.watching.add(told);
  }

  async watchFetches(told: (follower: number, fetch: CallState) => void): Promise<void> {
    this.watchingFetches.add(told);
  }

  async upstream(): Promise<UpstreamState> {
    return this.mirrored().now;
  }

  async watchUpstream(told: (state: UpstreamState) => void): Promise<void> {
    this.mirrored().watch(told);
    told(this.mirrored().now);
  }

  async breakUpstream(broken: boolean): Promise<void> {
    this.mirrored().break(broken);
  }

  async exported(options: object, told: (what: string, done: number, total: number) => void): Promise<Blob> {
    const stream = this.registry('main').export({ ...options, progress: told });
    return new Response(stream).blob();
  }

  imported(archive: Archive, options: object, told: (what: string, done: number, total: number) => void) {
    return this.registry('main').import(archive, { ...options, progress: told });
  }

  async reset(): Promise<void> {
    await this.registry('main').reset();
    await this.mirrored().reset();
  }

  bugs() {
    return Registry.bugs();
  }

  /** How long a manifest GET takes here, on a registry of its own, in microseconds. */
  async benchmark(): Promise<{ us: number; rounds: number }> {
    const registry = await Registry.open({ allowSparse: true });
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    const body = JSON.stringify({ schemaVersion: 2, mediaType, manifests: [] });
    const target = '/v2/bench/manifests/v1';
    await registry.send({ method: 'PUT', target, headers: { 'Content-Type': mediaType }, body });
    const rounds = 5000;
    const round = async () => {
      const began = performance.now();
      for (let i = 0; i < rounds; i++) await registry.send({ method: 'GET', target });
      return ((performance.now() - began) * 1000) / rounds;
    };
    await round();
    const us = Math.min(await round(), await round(), await round());
    await registry.close();
    return { us, rounds };
  }

  private registry(which: Which): Registry {
    const registry = which === 'lab' ? this.lab : which === 'upstream' ? this.behind?.registry : this.main;
    if (!registry) throw new Error('the registry is not open');
    return registry;
  }

  private mirrored(): Upstream {
    if (!this.behind) throw new Error('the registry is not open');
    return this.behind;
  }

  /** Keeps the fetch of a blob that a call has begun, to be stepped for itself. */
  private async fetches(follower: number, call: Call): Promise<void> {
    const title = `Fetch of a blob for call ${follower}`;
    const state = await this.keep({ call, title, kind: 'fetch', began: performance.now() });
    this.watchingFetches.forEach((told) => told(follower, state));
  }

  private keep(underWay: UnderWay): Promise<CallState> {
    const id = this.next++;
    this.calls.set(id, underWay);
    return this.state(id);
  }

  private underWay(id: number): UnderWay {
    const underWay = this.calls.get(id);
    if (!underWay) throw new Error('this call has gone: the worker was started anew; begin it again');
    return underWay;
  }

  private async state(id: number): Promise<CallState> {
    const underWay = this.underWay(id);
    const { call, title, request, kind, began } = underWay;
    if (call.answered && kind === 'request') {
      underWay.response ??= await wire(call.response(), performance.now() - began);
    }
    return {
      id,
      title,
      ...(kind === 'fetch' && { fetches: true }),
      ...(request && { request: { ...request, body: null } }),
      performed: [...call.performed],
      effect: call.effect,
      ...(underWay.response && { response: underWay.response }),
      ...(kind === 'collection' && call.answered && { report: call.report() as Record<string, unknown> }),
    };
  }
}

/** The registry that is kept in the browser. */
async function stored(options: RegistryOptions): Promise<Registry> {
  try {
    return await Registry.open({ ...options, storage: new IndexedDbStorage() });
  } catch (error) {
    if (!(error instanceof StorageFormat)) throw error;
    // What another version of the playground has left cannot be read, and is a demonstration.
    console.warn(`${error.message}. The playground has deleted it, and begins anew.`);
    await IndexedDbStorage.delete();
    return Registry.open({ ...options, storage: new IndexedDbStorage() });
  }
}

async function wire(response: RegistryResponse, ms: number): Promise<WireResponse> {
  const { status, headers, fault } = response;
  const length = response.inMemory?.length ?? Number(response.header('Content-Length') ?? 0);
  const body = length <= SHOWN ? await response.bytes() : await new Response(response.stream()).blob();
  return { status, headers, body, ms, ...(fault && { fault }) };
}
