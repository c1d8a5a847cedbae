/** What the API answers of the administration, of activity and of rules: see host-native/api/openapi.yaml. */

export interface RepositoryUsage {
  repository: string;
  bytes: number;
  unshared: number;
  tags: number;
  manifests: number;
  blobs: number;
  last_push: string | null;
  last_pull: string | null;
  pulls: number;
  quota: string | null;
  used_percent: number | null;
}

export interface QuotaUsage {
  quota: string;
  /** Whether it is for all its repositories together. */
  together: boolean;
  repositories: number;
  /** Of all of them together; of a quota for each by itself, of the one that has most. */
  bytes: number;
  fullest: string | null;
  soft: number | null;
  limit: number | null;
}

export interface Usage {
  /** What was pushed and deleted from then on may not be in it. */
  made: string;
  repositories: RepositoryUsage[];
  quotas: QuotaUsage[];
  total: { repositories: number; bytes: number; unshared: number; tags: number; manifests: number };
  next?: string;
}

export interface Deleted {
  repository: string;
  tag?: string;
  digest: string;
  deleted: string;
  until: string;
  by?: string;
}

export interface DeletedPage {
  deleted: Deleted[];
  damaged: string[];
  next?: string;
}

export interface Undeleted {
  manifests: string[];
  tags: string[];
  /** Tags that were pushed again since, and stay as they are. */
  taken?: string[];
  /** What was deleted or purged by itself, and does not come back. */
  missing?: string[];
}

export interface Purged {
  tags: string[];
  manifests: string[];
  bytes: number;
  remaining: { digest: string; size?: number; why: string }[];
  fault?: string;
}

export interface Mark {
  what: string;
  since: string;
  matches?: boolean;
}

export interface RetentionRule {
  name: string;
  repositories: string[];
  /** What it says, in words. */
  text: string;
}

export interface Waiting {
  repository: string;
  plan: string;
  tags_deleted: number;
  tags: number;
  manifests_deleted: number;
  manifests: number;
}

export interface Retention {
  rules: RetentionRule[];
  interval_seconds: number | null;
  status: {
    began: string | null;
    ended: string | null;
    tags_deleted: number;
    manifests_deleted: number;
    waiting: Waiting[];
    failed: string[];
  };
}

interface Verdict {
  deleted: boolean;
  rule?: string;
  reason: string;
}

export interface Plan {
  repository: string;
  plan: string;
  tags_deleted: number;
  manifests_deleted: number;
  needs_approval: boolean;
  tags: ({ tag: string; digest?: string } & Verdict)[];
  manifests: ({ digest: string } & Verdict)[];
  warnings?: string[];
  /** There are more tags or manifests than are told. */
  more: boolean;
}

export interface Plans {
  plans: Plan[];
  warnings: string[];
  next?: string;
}

export interface Applied {
  repository: string;
  tags_deleted: number;
  manifests_deleted: number;
  /** What changed meanwhile, and stays. */
  changed: string[];
  /** Manifests that stay as long as something deleted can come back. */
  manifests_left: number;
}

export interface User {
  name: string;
  groups: string[];
  administrator: boolean;
  tokens: number;
}

export interface Users {
  users: User[];
  passwords: boolean;
  ldap: boolean;
  oidc: string[];
  next?: string;
}

export interface Rule {
  who: string[];
  repositories: string[];
  actions: string[];
  tags?: string[];
  deny: boolean;
  place: string | null;
}

export interface Rules {
  administrators: string[];
  rules: Rule[];
  groups: { name: string; members: string[] }[];
  without_rules: string;
}

export interface Explained {
  allowed: boolean;
  user: string;
  explanation: string[];
}

export type JobState = 'running' | 'done' | 'failed' | 'interrupted';

export interface Job {
  job: string;
  target: string | null;
  state: JobState;
  by: string;
  began: string;
  ended: string | null;
  progress: { done: number; total: number | null; unit: string; text: string } | null;
  report: Record<string, unknown> | null;
  error: string | null;
}

export interface Mirrored {
  prefix: string;
  repository: string;
  tags: number;
  bytes: number;
}

export interface Sync {
  name: string;
  from: string;
  to: string;
  schedule: string | null;
  state: 'never' | 'running' | 'interrupted' | 'ended';
  began: string | null;
  ended: string | null;
  succeeded: string | null;
  doing: string | null;
  at: { repository: string; tag: string } | null;
  counts: Record<string, number>;
  failures: { repository: string; tag: string | null; reason: string }[];
}

export interface Damaged {
  what: string;
  since: string;
  /** The images that need it, or that it is. */
  needed_by: { repository: string; digest: string; tags: string[] }[];
  problem: string;
  repositories: string[];
  remedy: string;
}

export interface Storage {
  engine: string;
  description: string;
  /** When these were counted, and none of them before that. */
  counted: string | null;
  blobs: number | null;
  repositories: number | null;
  bytes: number | null;
  uploads: number | null;
  disk: { bytes: number; free: number } | null;
  scrub: {
    began: string;
    ended: string | null;
    blobs: number;
    manifests: number;
    bytes: number;
    damaged: number;
  } | null;
  read_only: boolean;
}

export interface Event {
  id: string;
  time: string;
  happening: string;
  repository: string;
  digest: string | null;
  tags: string[];
  media_type: string | null;
  size: number | null;
  by: string;
  /** For administrators. */
  address?: string;
  agent?: string;
}

export interface Events {
  activity: Event[];
  next?: string;
}
