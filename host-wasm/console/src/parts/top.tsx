/** The bar at the top: where home is, the search, and who is signed in. */
import { theme } from '../../../parts/stored.js';
import type { Theme } from '../../../parts/stored.js';
import { forget, send } from '../api.js';
import { ROOT, go, here, place, route, to } from '../route.js';
import { canSignIn, learn, session } from '../session.js';
import { tellOthers } from '../watch.js';
import { Icon } from './icons.js';
import { SearchBox } from './search-box.js';
import { tell } from './told.js';

const THEMES: Record<Theme, { next: Theme; icon: 'half' | 'sun' | 'moon'; says: string }> = {
  auto: { next: 'light', icon: 'half', says: 'as the system' },
  light: { next: 'dark', icon: 'sun', says: 'light' },
  dark: { next: 'auto', icon: 'moon', says: 'dark' },
};

export function Top() {
  const { next, icon, says } = THEMES[theme.value];
  const user = session.value?.user;
  return (
    <header class="top">
      <a class="brand" href={to.repositories()} aria-label="Orlop, all repositories">
        <img src={`${ROOT}icon.svg`} alt="" width="26" height="26" />
        <span>Orlop</span>
      </a>
      <SearchBox />
      <nav class="places" aria-label="Main">
        <a href={to.activity()} aria-current={route.value.page === 'activity' ? 'page' : undefined}>
          Activity
        </a>
        {session.value?.administrator && (
          <a href={to.admin('usage')} aria-current={route.value.page === 'admin' ? 'page' : undefined}>
            Administration
          </a>
        )}
      </nav>
      <div class="switches">
        <button
          type="button"
          class="quiet icon plain"
          aria-label={`Theme: ${says}`}
          title={`Theme: ${says}`}
          onClick={() => (theme.value = next)}
        >
          <Icon name={icon} />
        </button>
        {user ? (
          <Menu user={user} />
        ) : (
          canSignIn() && (
            <a class="button" href={to.signIn(here.value)}>
              Sign in
            </a>
          )
        )}
      </div>
    </header>
  );
}

/** What a user has of his own. */
function Menu({ user }: { user: string }) {
  const close = (event: Event) => (event.currentTarget as Element).closest('details')?.removeAttribute('open');
  return (
    <details
      class="menu"
      onKeyDown={(event) => {
        if (event.key !== 'Escape') return;
        event.currentTarget.removeAttribute('open');
        event.currentTarget.querySelector('summary')?.focus();
      }}
      onFocusOut={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node | null))
          event.currentTarget.removeAttribute('open');
      }}
    >
      <summary class="button" aria-label={`Signed in as ${user}`}>
        <Icon name="person" />
        <span class="who">{user}</span>
      </summary>
      <div class="choices">
        <p class="muted">
          Signed in as <strong>{user}</strong>
          {session.value?.administrator && <> · administrator</>}
        </p>
        <a href={to.tokens} onClick={close}>
          API tokens
        </a>
        <a href={to.activity()} onClick={close}>
          Activity
        </a>
        <a href={to.access()} onClick={close}>
          Why not?
        </a>
        {session.value?.administrator && (
          <a href={to.admin('usage')} onClick={close}>
            Administration
          </a>
        )}
        {session.value?.playground && <a href={place('/playground/')}>Playground</a>}
        <button type="button" onClick={() => void signOut()}>
          Sign out
        </button>
      </div>
    </details>
  );
}

async function signOut(): Promise<void> {
  try {
    await send('/api/v1/session', { method: 'DELETE' });
  } catch (error) {
    tell(`You are still signed in: ${(error as Error).message}.`, true);
    return;
  }
  await learn();
  tellOthers();
  forget();
  go(to.repositories());
  tell('You are signed out');
}
