/** Looks again who is signed in when a tab is come back to, and when a session should be over. */
import { forget } from './api.js';
import { learn, session, signedOut } from './session.js';

/** How long an answer of the server is taken for granted, in ms. */
const FRESH = 60_000;

/** What changes in the memory of the browser when somebody signs in or out, so that other tabs notice. */
const CHANGED = 'orlop-signed';

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

/** Tells the other tabs that somebody has signed in or out. */
export function tellOthers(): void {
  try {
    localStorage.setItem(CHANGED, String(Date.now()));
  } catch {
    // They notice when they are come back to.
  }
}

export function watch(): void {
  addEventListener('storage', ({ key }) => {
    if (key === CHANGED) void look();
  });
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
