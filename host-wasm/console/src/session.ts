/** Who is signed in. */
import { signal } from '@preact/signals';
import type { Session } from './answers.js';
import { place } from './route.js';

const NOBODY: Session = {
  user: null,
  administrator: false,
  groups: [],
  csrf: null,
  expires: null,
  version: '',
  sign_in: { password: false, oidc: [] },
  playground: false,
  read_only: false,
  anonymous_pull: true,
};

/** What the server says of it; nothing until it has said something. */
export const session = signal<Session | undefined>(undefined);
/** Somebody was signed in, and the server does not know that any more. */
export const expired = signal(false);

/** Whether one can sign in at all. */
export const canSignIn = () => {
  const { password, oidc } = session.value?.sign_in ?? NOBODY.sign_in;
  return password || oidc.length > 0;
};

/** Whether the server takes changes at all. */
export const canChange = () => !session.value?.read_only;

/** Asks the server who is signed in. */
export async function learn(): Promise<void> {
  try {
    const response = await fetch(place('/api/v1/session'), { cache: 'no-store' });
    if (response.ok) session.value = (await response.json()) as Session;
  } catch {
    // The pages say that the server cannot be reached.
  }
  session.value ??= NOBODY;
  if (session.value.user) expired.value = false;
}

/** The session has ended, without the user having ended it. */
export function signedOut(): void {
  const { sign_in, version, playground, read_only, anonymous_pull } = session.value ?? NOBODY;
  session.value = { ...NOBODY, sign_in, version, playground, read_only, anonymous_pull };
  expired.value = true;
}
