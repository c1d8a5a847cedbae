/** Where the page is: every state that somebody may want to come back to, or to send to somebody, is a URL. */
import { signal } from '@preact/signals';

export type TagSort = 'name' | 'pushed' | 'pulled' | 'pulls' | 'size';
export type RepositorySort = 'name' | 'bytes' | 'pushed';
export type Order = 'asc' | 'desc';

/** What is shown of an image. */
export type View = 'config' | 'layers' | 'files' | 'referrers' | 'annotations' | 'manifest';

/** What an administrator sees, in the order of the menu. */
export const SUBJECTS = [
  'usage',
  'storage',
  'deleted',
  'protected',
  'retention',
  'mirrors',
  'syncs',
  'users',
  'rules',
] as const;
export type Subject = (typeof SUBJECTS)[number];

export type Route =
  | { page: 'repositories'; under: string; q: string; sort: RepositorySort; order: Order; flat: boolean }
  | { page: 'tags'; repository: string; q: string; sort: TagSort; order: Order; after: string; at: number }
  | { page: 'image'; repository: string; reference: string; platform: string; view: View | '' }
  | { page: 'compare'; repository: string; a: string; b: string; platform: string }
  | { page: 'search'; q: string }
  | { page: 'tokens' }
  | { page: 'admin'; of: Subject; repository: string; sort: string }
  | { page: 'deleted'; repository: string }
  | { page: 'activity'; of: Wanted; /** It is a page of that repository. */ within: boolean }
  | { page: 'access'; of: Asked }
  | { page: 'sign-in'; to: string }
  | { page: 'signed-out'; error: string }
  | { page: 'missing' };

/** Which events are shown. */
export interface Wanted {
  repository: string;
  user: string;
  happening: string;
  /** Days, such as 2026-01-31. */
  from: string;
  until: string;
}

/** What is asked of the rules. */
export interface Asked {
  user: string;
  groups: string;
  repository: string;
  action: string;
  tag: string;
}

/** Where the console is: above its script, also behind a proxy that has it below a path of its own. */
export const ROOT = /^https?:/.test(import.meta.url) ? new URL('..', import.meta.url).pathname : '/console/';
/** Where the server is that it belongs to. */
const SERVER = ROOT.replace(/console\/$/, '');

/** The place on the server for a path of its API or of `/v2/`, also for one that the server has told. */
export function place(path: string): string {
  return SERVER + path.replace(/^.*?\/(?=(?:api\/v1|v2|playground)\/)/, '');
}

const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const REFERENCE = /^(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;
const VIEWS: readonly string[] = ['config', 'layers', 'files', 'referrers', 'annotations', 'manifest'];

export const isRepository = (text: string) => text.length <= 255 && REPOSITORY.test(text);
export const isReference = (text: string) => REFERENCE.test(text);
export const isDigest = (text: string) => isReference(text) && text.includes(':');

function one<T extends string>(text: string | null, allowed: readonly T[], standard: T): T {
  return allowed.find((word) => word === text) ?? standard;
}

/** Reads a URL of this server. */
export function read(url: URL): Route {
  let path: string;
  try {
    path = decodeURIComponent(url.pathname);
  } catch {
    return { page: 'missing' };
  }
  if (!path.startsWith(ROOT)) return { page: 'missing' };
  const rest = path.slice(ROOT.length);
  const given = (name: string) => url.searchParams.get(name) ?? '';
  const order = one(given('order'), ['asc', 'desc'] as const, 'asc');
  if (rest === '') {
    const sort = one(given('sort'), ['name', 'bytes', 'pushed'] as const, 'name');
    const under = given('under').replace(/\/+$/, '');
    return { page: 'repositories', under, q: given('q'), sort, order, flat: given('view') === 'all' };
  }
  if (rest.startsWith('r/')) return ofRepository(rest.slice(2), given, order);
  const subject = SUBJECTS.find((one) => rest === `admin/${one}`);
  if (subject) return { page: 'admin', of: subject, repository: given('repository'), sort: given('sort') };
  switch (rest) {
    case 'admin':
    case 'admin/':
      return { page: 'admin', of: 'usage', repository: '', sort: '' };
    case 'activity':
      return { page: 'activity', of: wanted(given, given('repository')), within: false };
    case 'access':
      return {
        page: 'access',
        of: {
          user: given('user'),
          groups: given('groups'),
          repository: given('repository'),
          action: given('action'),
          tag: given('tag'),
        },
      };
    case 'search':
      return { page: 'search', q: given('q') };
    case 'tokens':
      return { page: 'tokens' };
    case 'sign-in':
      return { page: 'sign-in', to: within(given('to')) };
    case 'signed-out':
      return { page: 'signed-out', error: given('error') };
  }
  return { page: 'missing' };
}

function ofRepository(rest: string, given: (name: string) => string, order: Order): Route {
  const [repository = '', below] = rest.replace(/\/$/, '').split('/-/') as [string, string?];
  if (!isRepository(repository)) return { page: 'missing' };
  if (below === undefined) {
    const sort = one(given('sort'), ['name', 'pushed', 'pulled', 'pulls', 'size'] as const, 'name');
    const at = Math.max(0, Number.parseInt(given('at'), 10) || 0);
    return { page: 'tags', repository, q: given('q'), sort, order, after: given('after'), at };
  }
  if (below === 'compare')
    return { page: 'compare', repository, a: given('a'), b: given('b'), platform: given('platform') };
  if (below === 'activity') return { page: 'activity', of: wanted(given, repository), within: true };
  if (below === 'deleted') return { page: 'deleted', repository };
  const reference = below.startsWith('i/') ? below.slice(2) : '';
  if (!isReference(reference)) return { page: 'missing' };
  const view = VIEWS.includes(given('view')) ? (given('view') as View) : '';
  return { page: 'image', repository, reference, platform: given('platform'), view };
}

function wanted(given: (name: string) => string, repository: string): Wanted {
  const day = (name: string) => (/^\d{4}-\d\d-\d\d$/.test(given(name)) ? given(name) : '');
  return { repository, user: given('user'), happening: given('happening'), from: day('from'), until: day('until') };
}

/** Where to go after a sign-in: into the console, and nowhere else. */
export function within(to: string): string {
  try {
    const url = new URL(to, 'https://x.invalid');
    const { origin, pathname } = url;
    const inside = origin === 'https://x.invalid' && to.startsWith(ROOT) && pathname.startsWith(ROOT);
    return inside && !/\/(sign-in|signed-out)$/.test(pathname) ? pathname + url.search + url.hash : ROOT;
  } catch {
    return ROOT;
  }
}

/** Parameters in a URL, without those that say nothing; nothing at all if none is left. */
function query(parameters: Record<string, string | number | boolean | undefined>): string {
  const said = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== '' && value !== false);
  const text = new URLSearchParams(said.map(([name, value]) => [name, String(value)])).toString();
  return text && `?${text}`;
}

