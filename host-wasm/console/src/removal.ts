/** Deletes many tags, some at a time, as fast as the server lets; and where what was deleted can be got back. */
import { Problem, ask, problem, send } from './api.js';
import { to } from './route.js';

/** How many requests are under way at once. */
const AT_ONCE = 6;
/** How often a tag is tried again that the server had no time for. */
const TRIES = 5;

export interface Progress {
  total: number;
  deleted: number;
  /** Why some are still there. */
  failed: { name: string; why: Problem }[];
}

/** All tags of a repository that have this in their names, whatever its case: names only, a thousand at a time. */
export async function tagsWith(repository: string, part: string, signal: AbortSignal): Promise<string[]> {
  const [names, wanted] = [[] as string[], part.toLowerCase()];
  let last = '';
  for (;;) {
    const page = await ask<{ tags: string[] | null }>(
      `/v2/${repository}/tags/list?${new URLSearchParams({ n: '1000', ...(last && { last }) })}`,
      { signal },
    );
    const tags = page.tags ?? [];
    names.push(...tags.filter((tag) => tag.toLowerCase().includes(wanted)));
    if (tags.length < 1000) return names;
    last = tags.at(-1)!;
  }
}

/** What makes a request count only where a tag still names what was looked at. */
export const ifStill = (digest: string) => ({ 'If-Match': `"${digest}"` });

/**
 * Deletes tags: those of which it is `known` what they name only while they still do. What is under way when it is
 * stopped is not taken back.
 */
export async function remove(
  repository: string,
  tags: readonly string[],
  known: ReadonlyMap<string, string>,
  told: (progress: Progress) => void,
  stop: AbortSignal,
): Promise<Progress> {
  const progress: Progress = { total: tags.length, deleted: 0, failed: [] };
  const left = tags.values();
  const one = async (name: string) => {
    const digest = known.get(name);
    for (let tries = 1; ; tries++) {
      try {
        await send(`/v2/${repository}/manifests/${name}`, {
          method: 'DELETE',
          ...(digest && { headers: ifStill(digest) }),
        });
        progress.deleted++;
        return;
      } catch (error) {
        const why = problem(error);
        // Somebody else was faster.
        if (why.status === 404) {
          progress.deleted++;
          return;
        }
        const later = why.status === 429 || why.status === 503;
        if (!later || tries === TRIES || stop.aborted) {
          progress.failed.push({ name, why });
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, (why.retryAfter ?? tries) * 1000));
      }
    }
  };
  const worker = async () => {
    for (const name of left) {
      if (stop.aborted) return;
      await one(name);
      told({ ...progress });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return progress;
}

/** Where what was just deleted in a repository can be got back, if it can. */
export async function recoverable(repository: string): Promise<{ href: string; text: string } | undefined> {
  try {
    const { deleted } = await ask<{ deleted: unknown[] }>(
      `/api/v1/deleted?${new URLSearchParams({ repository, n: '1' })}`,
    );
    return deleted.length > 0 ? { href: to.deleted(repository), text: 'Undelete' } : undefined;
  } catch {
    // It was deleted all the same.
    return undefined;
  }
}
