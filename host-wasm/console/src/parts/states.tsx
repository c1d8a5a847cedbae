/** What a page shows in the place of what it is about: while that comes, where there is none, and where it failed. */
import type { ComponentChildren } from 'preact';
import type { Problem } from '../api.js';
import { canSignIn, session } from '../session.js';
import { here, to } from '../route.js';

/** Lines in the place of what comes. They are seen only when it takes a moment. */
export function Coming({ what, rows = 6 }: { what: string; rows?: number }) {
  return (
    <div class="coming" role="status">
      <span class="hidden">Loading {what}…</span>
      {Array.from({ length: rows }, (_, at) => (
        <div key={at} class="bone" />
      ))}
    </div>
  );
}

export function Empty({
  title,
  alone,
  children,
}: {
  title: string;
  /** It is all of the page. */ alone?: boolean;
  children?: ComponentChildren;
}) {
  return (
    <section class="state">
      {alone ? <h1 tabIndex={-1}>{title}</h1> : <h2>{title}</h2>}
      {children}
    </section>
  );
}

/** In the place of what only those see who are signed in. */
export function SignInFirst({
  title,
  without,
  children,
}: {
  title: string;
  /** What is said where there are no users. */ without?: ComponentChildren;
  children?: ComponentChildren;
}) {
  if (!canSignIn())
    return (
      <Empty title="This registry knows no users">
        <p>{without ?? 'Everybody may see and do what its rules allow.'}</p>
      </Empty>
    );
  return (
    <Empty title={title}>
      {children}
      <div class="actions">
        <SignIn />
      </div>
    </Empty>
  );
}

/** Leads to the page to sign in, and from there back. */
const SignIn = () => (
  <a class="button primary" href={to.signIn(here.value)}>
    Sign in
  </a>
);

/** Why something is not shown, and what can be done about it. */
export function Failed({ why, again, what }: { why: Problem; again?: () => void; what: string }) {
  const retry = again && (
    <button type="button" onClick={again}>
      Try again
    </button>
  );
  const signIn = canSignIn() && !session.value?.user && <SignIn />;
  const { status, message, code, retryAfter } = why;
  const isList = what.startsWith('list ');
  const says = message && (
    <p class="muted">
      {code}: {message}
    </p>
  );
  if (status === 0)
    return (
      <section class="state" role="alert">
        <h2>{code === 'PAGE' ? 'The page has failed' : 'The server cannot be reached'}</h2>
        <p>{code === 'PAGE' ? message : 'Look whether you are connected, and whether the registry runs.'}</p>
        <div class="actions">{retry}</div>
      </section>
    );
  if (status === 404)
    return (
      <section class="state" role="alert">
        <h2>There is no such {what}</h2>
        <p>
          It does not exist
          {session.value?.user ? `, or ${session.value.user} may not see it` : ', or you may not see it'}.
        </p>
        <div class="actions">
          {signIn}
          <a class="button" href={to.repositories()}>
            All repositories
          </a>
        </div>
      </section>
    );
  if (status === 401)
    return (
      <section class="state" role="alert">
        <h2>
          Sign in to see {isList ? 'the' : 'this'} {what}
        </h2>
        <p>
          {isList
            ? 'The registry shows it to signed-in users only.'
            : 'There is none, or the registry shows it to signed-in users only.'}
        </p>
        <div class="actions">{signIn || retry}</div>
      </section>
    );
  if (status === 403)
    return (
      <section class="state" role="alert">
        <h2>You may not see this</h2>
        <p>
          The rules of the registry do not let {session.value?.user ?? 'you'} see this {what}.
        </p>
        {says}
        <div class="actions">{signIn}</div>
      </section>
    );
  if (status === 429)
    return (
      <section class="state" role="alert">
        <h2>Too many requests</h2>
        <p>
          The registry limits how much one client asks. Try again {retryAfter ? `in ${retryAfter} s` : 'in a moment'}.
        </p>
        <div class="actions">{retry}</div>
      </section>
    );
  return (
    <section class="state" role="alert">
      <h2>The {what} cannot be shown</h2>
      {says}
      {retryAfter && <p>The registry asks to wait for {retryAfter} s.</p>}
      <div class="actions">{retry}</div>
    </section>
  );
}

/** Why the next page of a list is not there, below those that are. */
export function FailedMore({ why, again }: { why: Problem; again: () => void }) {
  return (
    <p class="note bad" role="alert">
      {why.message}.{' '}
      <button type="button" class="quiet" onClick={again}>
        Try again
      </button>
    </p>
  );
}
