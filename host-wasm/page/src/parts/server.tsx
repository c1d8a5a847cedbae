/** What the page says about the server that it acts on, and how the user signs in. */
import { signal } from '@preact/signals';
import { useId, useState } from 'preact/hooks';
import { SERVER, server, signIn, signInNeeded, signOut } from '../state.js';
import type { SignIn } from '../server.js';

const open = signal(false);

/** Says that what is done here is done on the server, and as whom. */
export function ServerBar() {
  const { how } = server.value.signIn;
  const signedIn = how !== 'none';
  return (
    <section class="note server" aria-label="The server">
      <p class="line">
        <span>
          Requests go to the server <strong>{SERVER}</strong>. What you push or delete there is real.
        </span>
        <span class={signInNeeded.value && !signedIn ? '' : 'muted'}>{whoIs(server.value.signIn)}</span>
        {signedIn ? (
          <button type="button" class="quiet" onClick={() => void signOut()}>
            Sign out
          </button>
        ) : (
          <button type="button" class="quiet" aria-expanded={open.value} onClick={() => (open.value = !open.value)}>
            Sign in
          </button>
        )}
      </p>
      {open.value && !signedIn && <SignInForm />}
    </section>
  );
}

function whoIs(given: SignIn): string {
  switch (given.how) {
    case 'none':
      return signInNeeded.value ? 'This server asks you to sign in.' : 'You are not signed in.';
    case 'password':
      return `Signed in as ${given.user}.`;
    case 'token':
      return 'Signed in with a token.';
    case 'browser':
      return 'With the credentials that the browser keeps.';
  }
}

/** Asks for a user name and password, a token, or what the browser has. */
export function SignInForm({ then }: { then?: () => void }) {
  const id = useId();
  const [how, setHow] = useState<Exclude<SignIn['how'], 'none'>>('password');
  const [user, setUser] = useState('');
  const [password, setPassword] = useState('');
  const [token, setToken] = useState('');
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState<string>();
  const submit = async () => {
    setBusy(true);
    setWrong(undefined);
    const given: SignIn =
      how === 'password' ? { how, user, password } : how === 'token' ? { how, token: token.trim() } : { how };
    const problem = await signIn(given);
    setBusy(false);
    if (problem) {
      setWrong(problem);
      return;
    }
    open.value = false;
    then?.();
  };
  return (
    <form
      class="sign-in"
      aria-label="Sign in"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <div class="tabs" role="group" aria-label="How to sign in">
        {(
          [
            ['password', 'Password'],
            ['token', 'Token'],
            ['browser', 'Browser'],
          ] as const
        ).map(([value, label]) => (
          <button
            type="button"
            key={value}
            class={how === value ? 'chosen' : ''}
            aria-pressed={how === value}
            onClick={() => {
              setHow(value);
              setWrong(undefined);
            }}
          >
            {label}
          </button>
        ))}
      </div>
      <div class="grid">
        {how === 'password' && (
          <>
            <div class="field">
              <label for={`${id}-user`}>User name</label>
              <input
                id={`${id}-user`}
                value={user}
                required
                autocomplete="username"
                autocapitalize="none"
                spellcheck={false}
                onInput={(event) => setUser(event.currentTarget.value)}
              />
            </div>
            <div class="field">
              <label for={`${id}-password`}>Password</label>
              <input
                id={`${id}-password`}
                type="password"
                value={password}
                required
                autocomplete="current-password"
                onInput={(event) => setPassword(event.currentTarget.value)}
              />
            </div>
          </>
        )}
        {how === 'token' && (
          <div class="field">
            <label for={`${id}-token`}>Token</label>
            <input
              id={`${id}-token`}
              type="password"
              value={token}
              required
              autocomplete="off"
              onInput={(event) => setToken(event.currentTarget.value)}
            />
          </div>
        )}
      </div>
      {how === 'browser' && (
        <p>
          Uses what the browser has for this site: a client certificate, a cookie of a login page, or a password that it
          asks for in a dialog of its own.
        </p>
      )}
      {wrong && (
        <p class="note bad" role="alert">
          The sign-in failed: {wrong}.
        </p>
      )}
      <div class="actions">
        <button type="submit" class="primary" disabled={busy}>
          {busy ? 'Signing in…' : 'Sign in'}
        </button>
        {how !== 'browser' && <span class="muted">Kept in the memory of this tab until you close or reload it.</span>}
      </div>
    </form>
  );
}
