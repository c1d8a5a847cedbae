import type { Answer, Call as EngineCall, Engine } from './pkg/orlop_wasm.js';
import type { Effect, EffectName, Outcome, Performed } from './effect.js';
import { BodyReader, RegistryResponse, joined } from './request.js';
import type { Body } from './request.js';
import { StorageFull } from './storage.js';
import type { Storage } from './storage.js';

/** What calls work on. */
export interface Host {
  engine: Engine;
  storage: Storage;
  now: () => number;
  /** Runs one commit after the other: between what it expects and what it changes nothing else happens. */
  exclusively<T>(act: () => Promise<T>): Promise<T>;
  /** Is told of every change of the records. */
  changed?: (changes: { put: string[]; delete: string[] }) => void;
}

/** How an effect is to fail. */
export interface FaultOptions {
  /** No space is left; without it, any other reason. */
  full?: boolean;
  /** The effect happens all the same: only its answer is lost, as when a disk dies after it has written. */
  afterwards?: boolean;
  reason?: string;
}

/** A call that is under way. It stands at one effect at a time, until it has its response. */
export class Call {
  /** What has been asked and answered so far. */
  readonly performed: Performed[] = [];
  private readonly body: BodyReader;
  private busy = false;

  constructor(
    private readonly host: Host,
    private readonly inner: EngineCall,
    body: Body = null,
    cutAfter?: number,
  ) {
    this.body = new BodyReader(body, cutAfter);
  }

  /** The name of the effect that is asked for. */
  get standing(): EffectName {
    return this.inner.effect() as EffectName;
  }

  /** The effect that is asked for. */
  get effect(): Effect {
    return JSON.parse(this.inner.describe()) as Effect;
  }

  /** Whether there is nothing left to do. */
  get ended(): boolean {
    return this.standing === 'Respond' || this.standing === 'Over';
  }

  /** Performs the effect that is asked for, and gives its outcome to the core. */
  async step(): Promise<void> {
    await this.act(async () => {
      const effect = this.effect;
      try {
        (await this.perform(true))();
      } catch (error) {
        this.refuse(error);
      }
      this.performed.push({ effect, outcome: JSON.parse(this.inner.outcome()) as Outcome });
    });
  }

  /** Runs to the end. With `record`, each effect is kept in `performed`. */
  async run(record = false): Promise<void> {
    while (!this.ended) {
      if (record) {
        await this.step();
        continue;
      }
      await this.act(async () => {
        try {
          (await this.perform(false))();
        } catch (error) {
          this.refuse(error);
        }
      });
    }
  }

  /** Ends the call where it stands: whatever has happened stays, and nobody is answered. */
  crash(): void {
    this.inner.crash();
    void this.body.cancel();
  }

  /** Answers the effect that is asked for with a failure of the storage. */
  async fault(options: FaultOptions = {}): Promise<void> {
    await this.act(async () => {
      const effect = this.effect;
      if (options.afterwards) await this.perform(true).catch(() => {});
      this.inner.fail(options.reason ?? 'it was made to fail here', options.full ?? false);
      this.performed.push({ effect, outcome: JSON.parse(this.inner.outcome()) as Outcome });
    });
  }

  /** The response; only at the end. */
  response(): RegistryResponse {
    const answer = this.inner.response();
    if (!answer) throw new Error(this.standing === 'Over' ? 'the call has crashed' : 'the call is still under way');
    return answered(this.host.storage, answer);
  }

  /** The report of a sweep; only at the end. */
  report(): unknown {
    return JSON.parse(this.inner.report() ?? 'null');
  }

  /** Answers at once what only needs records. Whether the call has ended by that. */
  lookUp(): boolean {
    this.inner.look_up(this.host.engine, false);
    return this.standing === 'Respond';
  }

  /** Gives the memory of the call back. It is of no use afterwards. */
  free(): void {
    this.inner.free();
  }

  private async act(what: () => Promise<void>): Promise<void> {
    if (this.busy) throw new Error('the call is in the middle of an effect');
    this.busy = true;
    try {
      await what();
    } finally {
      this.busy = false;
    }
  }

  private refuse(error: unknown): void {
    this.inner.fail(error instanceof Error ? error.message : String(error), error instanceof StorageFull);
  }

