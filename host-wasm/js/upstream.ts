/** Other registries, which mirrors stand in front of, and how they are asked. */
import type { Source, Wanted } from './effect.js';
import { BodyReader, joined } from './request.js';
import type { RegistryRequest, RegistryResponse } from './request.js';

/**
 * Asks another registry, as `fetch` does. `target` is a path, such as `/v2/library/debian/manifests/13`. It rejects when
 * the registry cannot be reached.
 */
export type UpstreamFetch = (
  target: string,
  init: { method: 'GET' | 'HEAD'; headers: Record<string, string> },
) => Promise<Response>;

/** Another registry: one of this package, or a function that asks one. */
export type Upstream = UpstreamFetch | { send(request: RegistryRequest): Promise<RegistryResponse> };

/** How long an upstream is left alone that has been asked too often and does not say for how long, in milliseconds. */
const PAUSE = 1000;

/** Why an upstream has not given what it was asked for. */
export class Unmet extends Error {
  override name = 'Unmet';

  constructor(
    readonly kind: 'absent' | 'denied' | 'paused' | 'failed',
    message: string,
    /** For how long it is to be left alone, in milliseconds. */
    readonly pause = 0,
  ) {
    super(message);
  }
}

/** What an upstream has answered to something small. */
export interface Inquired {
  mediaType: string | undefined;
  digest: string | undefined;
  length: number | undefined;
  /** What of the repository has the next page of a list. */
  next: string | undefined;
  body: Uint8Array;
}

/** Bytes of a blob that come from an upstream. */
export interface Sent {
  body: ReadableStream<Uint8Array>;
  /** The size of the whole blob in bytes, where the upstream says it. */
  size: number | undefined;
}

/** The upstreams of a registry by their names. Methods throw `Unmet`. */
export class Upstreams {
  private readonly known = new Map<string, UpstreamFetch>();
  private readonly asking = new Map<string, Promise<Inquired>>();
  /** When those may be asked again that have been asked too often, by name and login. */
  private readonly paused = new Map<string, number>();

  constructor(private readonly now: () => number) {}

  /** Takes one in, and gives its name: the next of `upstream`, `upstream-2` and so on, if not given. */
  add(upstream: Upstream, name = this.known.size === 0 ? 'upstream' : `upstream-${this.known.size + 1}`): string {
    this.known.set(name, typeof upstream === 'function' ? upstream : fetching(upstream));
    return name;
  }

  /**
   * Asks something small and reads the answer whole. What is asked several times at once is asked the upstream once.
   * `login` is the `Authorization` of a caller, if the upstream is asked with that.
   */
  inquire(wanted: Wanted, limit: number | null, login?: string): Promise<Inquired> {
    const key = JSON.stringify([wanted, limit, login]);
    const known = this.asking.get(key);
    if (known) return known;
    const asking = this.read(wanted, limit ?? Infinity, login).finally(() => this.asking.delete(key));
    this.asking.set(key, asking);
    return asking;
  }

  /** Asks for a blob, from the byte `from` on. */
  async rest({ upstream, repository, digest, via }: Source, from: number, login?: string): Promise<Sent> {
    const headers = { Via: via, ...(from > 0 && { Range: `bytes=${from}-` }) };
    const response = await this.ask(upstream, 'GET', `/v2/${repository}/blobs/${digest}`, headers, login);
    if (response.status === 206) {
      const { start, size } = rangeOf(response);
      if (start === from) return { body: bodyOf(response), size };
      await response.body?.cancel();
      throw new Unmet('failed', `the upstream was asked for the bytes from ${from} on, and sends others`);
    }
    return { body: without(bodyOf(response), from), size: lengthOf(response) };
  }

  /** Asks for some bytes of a blob, from the first up to the second number, or for all: exactly these. */
  async part(
    { upstream, repository, digest, via }: Source,
    range: [number, number] | null,
    login?: string,
  ): Promise<Sent> {
    const headers = { Via: via, ...(range && { Range: `bytes=${range[0]}-${range[1] - 1}` }) };
    const response = await this.ask(upstream, 'GET', `/v2/${repository}/blobs/${digest}`, headers, login);
    if (!range && response.status === 200) return { body: bodyOf(response), size: lengthOf(response) };
    const { start, end, size } = rangeOf(response);
    if (range && response.status === 206 && start === range[0] && end === range[1]) {
      return { body: bodyOf(response), size };
    }
    await response.body?.cancel();
    throw new Unmet('failed', 'the upstream does not send these bytes alone');
  }

