import { answered } from './answer.js';
import { Coming, Relaying } from './coming.js';
import type { Call as EngineCall, Engine } from './pkg/orlop_wasm.js';
import type { Effect, EffectName, Outcome, Performed } from './effect.js';
import { Receiver } from './receive.js';
import { BodyReader, joined } from './request.js';
import type { Body, RegistryResponse } from './request.js';
import { StorageFull, StorageUnavailable } from './storage.js';
import type { Storage } from './storage.js';
import { Unmet } from './upstream.js';
import type { Upstreams } from './upstream.js';

/** What calls work on. */
export interface Host {
  engine: Engine;
  storage: Storage;
  now: () => number;
  /** Sixteen random bytes for a call. */
  random: () => Uint8Array;
  upstreams: Upstreams;
  /** The blobs that are being fetched, by repository and digest. */
  fetches: Map<string, Coming>;
  /** Runs a call to its end, and lets go of it. */
  finish(call: Call): void;
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
  private readonly fetches: boolean;
  private readonly receiver: Receiver;
  /** What an upstream sends for this call and those that follow it. */
  private sent: BodyReader | undefined;
  /** What an upstream sends for this call alone. */
  private relaying: Relaying | undefined;
  /**
   * Is given the fetch of a blob when this call begins one (`Follow`), and must run it to its end. Without this, the
   * registry runs it.
   */
  onFetch: ((fetch: Call) => void) | undefined;

  /** `coming` is the blob that the call fetches, if that is what it does. */
  constructor(
    private readonly host: Host,
    private readonly inner: EngineCall,
    body: Body = null,
    cutAfter?: number,
    private coming?: Coming,
  ) {
    this.body = new BodyReader(body, cutAfter);
    this.receiver = new Receiver(host, inner, () => this.crashed);
    this.fetches = coming !== undefined;
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
    void this.sent?.cancel();
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
    return answered(this.host.storage, answer, this.coming, this.relaying);
  }

  /** The report of a garbage collection or an eviction; only at the end. */
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
      if (this.fetches && this.answered) this.coming?.over(this.inner.fetched());
      // What a crash interrupts has no outcome.
      if (effect && !this.crashed)
        this.performed.push({ effect, outcome: JSON.parse(this.inner.outcome()) as Outcome });
      if (this.ended) await this.settle();
    } finally {
      this.busy = false;
    }
  }

  /** Lets go of what the call holds, at its end. */
  private async settle(): Promise<void> {
    const isUnanswered = this.crashed && !this.answered;
    if (this.crashed) this.inner.crash();
    if (this.fetches) this.coming?.over(this.inner.fetched());
    if (this.freed) this.inner.free();
    if (isUnanswered) await this.relaying?.cancel();
    await this.receiver.abandon().catch(() => {});
  }

  private refuse(error: unknown): void {
    if (error instanceof Unmet) return this.inner.unmet(error.kind, error.message, error.pause);
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
        return this.receive(effect);
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
        if (effect.objects.some((object) => this.receiver.receives(object))) await this.receiver.abandon();
        await storage.remove(effect.objects);
        return () => inner.erased();
      case 'Inventory':
        return this.inventory();
      case 'Inquire':
        return this.inquire(effect);
      case 'Fetch':
        return this.fetch(effect);
      case 'Follow':
        return this.follow(effect);
      case 'Relay':
        return this.relay(effect);
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

  private async receive({ object, keep, pause }: Extract<Effect, { effect: 'Receive' }>): Promise<Tell> {
    const { end, kept, took } = await this.receiver.receive({ body: this.body, object, keep, pause });
    return () => this.inner.received(end, kept, took);
  }

  private async inquire({ wanted, limit }: Extract<Effect, { effect: 'Inquire' }>): Promise<Tell> {
    const { mediaType, digest, length, next, body } = await this.host.upstreams.inquire(
      wanted,
      limit,
      this.inner.authorization(),
    );
    return () => this.inner.inquired(mediaType, digest, length, next, body);
  }

  private async fetch({ source, object, meter, keep }: Extract<Effect, { effect: 'Fetch' }>): Promise<Tell> {
    const { inner, coming } = this;
    if (meter.count > 0 && !this.receiver.receives(object)) return () => inner.lost();
    const { body, size } = await this.host.upstreams.rest(source, meter.count, inner.authorization());
    const reader = (this.sent = new BodyReader(body, undefined));
    coming?.begins(meter.count, size);
    const { end, kept, took } = await this.receiver
      .receive({ body: reader, object, keep, pause: null, goesOn: true, coming })
      .finally(() => reader.cancel());
    if (end === 'whole' && inner.digest() === source.digest) coming?.verify();
    return () => inner.received(end, kept, took);
  }

  /** Joins the fetch of a blob, or begins it. */
  private async follow({ fetching }: Extract<Effect, { effect: 'Follow' }>): Promise<Tell> {
    const { host, inner } = this;
    const key = `${fetching.repository}@${fetching.digest}`;
    let coming = host.fetches.get(key);
    if (!coming) {
      coming = new Coming(() => host.fetches.delete(key));
      host.fetches.set(key, coming);
      const fetch = new Call(host, inner.fetch(host.engine, host.now(), host.random()), null, undefined, coming);
      if (this.onFetch) this.onFetch(fetch);
      else host.finish(fetch);
    }
    this.coming = coming;
    const size = await coming.begun();
    if (size !== undefined) return () => inner.coming(size);
    const { fetched } = coming;
    return () => (fetched ? inner.followed(fetched) : inner.fail('the fetch has crashed', 'failed'));
  }

  private async relay({ source, range }: Extract<Effect, { effect: 'Relay' }>): Promise<Tell> {
    const { body, size } = await this.host.upstreams.part(source, range, this.inner.authorization());
    if (size === undefined) {
      await body.cancel();
      throw new Unmet('failed', 'the upstream does not say how long the blob is');
    }
    await this.relaying?.cancel();
    this.relaying = new Relaying(body, range ? range[1] - range[0] : size, range ? undefined : source.digest);
    return () => this.inner.relayed(size);
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
