/** Pages that few open, in a file of their own: it is loaded when one of them is opened first. */
import { useEffect, useState } from 'preact/hooks';
import { Coming } from '../parts/states.js';
import type { Route } from '../route.js';

export type LaterRoute = Extract<Route, { page: 'admin' | 'deleted' | 'activity' | 'access' }>;

type Pages = typeof import('./admin/pages.js');
let known: Pages | undefined;

export function Later({ of }: { of: LaterRoute }) {
  const [pages, put] = useState(known);
  const [failed, fail] = useState(false);
  useEffect(() => {
    if (pages) return;
    let left = false;
    import('./admin/pages.js').then(
      (loaded) => {
        known = loaded;
        if (!left) put(loaded);
      },
      () => left || fail(true),
    );
    return () => void (left = true);
  }, []);
  if (pages) return <pages.Page of={of} />;
  if (!failed) return <Coming what="the page" />;
  return (
    <section class="state" role="alert">
      <h1 tabIndex={-1}>The page cannot be loaded</h1>
      <p>The server cannot be reached, or it was updated since the console was opened.</p>
      <div class="actions">
        <button type="button" class="primary" onClick={() => location.reload()}>
          Reload
        </button>
      </div>
    </section>
  );
}
