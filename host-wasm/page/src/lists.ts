/** Lists of the server, page by page. */
import { problemOf } from './server.js';
import type { Server } from './server.js';

/** One page of a list. */
export interface Page {
  names: string[];
  /** Where the next one is, if there is one. */
  next?: string;
}

/** The server wants to know who asks. */
export class SignInNeeded extends Error {}

/** Gets a page of a list: `field` of its answer, and `Link`. */
export async function listed(server: Server, target: string, field: 'repositories' | 'tags'): Promise<Page> {
  const response = await server.fetch(target);
  if (response.status === 401) throw new SignInNeeded(await problemOf(response));
  if (!response.ok) throw new Error(await problemOf(response));
  const names = ((await response.json()) as Record<string, string[] | null>)[field] ?? [];
  const link = /<([^>]+)>\s*;\s*rel="?next"?/.exec(response.headers.get('Link') ?? '')?.[1];
  if (!link) return { names };
  const next = new URL(link, new URL(target, location.origin));
  // A server behind a proxy may call itself by another address: it is asked at this one.
  return { names, next: next.pathname + next.search };
}
