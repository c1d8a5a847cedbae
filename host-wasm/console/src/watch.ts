/** Looks again who is signed in when a tab is come back to, and when a session should be over. */
import { forget } from './api.js';
import { learn, session, signedOut } from './session.js';

/** How long an answer of the server is taken for granted, in ms. */
const FRESH = 60_000;

let asked = Date.now();

async function look(): Promise<void> {
  const before = session.value;
  asked = Date.now();
  await learn();
  if (session.value?.user === before?.user) return;
  // Signed out in another tab, or the time was over; or signed in as somebody else there.
  if (before?.user && !session.value?.user) signedOut();
  forget();
}

export function watch(): void {
  const stale = () => {
    const { expires = null } = session.value ?? {};
    return Date.now() - asked > FRESH || (expires !== null && Date.parse(expires) < Date.now());
  };
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible' && stale()) void look();
  });
  setInterval(() => {
    const { user, expires } = session.value ?? {};
    if (user && expires && Date.parse(expires) < Date.now()) void look();
  }, 30_000);
}
