/** Numbers, times and kinds in words. */
import type { Kind } from './answers.js';
import type { Subject } from './route.js';

/** A number with its thousands apart. */
export const count = (number: number): string => number.toLocaleString('en');

/** What the server says, as a sentence. */
export const sentence = (text: string): string =>
  text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');

/** `1 tag`, `2 tags`. */
export const some = (number: number, one: string, many = `${one}s`): string =>
  `${count(number)} ${number === 1 ? one : many}`;

const SPANS: [seconds: number, name: string][] = [
  [31_557_600, 'year'],
  [2_629_800, 'month'],
  [604_800, 'week'],
  [86_400, 'day'],
  [3_600, 'hour'],
  [60, 'minute'],
];

/** How long ago a time was, in one word and a number; what it is itself if it is no time. */
export function ago(time: string, now = Date.now()): string {
  const then = Date.parse(time);
  if (Number.isNaN(then)) return time;
  const seconds = (now - then) / 1000;
  // Images whose times were taken away for the sake of equal bytes are from 1970 or 1980.
  if (then < Date.UTC(1981)) return 'not told';
  if (seconds < -60) return when(time);
  for (const [length, name] of SPANS) {
    const number = Math.floor(seconds / length);
    if (number >= 1) return `${number} ${name}${number === 1 ? '' : 's'} ago`;
  }
  return 'just now';
}

/** In how long a time will be; `over` if it has been. */
export function until(time: string, now = Date.now()): string {
  const seconds = (Date.parse(time) - now) / 1000;
  if (!(seconds > 0)) return 'over';
  for (const [length, name] of SPANS) {
    const number = Math.round(seconds / length);
    // Six days are no week.
    if (seconds / length > 0.97) return `in ${number} ${name}${number === 1 ? '' : 's'}`;
  }
  return 'in a moment';
}

/** A time in full, where the user is. */
export function when(time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return time;
  return date.toLocaleString('en', { dateStyle: 'medium', timeStyle: 'short' });
}

/** The time of day of a time, where the user is. */
export function clock(time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return time;
  return date.toLocaleTimeString('en', { timeStyle: 'short' });
}

/** A digest as people can tell it from others. */
export function short(digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':');
  return algorithm === 'sha256' ? hex.slice(0, 12) : `${algorithm}:${hex.slice(0, 12)}`;
}

const KINDS: Record<Kind, string> = {
  image: 'Image',
  index: 'Index',
  chart: 'Helm chart',
  wasm: 'WebAssembly',
  model: 'Model',
  sbom: 'SBOM',
  signature: 'Signature',
  attestation: 'Attestation',
  cache: 'Build cache',
  artifact: 'Artifact',
};

/** What something is, in a word. */
export const kindName = (kind: Kind): string => KINDS[kind] ?? kind;

/** Whether it is something that runs in a container. */
export const isImage = (kind: Kind | undefined): boolean => kind === 'image' || kind === 'index';

const SUBJECTS: Record<Subject, string> = {
  usage: 'Usage and quotas',
  storage: 'Storage',
  deleted: 'Deleted',
  protected: 'Protected',
  retention: 'Retention',
  mirrors: 'Mirrors',
  syncs: 'Syncs',
  users: 'Users',
  rules: 'Rules',
};

/** What a page of the administration is called. */
export const subjectName = (subject: Subject): string => SUBJECTS[subject];

/** Whether that is a day, such as 2026-01-31. */
export const isDay = (text: string): boolean => /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text));
