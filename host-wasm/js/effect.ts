/** Effects as they are shown: what the core asks of its host, and what came of it. */

/** A value of a record: text, or how many bytes it has where it is none or long. */
export type Shown = string | { bytes: number } | null;

/** How much has been counted and hashed. `room` is how many bytes may still come, `null` if any number. */
export interface Meter {
  algorithm: 'sha256' | 'sha512';
  count: number;
  room: number | null;
}

/** Bytes at rest. */
export type StoredObject = { part: string } | { content: string };

/** What must be true of the records for a commit to happen. */
export interface Expectation {
  kind: 'absent' | 'present' | 'exactly' | 'none-under';
  key: string;
  value?: Shown;
}

/** An effect. `altered` says that a planted bug has changed it. */
export type Effect = { altered?: true } & (
  | { effect: 'Collect'; limit: number }
  | { effect: 'Receive'; part: string; meter: Meter }
  | { effect: 'Assemble'; parts: string[]; content: string }
  | { effect: 'Load'; content: string; limit: number }
  | { effect: 'Measure'; content: string; meter: Meter }
  | { effect: 'Erase'; target: StoredObject }
  | { effect: 'Inventory'; after: StoredObject | null; limit: number }
  | { effect: 'Get'; keys: string[] }
  | { effect: 'Scan'; prefix: string; after: string | null; limit: number }
  | { effect: 'Commit'; expect: Expectation[]; put: [string, Shown][]; delete: string[]; durable: boolean }
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
  | { end: 'whole' | 'too-large' | 'cut' | 'no-room'; body?: Shown; meter?: Meter; digest?: string }
  | Shown[]
  | [string, Shown][]
  | { object: StoredObject; size: number; ageMs: number }[]
  | Meter
  | { fault: string };

/** An effect that has been answered. */
export interface Performed {
  effect: Effect;
  outcome: Outcome;
}
