import type { Answer, Call as EngineCall, Engine } from './pkg/orlop_wasm.js';
import type { Effect, EffectName, Outcome, Performed } from './effect.js';
import { BodyReader, Pause, RegistryResponse, joined } from './request.js';
import type { Body, Piece } from './request.js';
import { StorageFull, StorageUnavailable } from './storage.js';
import type { ObjectWriter, Storage } from './storage.js';

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
  /** No space is left. */
  full?: boolean;
  /** The storage is out of reach for the moment. Without this and `full`, it fails for any other reason. */
  unavailable?: boolean;
  /** The effect happens all the same: only its answer is lost, as when a disk dies after it has written. */
  afterwards?: boolean;
  reason?: string;
}

/** Tells the core what an effect came to. */
type Tell = () => void;

/**
 * A call that is under way. It stands at one effect at a time, until nothing is left to do. Its response may be there
 * before that: what follows is clean-up that no client waits for.
 */
export class Call {
  /** What has been asked and answered so far. */
  readonly performed: Performed[] = [];
  private readonly body: BodyReader;
  private busy = false;
  private crashed = false;
  private freed = false;
  /** The object that the body is being received into, while the body is still coming. */
  private open: { name: string; writer: ObjectWriter } | undefined;

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
    return this.crashed ? 'Over' : (this.inner.effect() as EffectName);
  }

  /** The effect that is asked for. */
  get effect(): Effect {
    return this.crashed ? { effect: 'Over' } : (JSON.parse(this.inner.describe()) as Effect);
  }

  /** Whether the response, or the report of a garbage collection, is there. */
  get answered(): boolean {
    return this.inner.answered();
  }

  /** Whether there is nothing left to do. */
  get ended(): boolean {
    return this.standing === 'Respond' || this.standing === 'Over';
  }

  /** Performs the effect that is asked for, and gives its outcome to the core. */
  async step(): Promise<void> {
    if (!this.ended) await this.act(true, () => this.perform(true));
  }

  /** Runs to the end. With `record`, each effect is kept in `performed`. */
  async run(record = false): Promise<void> {
    while (!this.ended) await this.act(record, () => this.perform(record));
  }

  /** Runs until the response is there. `run` does what follows. */
  async answer(): Promise<void> {
    while (!this.answered && !this.ended) await this.act(false, () => this.perform(false));
  }

  /**
   * Ends the call where it stands: whatever has happened stays, and no client is answered. A commit that is being
   * stored is still made, in the storage and in memory.
   */
  crash(): void {
    this.crashed = true;
    void this.body.cancel();
    if (!this.busy) void this.settle();
  }

  /** Answers the effect that is asked for with a failure of the storage. */
  async fault(options: FaultOptions = {}): Promise<void> {
    const kind = options.full ? 'full' : options.unavailable ? 'unavailable' : 'failed';
    await this.act(true, async () => {
      if (options.afterwards) await this.perform(true).catch(() => {});
      return () => this.inner.fail(options.reason ?? 'it was made to fail here', kind);
    });
  }

  /** The response, once it is there. */
  response(): RegistryResponse {
    const answer = this.inner.response();
    if (!answer) throw new Error(this.crashed ? 'the call has crashed' : 'the call is still under way');
    return answered(this.host.storage, answer);
  }

  /** The report of a garbage collection; only at the end. */
  report(): unknown {
    return JSON.parse(this.inner.report() ?? 'null');
  }

  /** Why the records are not for this registry; nothing if they are. Only at the end. */
  refused(): string | undefined {
    return this.inner.refused();
  }

  /** Answers at once what only needs records. Whether the response is there by that. */
  lookUp(): boolean {
    this.inner.look_up(this.host.engine, false);
    return this.answered;
  }

  /** Gives the memory of the call back. It is of no use afterwards; one that has not ended crashes. */
  free(): void {
    this.freed = true;
    this.crash();
  }

  /** Performs something, and tells the core of it unless the call has crashed meanwhile. */
  private async act(record: boolean, perform: () => Promise<Tell>): Promise<void> {
    if (this.busy) throw new Error('the call is in the middle of an effect');
    this.busy = true;
    try {
      const effect = record ? this.effect : undefined;
      try {
        const tell = await perform();
        if (!this.crashed) tell();
      } catch (error) {
        if (!this.crashed) this.refuse(error);
      }
      if (effect) this.performed.push({ effect, outcome: JSON.parse(this.inner.outcome()) as Outcome });
      if (this.ended) await this.settle();
    } finally {
      this.busy = false;
    }
  }

  /** Lets go of what the call holds, at its end. */
  private async settle(): Promise<void> {
    if (this.crashed) this.inner.crash();
    if (this.freed) this.inner.free();
    await this.abandon().catch(() => {});
  }

  private refuse(error: unknown): void {
    const kind = error instanceof StorageFull ? 'full' : error instanceof StorageUnavailable ? 'unavailable' : 'failed';
    this.inner.fail(error instanceof Error ? error.message : String(error), kind);
  }

  /** Does what is asked. What it gives back tells the core of it: until then the call stands where it stood. */
  private async perform(once: boolean): Promise<Tell> {
    const { inner } = this;
    const { engine, storage, now } = this.host;
    switch (this.standing) {
      case 'Get':
      case 'Scan':
        return () => inner.look_up(engine, once);
      case 'Commit':
        return this.commit();
    }
    const { effect } = this;
    switch (effect.effect) {
      case 'Collect':
        return this.collect(effect.limit ?? Infinity);
      case 'Receive':
        return this.receive(effect.object, effect.keep, effect.pause);
      case 'Join': {
        const there = this.sizes(effect.from) !== undefined;
        const at = now();
        if (there) {
          await storage.join(effect.into, effect.from, at);
          inner.made(at);
        }
        return () => inner.joined(there);
      }
      case 'Load': {
        const size = this.sizes(effect.objects);
        const fits = size !== undefined && size <= (effect.limit ?? Infinity);
        const pieces: Uint8Array[] = [];
        const whole = fits && (await this.read(effect.objects, (piece) => pieces.push(piece)));
        return () => inner.loaded(whole ? joined(pieces) : undefined);
      }
      case 'Measure': {
        const whole = await this.read(effect.objects, (piece) => inner.show(piece));
        return () => inner.measured(whole);
      }
      case 'Erase':
        if (this.open && effect.objects.includes(this.open.name)) await this.abandon();
        await storage.remove(effect.objects);
        return () => inner.erased();
      case 'Inventory':
        return this.inventory();
      default:
        return () => {};
    }
  }

  private commit(): Promise<Tell> {
    const { inner } = this;
    const { engine, storage, now, changed } = this.host;
    return this.host.exclusively(async () => {
      if (this.crashed) return () => {};
      const changes = inner.changes(engine, now());
      if (!changes) return () => inner.committed(false);
      const flat = changes.list() as (string | Uint8Array | undefined)[];
      const records: [string, Uint8Array | undefined][] = [];
      for (let i = 0; i < flat.length; i += 2) {
        records.push([flat[i] as string, flat[i + 1] as Uint8Array | undefined]);
      }
      try {
        // Stored first: what cannot be stored has not happened.
        await storage.commit({ records, durable: changes.durable });
      } catch (error) {
        changes.free();
        throw error;
      }
      changes.apply(engine);
      const keys = (put: boolean) => records.filter(([, value]) => (value !== undefined) === put).map(([key]) => key);
      changed?.({ put: keys(true), delete: keys(false) });
      return () => inner.committed(true);
    });
  }

  private async collect(limit: number): Promise<Tell> {
    const { inner, body } = this;
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

  private async receive(object: string, keep: number, pauseMs: number | null): Promise<Tell> {
    const { inner, body } = this;
    const { storage, now } = this.host;
    const pause = new Pause(pauseMs);
    const began = now();
    const held: Uint8Array[] = [];
    let size = 0;
    let end: string | undefined;
    const write = async () => {
      this.open ??= { name: object, writer: storage.writer(object) };
      for (const piece of held.splice(0)) await this.open.writer.write(piece);
    };
    try {
      for (let piece = await body.next(pause); piece; piece = pause.isOver ? undefined : await body.next(pause)) {
        if (this.crashed) break;
        const taken = inner.show(piece);
        if (taken > 0) held.push(piece.subarray(0, taken));
        size += taken;
        if (this.open || size > keep) await write();
        if (taken < piece.length) {
          end = 'too-large';
          await body.cancel();
          break;
        }
      }
      if (this.crashed) throw new Error('the call has crashed');
      end ??= body.end ?? 'later';
      const at = now();
      if (end === 'later') {
        if (size > 0) await write();
      } else if (this.open) {
        await this.open.writer.close(at);
        this.open = undefined;
        inner.made(at);
      }
      const kept = held.length > 0 ? joined(held) : undefined;
      return () => inner.received(end!, kept, at - began);
    } catch (error) {
      await this.abandon().catch(() => {});
      throw error;
    } finally {
      pause.end();
    }
  }

  /** Gives up the object that is being received, if there is one. */
  private async abandon(): Promise<void> {
    const { open } = this;
    this.open = undefined;
    await open?.writer.abort();
  }

  /** How many bytes objects have together; nothing when one is not there. */
  private sizes(objects: string[]): number | undefined {
    const all = objects.map((object) => this.host.storage.info(object)?.size);
    return all.every((size) => size !== undefined) ? all.reduce((sum, size) => sum + size, 0) : undefined;
  }

  /** Reads objects, one behind the other. Whether all were there. */
  private async read(objects: string[], take: (piece: Uint8Array) => void): Promise<boolean> {
    const { storage } = this.host;
    for (const object of objects) {
      const info = storage.info(object);
      if (!info) return false;
      try {
        for await (const piece of storage.read(object, 0, info.size)) {
          if (this.crashed) return false;
          take(piece);
        }
      } catch (error) {
        // Another call may have removed it meanwhile.
        if (!storage.info(object)) return false;
        throw error;
      }
    }
    return true;
  }

  private inventory(): Tell {
    const now = this.host.now();
    const all = this.host.storage.list();
    return () =>
      this.inner.listed(
        all.map((stored) => stored.name),
        Float64Array.from(all, (stored) => stored.size),
        Float64Array.from(all, (stored) => Math.max(0, now - stored.since)),
      );
  }
}

function answered(storage: Storage, answer: Answer): RegistryResponse {
  const { status, fault } = answer;
  const pieces = answer.pieces as Piece[];
  const flat = answer.headers;
  answer.free();
  const headers: [string, string][] = [];
  for (let i = 0; i < flat.length; i += 2) headers.push([flat[i]!, flat[i + 1]!]);
  const bytes = pieces.filter((piece) => piece instanceof Uint8Array);
  const objects = pieces.flatMap((piece) => (piece instanceof Uint8Array ? [] : [piece[0]]));
  const inMemory = objects.length > 0 ? undefined : bytes.length === 1 ? bytes[0] : joined(bytes);
  async function* source(): AsyncIterable<Uint8Array> {
    for (const piece of pieces) {
      if (piece instanceof Uint8Array) yield piece;
      else yield* storage.read(...piece);
    }
  }
  return new RegistryResponse(status, headers, source, inMemory, fault, objects);
}