  private async read(wanted: Wanted, limit: number, login: string | undefined): Promise<Inquired> {
    const { upstream, method, repository, resource, accept, via } = wanted;
    const headers = { Via: via, ...(accept.length > 0 && { Accept: accept.join(', ') }) };
    const response = await this.ask(upstream, method, `/v2/${repository}/${resource}`, headers, login);
    const reader = new BodyReader(method === 'HEAD' ? null : bodyOf(response), undefined);
    const pieces: Uint8Array[] = [];
    let size = 0;
    for (let piece = await reader.next(); piece; piece = await reader.next()) {
      size += piece.length;
      if (size > limit) {
        await reader.cancel();
        throw new Unmet('failed', `the upstream answers with more than ${limit} bytes`);
      }
      pieces.push(piece);
    }
    if (reader.end !== 'whole') throw new Unmet('failed', 'the upstream breaks off in its answer');
    return {
      mediaType: response.headers.get('Content-Type') ?? undefined,
      digest: response.headers.get('Docker-Content-Digest') ?? undefined,
      length: lengthOf(response),
      next: nextOf(response, `/v2/${repository}/`),
      body: joined(pieces),
    };
  }

  private async ask(
    name: string,
    method: 'GET' | 'HEAD',
    target: string,
    headers: Record<string, string>,
    login: string | undefined,
  ): Promise<Response> {
    // Registries count the requests of each login for itself.
    const asking = JSON.stringify([name, login]);
    const pause = (this.paused.get(asking) ?? 0) - this.now();
    if (pause > 0) throw new Unmet('paused', 'the upstream has been asked too often', pause);
    let response: Response;
    try {
      response = await this.known.get(name)!(target, {
        method,
        headers: login === undefined ? headers : { ...headers, Authorization: login },
      });
    } catch (error) {
      throw new Unmet('failed', `the upstream cannot be asked: ${error instanceof Error ? error.message : error}`);
    }
    if (response.status === 200 || response.status === 206) return response;
    await response.body?.cancel();
    switch (response.status) {
      case 404:
        throw new Unmet('absent', 'the upstream does not have it');
      case 401:
      case 403:
        throw new Unmet('denied', 'the upstream denies it');
      case 429: {
        const after = pauseOf(response.headers.get('Retry-After'), this.now());
        this.paused.set(asking, this.now() + after);
        throw new Unmet('paused', 'the upstream has been asked too often', after);
      }
      default:
        throw new Unmet('failed', `the upstream has answered ${response.status}`);
    }
  }
}

/** A registry of this package, asked as `fetch` asks. */
function fetching(registry: { send(request: RegistryRequest): Promise<RegistryResponse> }): UpstreamFetch {
  return async (target, { method, headers }) => {
    const response = await registry.send({ method, target, headers });
    const { status } = response;
    const hasBody = method !== 'HEAD' && status !== 204 && status !== 304;
    return new Response(hasBody ? response.stream() : null, { status, headers: response.headers });
  };
}

function bodyOf(response: Response): ReadableStream<Uint8Array> {
  return response.body ?? new Blob([]).stream();
}

/** The page that `Link` leads to, with or without an authority, if it is one of the same repository (RFC 8288). */
function nextOf({ headers }: Response, repository: string): string | undefined {
  const link = /<([^>]+)>;\s*rel="?next"?/.exec(headers.get('Link') ?? '')?.[1];
  const target = link?.replace(/^https?:\/\/[^/]+/, '');
  return target?.startsWith(repository) ? target.slice(repository.length) : undefined;
}

/** `Content-Length`. */
function lengthOf({ headers }: Response): number | undefined {
  const length = headers.get('Content-Length');
  return length !== null && /^\d+$/.test(length) ? Number(length) : undefined;
}

/** `Content-Range`: the first byte, the end and the size of the whole, as far as they are told (RFC 9110, 14.4). */
function rangeOf({ headers }: Response): { start?: number; end?: number; size: number | undefined } {
  const told = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(headers.get('Content-Range') ?? '');
  if (!told) return { size: undefined };
  return { start: Number(told[1]), end: Number(told[2]) + 1, size: told[3] === '*' ? undefined : Number(told[3]) };
}

/** `Retry-After`, seconds or a date, as a time from now in milliseconds (RFC 9110, 10.2.3). */
function pauseOf(field: string | null, now: number): number {
  if (field === null) return PAUSE;
  const pause = /^\d+$/.test(field) ? Number(field) * 1000 : Date.parse(field) - now;
  return pause > 0 ? pause : PAUSE;
}

/** A body without its first bytes: those of an upstream that does not know of ranges. */
function without(body: ReadableStream<Uint8Array>, count: number): ReadableStream<Uint8Array> {
  if (count === 0) return body;
  let left = count;
  return body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(piece, controller) {
        const rest = piece.subarray(left);
        left -= piece.length - rest.length;
        if (rest.length > 0) controller.enqueue(rest);
      },
    }),
  );
}
