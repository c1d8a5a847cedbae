import { useEffect, useRef } from 'preact/hooks';
import { Asking } from '../../parts/ask.js';
import { Compare } from './pages/compare.js';
import { Image } from './pages/image.js';
import { Later } from './pages/later.js';
import { Missing } from './pages/missing.js';
import { Repositories } from './pages/repositories.js';
import { Search } from './pages/search.js';
import { SignIn, SignedOut } from './pages/sign-in.js';
import { Tags } from './pages/tags.js';
import { Tokens } from './pages/tokens.js';
import { Top } from './parts/top.js';
import { notice } from './parts/told.js';
import { Coming } from './parts/states.js';
import { here, place as placeAt, route, to } from './route.js';
import type { Route } from './route.js';
import { canChange, expired, session } from './session.js';
import { subjectName } from './words.js';

export function App() {
  const now = route.value;
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  const place = placeOf(now);
  useEffect(() => {
    document.title = `${titleOf(now)} · Orlop`;
  });
  useEffect(() => {
    // Whoever goes to another page by the keyboard goes on from its heading, also when that comes later, or anew.
    if (first.current) {
      first.current = false;
      return;
    }
    const focus = () => {
      const heading = main.current?.querySelector<HTMLElement>('h1');
      heading?.focus({ preventScroll: true });
      return heading != null;
    };
    let focused = focus();
    const changes = new MutationObserver(() => {
      if (!focused || document.activeElement === document.body) focused = focus();
    });
    changes.observe(main.current!, { childList: true, subtree: true });
    const stop = () => changes.disconnect();
    for (const event of ['keydown', 'pointerdown']) addEventListener(event, stop, { once: true });
    return () => {
      stop();
      for (const event of ['keydown', 'pointerdown']) removeEventListener(event, stop);
    };
  }, [place]);
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.querySelector<HTMLElement>('h1')?.focus();
        }}
      >
        Skip to the content
      </a>
      <Top />
      {expired.value && now.page !== 'sign-in' && (
        <div class="bar" role="alert">
          <p>
            Your session is over. <a href={to.signIn(here.value)}>Sign in again</a>
          </p>
          <button type="button" class="quiet icon" aria-label="Close" onClick={() => (expired.value = false)}>
            ×
          </button>
        </div>
      )}
      {session.value && !canChange() && (
        <section class="bar quiet-bar" aria-label="Read-only">
          <p>The server is read-only: nothing can be changed.</p>
        </section>
      )}
      <main id="main" ref={main}>
        {session.value ? <Page key={place} of={now} /> : <Coming what="the page" />}
      </main>
      <Foot />
      <Asking />
      <div class="notices" aria-live="polite">
        {notice.value && (
          <p class={notice.value.bad ? 'notice bad' : 'notice'}>
            {notice.value.text}{' '}
            {notice.value.onward && (
              <a href={notice.value.onward.href} onClick={() => (notice.value = undefined)}>
                {notice.value.onward.text}
              </a>
            )}{' '}
            <button type="button" class="quiet icon" aria-label="Close" onClick={() => (notice.value = undefined)}>
              ×
            </button>
          </p>
        )}
      </div>
    </>
  );
}

/** What this is, and what else is here. */
function Foot() {
  const now = session.value;
  if (!now) return null;
  return (
    <footer>
      <span>Orlop {now.version}</span>
      <a href={placeAt('/api/v1/openapi.yaml')} target="_blank">
        API
      </a>
      <a href={to.activity()}>Activity</a>
      {now.playground && <a href={placeAt('/playground/')}>Playground</a>}
    </footer>
  );
}

function Page({ of }: { of: Route }) {
  switch (of.page) {
    case 'repositories':
      return <Repositories of={of} />;
    case 'tags':
      return <Tags of={of} />;
    case 'image':
      return <Image of={of} />;
    case 'compare':
      return <Compare of={of} />;
    case 'search':
      return <Search of={of} />;
    case 'tokens':
      return <Tokens />;
    case 'admin':
    case 'deleted':
    case 'activity':
    case 'access':
      return <Later of={of} />;
    case 'sign-in':
      return <SignIn of={of} />;
    case 'signed-out':
      return <SignedOut of={of} />;
    case 'missing':
      return <Missing />;
  }
}

/** What makes a page another one: what is filtered, sorted and chosen on it does not. */
function placeOf(of: Route): string {
  switch (of.page) {
    case 'repositories':
      return `repositories ${of.under}`;
    case 'tags':
    case 'compare':
      return `${of.page} ${of.repository}`;
    case 'admin':
      return `admin ${of.of}`;
    case 'deleted':
      return `deleted ${of.repository}`;
    case 'activity':
      return of.within ? `activity ${of.of.repository}` : 'activity';
    case 'image':
      return `image ${of.repository} ${of.reference}`;
    default:
      return of.page;
  }
}

function titleOf(of: Route): string {
  switch (of.page) {
    case 'repositories':
      return of.under || 'Repositories';
    case 'tags':
      return of.repository;
    case 'image':
      return `${of.repository}${of.reference.includes(':') ? '@' : ':'}${of.reference}`;
    case 'compare':
      return `Compare · ${of.repository}`;
    case 'search':
      return of.q ? `${of.q} · Search` : 'Search';
    case 'tokens':
      return 'Tokens';
    case 'admin':
      return subjectName(of.of);
    case 'deleted':
      return `Deleted · ${of.repository}`;
    case 'activity':
      return of.within ? `Activity · ${of.of.repository}` : 'Activity';
    case 'access':
      return 'Why not?';
    case 'sign-in':
      return 'Sign in';
    case 'signed-out':
      return 'Signed out';
    case 'missing':
      return 'Not found';
  }
}
