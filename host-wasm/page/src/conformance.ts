/** What the conformance panel and its worker say to each other. */

export interface TesterSettings {
  seed: number;
  prefix: string;
  histories: number;
  operations: number;
  concurrent: number;
  checks: string;
  profile: string;
}

export interface TesterStart {
  target: 'tab' | 'server';
  bug: string;
  settings: TesterSettings;
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
  { what: string; steps: number } | { report: TesterReport; said: Record<string, Said[]> } | { failed: string };