  /** Does what is asked. What it gives back tells the core of it: until then the call stands where it stood. */
  private async perform(once: boolean): Promise<() => void> {
    const { inner } = this;
    const { engine, storage, now } = this.host;
    switch (this.standing) {
      case 'Get':
      case 'Scan':
        return () => inner.look_up(engine, once);
      case 'Commit':
        return this.commit();
      case 'Collect':
        return this.collect();
      case 'Receive':
        return this.receive();
      case 'Assemble':
        await storage.assemble(inner.object()!, inner.parts(), now());
        return () => inner.assembled();
      case 'Load': {
        const info = storage.info(inner.object()!);
        const fits = info && info.size <= inner.limit();
        const bytes = fits ? await whole(storage.read(info.name, 0, info.size)) : undefined;
        return () => inner.loaded(bytes);
      }
      case 'Measure': {
        const info = storage.info(inner.object()!);
        if (info) for await (const piece of storage.read(info.name, 0, info.size)) inner.show(piece);
        return () => inner.measured(info !== undefined);
      }
      case 'Erase':
        await storage.remove(inner.object()!);
        return () => inner.erased();
      case 'Inventory':
        return this.inventory();
      default:
        return () => {};
    }
  }

  private commit(): Promise<() => void> {
    return this.host.exclusively(async () => {
      const { inner } = this;
      if (!inner.holds(this.host.engine)) return () => inner.committed(false);
      const changes = inner.changes();
      const put: [string, Uint8Array][] = [];
      for (let i = 0; i < changes.put.length; i += 2) {
        put.push([changes.put[i] as string, changes.put[i + 1] as Uint8Array]);
      }
      const deleted = changes.delete as string[];
      // Stored first: what cannot be stored has not happened.
      await this.host.storage.commit({ put, delete: deleted, durable: changes.durable });
      changes.free();
      inner.apply(this.host.engine);
      this.host.changed?.({ put: put.map(([key]) => key), delete: deleted });
      return () => inner.committed(true);
    });
  }

  private async collect(): Promise<() => void> {
    const { inner, body } = this;
    const limit = inner.limit();
    const pieces: Uint8Array[] = [];
    let size = 0;
    for (let piece = await body.next(); piece; piece = await body.next()) {
      size += piece.length;
      if (size > limit) {
        await body.cancel();
        return () => inner.collected(new Uint8Array(), 'too-large');
      }
      pieces.push(piece);
    }
    return () => inner.collected(joined(pieces), body.end ?? 'whole');
  }

  private async receive(): Promise<() => void> {
    const { inner, body } = this;
    const writer = this.host.storage.writer(inner.object()!);
    let end: string = 'whole';
    let size = 0;
    try {
      for (let piece = await body.next(); piece; piece = await body.next()) {
        const taken = inner.show(piece);
        if (taken > 0) await writer.write(piece.subarray(0, taken));
        size += taken;
        if (taken < piece.length) {
          end = 'too-large';
          await body.cancel();
          break;
        }
      }
      if (end === 'whole') end = body.end ?? 'whole';
      if (size > 0) await writer.close(this.host.now());
    } catch (error) {
      await Promise.resolve(writer.abort()).catch(() => {});
      throw error;
    }
    return () => inner.received(end);
  }

  private inventory(): () => void {
    const { inner } = this;
    const after = inner.object();
    const rank = (name: string) => (name.startsWith('part/') ? 0 : 1);
    const order = (a: string, b: string) => rank(a) - rank(b) || (a < b ? -1 : a > b ? 1 : 0);
    const all = this.host.storage.list().sort((a, b) => order(a.name, b.name));
    const page = all.filter((stored) => after === undefined || order(stored.name, after) > 0).slice(0, inner.page());
    const now = this.host.now();
    return () =>
      inner.listed(
        page.map((stored) => stored.name),
        Float64Array.from(page, (stored) => stored.size),
        Float64Array.from(page, (stored) => Math.max(0, now - stored.since)),
      );
  }
}

async function whole(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return joined(all);
}

function answered(storage: Storage, answer: Answer): RegistryResponse {
  const { status, content, fault } = answer;
  const pieces = answer.pieces as (Uint8Array | [number, number])[];
  const flat = answer.headers;
  answer.free();
  const headers: [string, string][] = [];
  for (let i = 0; i < flat.length; i += 2) headers.push([flat[i]!, flat[i + 1]!]);
  const inMemory = content === undefined ? ((pieces[0] as Uint8Array | undefined) ?? new Uint8Array()) : undefined;
  async function* source(): AsyncIterable<Uint8Array> {
    for (const piece of pieces) {
      if (piece instanceof Uint8Array) yield piece;
      else yield* storage.read(content!, piece[0], piece[1]);
    }
  }
  return new RegistryResponse(status, headers, source, inMemory, fault, content);
}
