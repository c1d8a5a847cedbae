/** What the pages of a repository have at their top: where it is, its name, and the other pages. */
import type { ComponentChildren } from 'preact';
import type { Deed, Tags } from '../answers.js';
import { useAnswer } from '../api.js';
import { to } from '../route.js';
import { Crumbs } from './small.js';

type Tab = 'tags' | 'activity' | 'deleted';

export function RepositoryHead({
  repository,
  tab,
  may,
  children,
}: {
  repository: string;
  tab: Tab;
  /** What one may do there; asked for if it is not given. */
  may?: Deed[] | undefined;
  /** What stands beside the name. */
  children?: ComponentChildren;
}) {
  const { data } = useAnswer<Tags>(tab === 'tags' ? undefined : `/api/v1/repositories/${repository}/tags?n=1`);
  const known = may ?? data?.may;
  const tabs: [Tab, string, string][] = [
    ['tags', 'Tags', to.tags(repository)],
    ['activity', 'Activity', to.activityOf(repository)],
  ];
  // What was deleted is for those who may delete.
  if (tab === 'deleted' || known?.includes('delete')) tabs.push(['deleted', 'Deleted', to.deleted(repository)]);
  return (
    <>
      <Crumbs name={repository} {...(tab !== 'tags' && { last: tab === 'activity' ? 'Activity' : 'Deleted' })} />
      <div class="title">
        <h1 tabIndex={-1}>{repository}</h1>
        {children}
      </div>
      <nav class="sections" aria-label="Pages of the repository">
        <ul>
          {tabs.map(([key, says, href]) => (
            <li key={key}>
              <a href={href} aria-current={key === tab}>
                {says}
              </a>
            </li>
          ))}
        </ul>
      </nav>
    </>
  );
}
