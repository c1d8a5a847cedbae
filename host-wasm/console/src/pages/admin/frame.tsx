/** What all pages of the administration have: the menu beside them, and that only administrators see them. */
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { SignInFirst } from '../../parts/states.js';
import { SUBJECTS, to } from '../../route.js';
import type { Subject } from '../../route.js';
import { session } from '../../session.js';
import { subjectName } from '../../words.js';

export function Frame({ of, children }: { of: Subject; children: ComponentChildren }) {
  const { user, administrator } = session.value!;
  const menu = useRef<HTMLElement>(null);
  // Where the menu is a line, what is chosen may be beyond its end.
  useEffect(() => {
    const chosen = menu.current?.querySelector<HTMLElement>('[aria-current]');
    if (chosen) chosen.closest('ul')!.scrollLeft = chosen.offsetLeft - 48;
  }, [of]);
  const head = (
    <div class="title">
      <h1 tabIndex={-1}>{subjectName(of)}</h1>
    </div>
  );
  if (!administrator)
    return (
      <>
        {head}
        {user ? (
          <section class="state" role="alert">
            <h2>Only administrators may see this page</h2>
            <p>
              You are signed in as {user}. The setting <code>administrators</code> of the server says who is one.
            </p>
            <div class="actions">
              <a class="button" href={to.repositories()}>
                All repositories
              </a>
            </div>
          </section>
        ) : (
          <SignInFirst
            title="Sign in to see this page"
            without={
              <>
                The administration is for users: the settings <code>auth-htpasswd</code> and <code>administrators</code>{' '}
                name them.
              </>
            }
          >
            <p>Only administrators may see it.</p>
          </SignInFirst>
        )}
      </>
    );
  return (
    <div class="with-side">
      <nav ref={menu} class="side" aria-label="Administration">
        <ul>
          {SUBJECTS.map((subject) => (
            <li key={subject}>
              <a href={to.admin(subject)} aria-current={subject === of ? 'page' : undefined}>
                {subjectName(subject)}
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <div class="beside">
        {head}
        {children}
      </div>
    </div>
  );
}
