/** How the server is asked, and what is known of its answers. */
import { signal } from '@preact/signals';
import { useLayoutEffect, useState } from 'preact/hooks';
import { place } from './route.js';
import { session, signedOut } from './session.js';

/** Why there is no answer. `status` is 0 where the server could not be reached. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    /** In how many seconds to ask again, if the server has said so. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

/** Turns whatever was thrown into a problem. */
export function problem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem(0, 'PAGE', error instanceof Error ? error.message : String(error));
}

interface Wish {
  method?: string;
  headers?: Record<string, string>;
  json?: unknown;
  signal?: AbortSignal;
}

/**
 * Sends a request. The header with the token of the session is what makes the cookie count; without a session it still
 * tells the server that a page asks, so that a 401 opens no dialog of the browser.
 */
export async function send(path: string, wish: Wish = {}): Promise<Response> {
  const { method = 'GET', headers, json, signal } = wish;
  const known = session.value;
  let response: Response;
  try {
    response = await fetch(place(path), {
      method,
      headers: {
        'X-CSRF-Token': known?.csrf ?? 'none',
        ...(json !== undefined && { 'Content-Type': 'application/json' }),
        ...headers,
      },
      ...(json !== undefined && { body: JSON.stringify(json) }),
      ...(signal && { signal }),
      cache: 'no-store',
      redirect: 'follow',
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, 'UNREACHABLE', 'The server could not be reached');
  }
  if (response.ok) return response;
  const failed = await problemOf(response);
  // The session that the request was sent with is over.
  if (failed.status === 401 && known?.user && session.value === known) signedOut();
  throw failed;
}

/** What the server says of a request that it has refused. */
async function problemOf(response: Response): Promise<Problem> {
  const { status } = response;
  let [code, message] = [`HTTP ${status}`, ''];
  try {
    const said = (await response.json()) as { errors?: { code?: unknown; message?: unknown }[] };
    const first = said.errors?.[0];
    if (typeof first?.code === 'string') code = first.code;
    if (typeof first?.message === 'string') message = first.message;
  } catch {
    // A proxy on the way has answered, most likely.
  }
  const after = Number(response.headers.get('Retry-After'));
  return new Problem(status, code, message || `The server answered ${status}`, after > 0 ? after : undefined);
}

/** Asks for JSON. */
export async function ask<T>(path: string, wish: Wish = {}): Promise<T> {
  return (await (await send(path, wish)).json()) as T;
}

/** What was answered before, so that who comes back sees it at once. The oldest go first. */
const kept = new Map<string, unknown>();
const KEPT = 60;
/** Counts up when what was answered may not be so any more. */
const age = signal(0);

/** Forgets all answers: something was changed, or somebody else is signed in. */
export function forget(): void {
  kept.clear();
  age.value++;
}

function keep(path: string, answer: unknown): void {
  kept.delete(path);
  kept.set(path, answer);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value!);
}

export interface Asked<T> {
  data?: T;
  problem?: Problem;
  busy: boolean;
  /** Asks again. */
  again: () => void;
}

/** What the server answers at that path, now: first what it has answered before, if it has. */
export function useAnswer<T>(path: string | undefined): Asked<T> {
  const [state, put] = useState<{ path?: string; data?: T; problem?: Problem; busy: boolean }>({ busy: true });
  const [times, ask_] = useState(0);
  const now = age.value;
  // Before the browser paints: an effect would be run after that, and the request would begin so much later.
  useLayoutEffect(() => {
    if (path === undefined) return;
    const stop = new AbortController();
    put({ path, data: kept.get(path) as T, busy: true });
    ask<T>(path, { signal: stop.signal }).then(
      (data) => {
        keep(path, data);
        put({ path, data, busy: false });
      },
      (error: unknown) => {
        if (stop.signal.aborted) return;
        const why = problem(error);
        // What is known is shown on while the server is out of reach.
        put({ path, ...(why.status === 0 && { data: kept.get(path) as T }), problem: why, busy: false });
      },
    );
    return () => stop.abort();
  }, [path, times, now]);
  // What belongs to another path is not shown for a moment.
  const current = state.path === path ? state : { data: path && (kept.get(path) as T), busy: true };
  return { ...(current as Asked<T>), again: () => ask_(times + 1) };
}

/** A list that grows page by page, as far as the user goes on. */
export interface Pages<T, A = unknown> {
  items: T[];
  /** The first answer, with what it tells of the whole. */
  first?: A;
  next?: string;
  problem?: Problem;
  busy: boolean;
  more: () => void;
  again: () => void;
}

/** The pages of a list, from the one at that path on; `of` says where an answer has its entries. */
export function usePages<A extends { next?: string }, T>(path: string, of: (answer: A) => T[]): Pages<T, A> {
  type State = { path: string; items: T[]; first?: A; next?: string; problem?: Problem; busy: boolean };
  const key = `pages ${path}`;
  const before = kept.get(key) as State | undefined;
  const [state, put] = useState<State>({ ...(before ?? { path, items: [] }), busy: true });
  const [times, ask_] = useState(0);
  const now = age.value;
  const load = (at: string, items: T[], first?: A, stop?: AbortController) =>
    ask<A>(at, { ...(stop && { signal: stop.signal }) }).then(
      (answer) => {
        const next: State = {
          path,
          items: [...items, ...of(answer)],
          first: first ?? answer,
          busy: false,
          ...(answer.next && { next: answer.next }),
        };
        keep(key, next);
        put(next);
      },
      (error: unknown) => {
        if (!stop?.signal.aborted)
          put({ path, items, ...(first && { first }), next: at, problem: problem(error), busy: false });
      },
    );
  useLayoutEffect(() => {
    const known = kept.get(key) as State | undefined;
    // A list of several pages that is known is not read anew for who comes back to it.
    if (known) {
      put(known);
      if (known.items.length > 100 || times === 0) return;
    }
    const stop = new AbortController();
    put({ ...(known ?? { path, items: [] }), busy: true });
    void load(path, [], undefined, stop);
    return () => stop.abort();
  }, [path, times, now]);
  const { next } = state;
  const shown: State = state.path === path ? state : (before ?? { path, items: [], busy: true });
  return {
    ...shown,
    more: () => {
      if (!next || state.busy) return;
      put({ ...state, busy: true });
      void load(next, state.items, state.first);
    },
    again: () => {
      kept.delete(key);
      ask_(times + 1);
    },
  };
}