const unless = <T>(value: T, standard: T) => (value === standard ? undefined : value);

/** The URLs of pages. */
export const to = {
  repositories: (
    given: { under?: string; q?: string; sort?: RepositorySort; order?: Order; flat?: boolean } = {},
  ): string => {
    const { under, q, sort = 'name', order = 'asc', flat = false } = given;
    return `${ROOT}${query({ under, q, sort: unless(sort, 'name'), order: unless(order, 'asc'), view: flat ? 'all' : '' })}`;
  },
  tags: (
    repository: string,
    given: { q?: string; sort?: TagSort; order?: Order; after?: string; at?: number } = {},
  ): string => {
    const { q, sort = 'name', order = 'asc', after, at = 0 } = given;
    const said = { q, sort: unless(sort, 'name'), order: unless(order, 'asc'), after, at: unless(at, 0) };
    return `${ROOT}r/${repository}${query(said)}`;
  },
  image: (repository: string, reference: string, given: { platform?: string; view?: View | '' } = {}): string =>
    `${ROOT}r/${repository}/-/i/${reference}${query({ ...given })}`,
  compare: (repository: string, given: { a?: string; b?: string; platform?: string } = {}): string =>
    `${ROOT}r/${repository}/-/compare${query({ ...given })}`,
  search: (q: string): string => `${ROOT}search${query({ q })}`,
  tokens: `${ROOT}tokens`,
  admin: (of: Subject, given: { repository?: string; sort?: string } = {}): string =>
    `${ROOT}admin/${of}${query({ ...given })}`,
  deleted: (repository: string): string => `${ROOT}r/${repository}/-/deleted`,
  activity: (given: Partial<Wanted> = {}): string => `${ROOT}activity${query({ ...given })}`,
  activityOf: (repository: string, given: Partial<Wanted> = {}): string =>
    `${ROOT}r/${repository}/-/activity${query({ ...given, repository: undefined })}`,
  access: (given: Partial<Asked> = {}): string => `${ROOT}access${query({ ...given })}`,
  signIn: (back?: string): string => `${ROOT}sign-in${query({ to: unless(back, ROOT) })}`,
};

/** Where the page is now. */
export const route = signal<Route>({ page: 'missing' });
/** The same as a URL, without the host. */
export const here = signal('');

function look(): void {
  here.value = location.pathname + location.search;
  route.value = read(new URL(location.href));
}

/** Goes to another page; `replace` leaves nothing to come back to, `state` is what the page will know of how it was reached. */
export function go(url: string, how: { replace?: boolean; state?: object } = {}): void {
  remember();
  if (how.replace) history.replaceState(null, '', url);
  else history.pushState(how.state ?? null, '', url);
  look();
  if (!how.replace) scrollTo(0, 0);
}

/** Notes how far down the page is, to be there again when the user comes back. */
function remember(): void {
  history.replaceState({ ...history.state, y: scrollY }, '');
}

/** Follows links and the buttons of the browser. */
export function follow(): void {
  history.scrollRestoration = 'manual';
  look();
  addEventListener('popstate', () => {
    look();
    const { y = 0 } = (history.state ?? {}) as { y?: number };
    // Once what is known already is shown.
    requestAnimationFrame(() => requestAnimationFrame(() => scrollTo(0, y)));
  });
  addEventListener('pagehide', remember);
  document.addEventListener('click', (event) => {
    const link = (event.target as Element | null)?.closest('a');
    if (!link || event.defaultPrevented || event.button !== 0 || link.target || link.hasAttribute('download')) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.origin !== location.origin || !link.pathname.startsWith(ROOT)) return;
    if (link.hash && link.pathname === location.pathname && link.search === location.search) return;
    event.preventDefault();
    go(link.pathname + link.search + link.hash);
  });
}
