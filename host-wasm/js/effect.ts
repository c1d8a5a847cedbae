/** Effects as they are shown: what the core asks of its host, and what came of it. */

/** A value of a record: text, or how many bytes it has where it is none or long. */
export type Shown = string | { bytes: number } | null;

/** How much has been counted and hashed. `room` is how many bytes may still come, `null` if any number. */
export interface Meter {
  algorithm: 'sha256' | 'sha512';
  count: number;
  room: number | null;
}

/** What must be true of the records for a commit to happen. */
export interface Expectation {
  kind: 'absent' | 'present' | 'exactly' | 'none-under';
  key: string;
  value?: Shown;
}

/** What is asked of an upstream: with `method`, for `/v2/<repository>/<resource>`. */
export interface Wanted {
  /** What the registry calls it: `upstream` the first of its options, `upstream-2` the next. */
  upstream: string;
  method: 'GET' | 'HEAD';
  /** The repository, by its name there. */
  repository: string;
  resource: string;
  /** Media types. */
  accept: string[];
  /** The registries that the request has gone through. */
  via: string;
}

/** A blob at an upstream. */
export interface Source {
  upstream: string;
  repository: string;
  digest: string;
  via: string;
}

/** Why an upstream has not given what it was asked for: `absent` is 404, `denied` 401 or 403, `paused` 429. */
export interface UnmetShown {
  unmet: 'absent' | 'denied' | 'paused' | 'failed';
  reason: string;
}

/**
 * An effect, with its fields as `core/src/effect.rs` names them. Times are in milliseconds; `null` for a number is no
 * bound. `altered` says that a planted bug has changed it.
 */
export type Effect = { altered?: true } & (
  | { effect: 'Collect'; limit: number | null }
  | { effect: 'Receive'; object: string; meter: Meter; keep: number; pause: number | null }
  | { effect: 'Join'; from: string[]; into: string }
  | { effect: 'Load'; objects: string[]; limit: number | null }
  | { effect: 'Measure'; objects: string[]; meter: Meter }
  | { effect: 'Erase'; objects: string[] }
  | { effect: 'Inventory'; after: string | null; limit: number }
  | { effect: 'Get'; keys: string[] }
  | { effect: 'Scan'; prefix: string; after: string | null; limit: number; bytes: number | null }
  | {
      effect: 'Commit';
      expect: Expectation[];
      put: [string, Shown][];
      add: [string, number][];
      delete: string[];
      durability: 'durable' | 'eventual';
      reclaims: boolean;
    }
  | { effect: 'Inquire'; wanted: Wanted; limit: number | null }
  | { effect: 'Fetch'; source: Source; object: string; meter: Meter; keep: number }
  | { effect: 'Follow'; fetching: { repository: string; digest: string } }
  | { effect: 'Relay'; source: Source; range: [start: number, end: number] | null }
  | { effect: 'Respond' }
  | { effect: 'Over' }
);

/** The name of an effect. */
export type EffectName = Effect['effect'];

/** What became of an effect. The form follows the effect: see `Outcome` in `core/src/effect.rs`. */
export type Outcome =
  | 'Done'
  | 'Conflict'
  | null
  | Shown
  | boolean
  | { end: 'whole' | 'too-large' | 'cut' | 'no-room'; body?: Shown }
  | { end: 'whole' | 'too-large' | 'cut' | 'later'; meter: Meter; digest: string; kept: Shown; took: number }
  | Shown[]
  | [string, Shown][]
  | { object: string; size: number; ageMs: number }[]
  | Meter
  | UnmetShown
  | { mediaType: string | null; digest: string | null; length: number | null; next: string | null; body: Shown }
  | { end: 'coming'; size: number }
  | { end: 'kept' }
  | { end: 'failed'; status: number }
  | { size: number }
  | { fault: string };

/** An effect that has been answered. */
export interface Performed {
  effect: Effect;
  outcome: Outcome;
}
