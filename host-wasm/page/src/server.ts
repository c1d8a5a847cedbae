/**
 * The registry at this origin: how requests reach it, and how the page signs in.
 *
 * Requests pass by the service worker (`orlop-target`). They carry no credentials of the browser unless the user asks
 * for that: a browser would answer a 401 with a dialog of its own, which the page can neither explain nor undo.
 */

/** How the page signs in. What was typed is kept in memory only. */
export type SignIn =
  | { how: 'none' }
  | { how: 'password'; user: string; password: string }
  | { how: 'token'; token: string }
  /** With what the browser has for this origin: a client certificate, a cookie, its own password dialog. */
  | { how: 'browser' };

/** A challenge of `WWW-Authenticate`. */
interface Challenge {
  scheme: string;
  parameters: Record<string, string>;
}

/** The header by which a request passes by the service worker. */
const PAST: [string, string] = ['orlop-target', 'server'];

export class Server {
  /** Tokens that the token endpoint gave, by what they were asked for. */
  private readonly tokens = new Map<string, string>();

  constructor(readonly signIn: SignIn = { how: 'none' }) {}

  /** Sends a request. Where the server asks for a token and the user gave a password, gets the token first. */
  async fetch(
    target: string,
    init: { method?: string; headers?: [string, string][]; body?: BodyInit | null } = {},
  ): Promise<Response> {
    const kind = kindOf(init.method ?? 'GET', target);
    const response = await this.once(target, init, this.tokens.get(kind) ?? this.authorization());
    if (response.status !== 401 || this.signIn.how !== 'password') return response;
    const bearer = challengesOf(response).find(({ scheme }) => scheme === 'bearer');
    if (!bearer) return response;
    const token = `Bearer ${await this.token(bearer, this.signIn.user)}`;
    this.tokens.set(kind, token);
    return this.once(target, init, token);
  }

  private once(
    target: string,
    init: { method?: string; headers?: [string, string][]; body?: BodyInit | null },
    authorization: string | undefined,
  ): Promise<Response> {
    const given = init.headers ?? [];
    const named = given.some(([name]) => name.toLowerCase() === 'authorization');
    return fetch(target, {
      method: init.method ?? 'GET',
      headers: [...given, ...(authorization && !named ? [['Authorization', authorization] as const] : []), PAST] as [
        string,
        string,
      ][],
      body: init.body ?? null,
      cache: 'no-store',
      credentials: this.signIn.how === 'browser' ? 'same-origin' : 'omit',
    });
  }

  private authorization(): string | undefined {
    switch (this.signIn.how) {
      case 'password':
        return basic(this.signIn.user, this.signIn.password);
      case 'token':
        return `Bearer ${this.signIn.token}`;
      default:
        return undefined;
    }
  }

  /** Asks the token endpoint of a challenge (Docker token authentication). */
  private async token({ parameters }: Challenge, account: string): Promise<string> {
    if (!parameters['realm']) throw new Error('the server asks for a token, but does not say where to get one');
    const url = new URL(parameters['realm'], location.origin);
    if (url.origin !== location.origin) {
      throw new Error(
        `the server sends clients to ${url.origin} for a token, and this page may only talk to ${location.origin}; get a token there and sign in with it`,
      );
    }
    if (parameters['service']) url.searchParams.set('service', parameters['service']);
    for (const scope of (parameters['scope'] ?? '').split(' ').filter(Boolean)) url.searchParams.append('scope', scope);
    url.searchParams.set('account', account);
    const answer = await this.once(url.href, {}, this.authorization());
    if (!answer.ok) throw new Error(await problemOf(answer));
    const given = (await answer.json()) as { token?: string; access_token?: string };
    const token = given.token ?? given.access_token;
    if (!token) throw new Error('the token endpoint answered without a token');
    return token;
  }
}

function basic(user: string, password: string): string {
  const bytes = new TextEncoder().encode(`${user}:${password}`);
  return `Basic ${btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))}`;
}

/** Requests of one kind need the same rights, so one token serves them: what is done, and to which repositories. */
function kindOf(method: string, target: string): string {
  const action = ['GET', 'HEAD'].includes(method) ? 'pull' : method === 'DELETE' ? 'delete' : 'push';
  const url = new URL(target, location.origin);
  const repository = /^\/v2\/(.*)\/(?:blobs|manifests|tags|referrers)\//.exec(url.pathname)?.[1] ?? url.pathname;
  return `${action} ${repository} ${url.searchParams.get('from') ?? ''}`;
}

/** The challenges of a 401 (RFC 9110, 11.6.1). Browsers join several fields by commas. */
export function challengesOf(response: Response): Challenge[] {
  const challenges: Challenge[] = [];
  const words = /([\w!#$%&'*+.^`|~-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?/g;
  for (const [, word, quoted, bare] of (response.headers.get('WWW-Authenticate') ?? '').matchAll(words)) {
    const value = quoted?.replace(/\\(.)/g, '$1') ?? bare;
    if (value === undefined) challenges.push({ scheme: word!.toLowerCase(), parameters: {} });
    else if (challenges.length > 0) challenges.at(-1)!.parameters[word!.toLowerCase()] = value;
  }
  return challenges;
}

/** Whether an answer to `GET /v2/` is that of a registry. A proxy may have written the field a second time. */
export function isRegistry(response: Response): boolean {
  const versions = (response.headers.get('Docker-Distribution-API-Version') ?? '').split(',');
  return versions.some((version) => version.trim() === 'registry/2.0');
}

/** What a refusal says: status, codes and messages. */
export async function problemOf(response: Response): Promise<string> {
  const status = `${response.status}${response.statusText ? ` ${response.statusText}` : ''}`;
  const wait = response.headers.get('Retry-After');
  const again = wait && /^\d+$/.test(wait) ? `; try again in ${wait} s` : '';
  try {
    const { errors } = (await response.json()) as { errors: { code: string; message?: string }[] };
    const told = errors.map(({ code, message }) => (message ? `${code}, ${message}` : code));
    return `${status}: ${told.join('; ')}${again}`;
  } catch {
    return `${status}${again}`;
  }
}
