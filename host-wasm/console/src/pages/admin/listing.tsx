/** A list that grows page by page, in each of its states. */
import type { ComponentChildren } from 'preact';
import type { Pages } from '../../api.js';
import { Coming, Failed, FailedMore } from '../../parts/states.js';

export function Listing<T, A>({
  of,
  what,
  none,
  children,
}: {
  of: Pages<T, A>;
  /** What it is, such as `list of users`. */
  what: string;
  /** What is shown where there is nothing. */
  none: ComponentChildren;
  children: ComponentChildren;
}) {
  const { items, problem, busy, next } = of;
  if (items.length === 0 && !next) {
    if (problem) return <Failed why={problem} what={what} again={of.again} />;
    return busy ? <Coming what={what} rows={4} /> : <>{none}</>;
  }
  if (items.length === 0 && problem) return <Failed why={problem} what={what} again={of.again} />;
  return (
    <>
      {children}
      {problem && <FailedMore why={problem} again={of.more} />}
      {next && !problem && (
        <p class="more">
          <button type="button" disabled={busy} onClick={of.more}>
            {busy ? 'Loading…' : 'Show more'}
          </button>
        </p>
      )}
    </>
  );
}
