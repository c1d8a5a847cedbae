/** What the conformance panel and its worker say to each other. */
import type { SignIn } from './server.js';

export interface TesterSettings {
  seed: number;
  prefix: string;
  histories: number;
  operations: number;
  concurrent: number;
  checks: string;
  profile: string;
  /** Whether repositories are used again once they are empty. */
  reuse: boolean;
}

export interface TesterStart {
  target: 'tab' | 'server';
  bug: string;
  settings: TesterSettings;
  /** How to sign in at the server. */
  signIn: SignIn;
}

/** Ends a run early. What it has pushed to a server is deleted all the same. */
export interface TesterStop {
  stop: true;
}

/** What a run has left on a server. */
export interface Left {
  /** Names of repositories that the catalog lists; none if the server does not list them. */
  repositories: string[] | undefined;
  /** What the server refused to delete. */
  kept: { path: string; status: number }[];
}

/** Something that was said to a registry, so that it can be said again. */
export interface Said {
  method: string;
  target: string;
  headers: [string, string][];
  body: Uint8Array;
  chunked: boolean;
  status: number;
  location?: string;
}

export interface CheckResult {
  id: string;
  item: string;
  fact: string;
  level: string;
  source: string;
  result: 'passed' | 'failed' | 'not-offered';
  expected?: string;
  came?: string;
  curl?: string;
  counts?: boolean;
  what?: string;
}

export interface FailedHistory {
  history: number;
  operations: string[];
  expected: string;
  came: string;
  signature: string;
  curl: string;
}

export interface TesterReport {
  seed: number;
  checks: CheckResult[];
  histories: { played: number; operations: number; failed: number; failures: FailedHistory[] };
  concurrent: { played: number; failures: FailedHistory[] };
  ended: string | null;
  passed: boolean;
}

export type TesterMessage =
  | { what: string; steps: number }
  | { report: TesterReport; said: Record<string, Said[]>; left?: Left }
  | { failed: string; left?: Left };
