import { useEffect, useRef, useState } from 'preact/hooks';
import type { Session } from '../answers.js';
import { forget, problem, send } from '../api.js';
import { Empty } from '../parts/states.js';
import { go, place, to } from '../route.js';
import type { Route } from '../route.js';
import { expired, session } from '../session.js';
import { tellOthers } from '../watch.js';

export function SignIn({ of: { to: back } }: { of: Extract<Route, { page: 'sign-in' }> }) {
  const [user, putUser] = useState('');
  const [password, putPassword] = useState('');
  const [busy, putBusy] = useState(false);
  const [wrong, putWrong] = useState<string>();
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => first.current?.focus(), []);
  const { sign_in, user: now } = session.value!;
  if (now)
    return (
      <Empty title={`You are signed in as ${now}`} alone>
        <div class="actions">
          <a class="button primary" href={back}>
            Go on
          </a>
        </div>
      </Empty>
    );
  const submit = async () => {
    putBusy(true);
    putWrong(undefined);
    try {
      const response = await send('/api/v1/session', { method: 'POST', json: { user, password } });
      session.value = (await response.json()) as Session;
      expired.value = false;
      tellOthers();
      forget();
      go(back, { replace: true });
    } catch (error) {
      const why = problem(error);
      putBusy(false);
      if (why.status === 429)
        putWrong(`Too many wrong tries. Wait ${why.retryAfter ? `${why.retryAfter} s` : 'a moment'} and try again`);
      else if (why.status === 401) putWrong('The user name or the password is wrong');
      else putWrong(why.message);
      putPassword('');
    }
  };
  return (
    <section class="card sign-in">
      <h1 tabIndex={-1}>Sign in</h1>
      <p class="muted">to the registry {location.host}</p>
      {sign_in.oidc.map(({ name, title }) => (
        // Not a page of the console: the server sends the browser on.
        <a
          key={name}
          class="button wide-button"
          target="_self"
          href={place(`/api/v1/session/oidc/${encodeURIComponent(name)}?${new URLSearchParams({ to: back })}`)}
        >
          Sign in with {title}
        </a>
      ))}
      {sign_in.oidc.length > 0 && sign_in.password && <p class="or muted">or</p>}
      {sign_in.password && (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void submit();
          }}
        >
          <div class="field">
            <label for="user">User name</label>
            <input
              id="user"
              ref={first}
              value={user}
              required
              autocomplete="username"
              autocapitalize="none"
              spellcheck={false}
              onInput={(event) => putUser(event.currentTarget.value)}
            />
          </div>
          <div class="field">
            <label for="password">Password</label>
            <input
              id="password"
              type="password"
              value={password}
              required
              autocomplete="current-password"
              onInput={(event) => putPassword(event.currentTarget.value)}
            />
          </div>
          {wrong && (
            <p class="note bad" role="alert">
              {wrong}.
            </p>
          )}
          <button type="submit" class="primary wide-button" disabled={busy}>
            {busy ? 'Signing in…' : 'Sign in'}
          </button>
        </form>
      )}
      {!sign_in.password && sign_in.oidc.length === 0 && (
        <p>This registry knows no users. Everybody may see and do what its rules allow.</p>
      )}
    </section>
  );
}

/** Why a sign-in with another service did not work, by the code that the server gives. */
const WHY: Record<string, string> = {
  denied: 'The service did not let you in',
  expired: 'The sign-in took too long, or was begun in another browser. Begin again',
  provider: 'The service did not answer, or not as it should. Try again in a moment',
  busy: 'Too many sign-ins are under way. Try again in a moment',
  failed: 'The registry could not finish the sign-in. Its log says why',
  'not-allowed': 'The service knows you, but you may not use this registry',
};

export function SignedOut({ of: { error } }: { of: Extract<Route, { page: 'signed-out' }> }) {
  const known = Object.hasOwn(WHY, error) ? WHY[error] : undefined;
  return (
    <section class="state" role={error ? 'alert' : undefined}>
      <h1 tabIndex={-1}>{error ? 'You are not signed in' : 'You are signed out'}</h1>
      {error && <p>{known ?? 'The sign-in with the other service did not work'}.</p>}
      {error && !known && /^[\w-]{1,40}$/.test(error) && <p class="muted">{error}</p>}
      <div class="actions">
        <a class="button primary" href={to.signIn()}>
          Sign in
        </a>
        <a class="button" href={to.repositories()}>
          All repositories
        </a>
      </div>
    </section>
  );
}
