import { usePages } from '../api.js';
import type { Found, Results } from '../answers.js';
import { Icon } from '../parts/icons.js';
import { Marked, hrefOf, partsOf } from '../parts/search-box.js';
import { Coming, Empty, Failed, FailedMore } from '../parts/states.js';
import type { Route } from '../route.js';

type Of = Extract<Route, { page: 'search' }>;

export function Search({ of: { q } }: { of: Of }) {
  return (
    <>
      <div class="title">
        <h1 tabIndex={-1}>{q ? <>Search for “{q}”</> : 'Search'}</h1>
      </div>
      {q ? (
        <Everything q={q} key={q} />
      ) : (
        <Empty title="What do you look for?">
          <p>
            Type a part of a name in the field above. <code>app:v1</code> finds tags with “v1” in repositories with
            “app”.
          </p>
        </Empty>
      )}
    </>
  );
}

function Everything({ q }: { q: string }) {
  const path = `/api/v1/search?${new URLSearchParams({ q, n: '50' })}`;
  const found = usePages<Results, Found>(path, ({ results }) => results);
  const [name, tag] = partsOf(q);
  if (found.items.length === 0) {
    if (found.problem) return <Failed why={found.problem} what="search" again={found.again} />;
    if (found.busy) return <Coming what="results" />;
    if (!found.next)
      return (
        <Empty title={`Nothing has “${q}” in its name`}>
          <p>Repositories and tags that you may not see are not found.</p>
        </Empty>
      );
  }
  return (
    <>
      <ul class="list panel" aria-label="Results">
        {found.items.map((one) => (
          <li key={`${one.repository}:${one.tag ?? ''}`}>
            <Icon name={one.tag ? 'tag' : 'box'} />
            <a href={hrefOf(one)}>
              <Marked text={one.repository} part={name} />
              {one.tag && (
                <span class="of-tag">
                  :<Marked text={one.tag} part={tag} />
                </span>
              )}
            </a>
          </li>
        ))}
      </ul>
      {found.problem && <FailedMore why={found.problem} again={found.more} />}
      {found.next && !found.problem && (
        <p class="more">
          <button type="button" disabled={found.busy} onClick={found.more}>
            {found.busy ? 'Searching…' : found.items.length === 0 ? 'Search on' : 'Show more'}
          </button>
        </p>
      )}
    </>
  );
}
