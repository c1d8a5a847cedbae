/** What the mirrors have fetched from other registries. */
import { useState } from 'preact/hooks';
import { ask as confirm } from '../../../../parts/ask.js';
import { size } from '../../../../parts/size.js';
import type { Job, Mirrored } from '../../administration.js';
import { usePages } from '../../api.js';
import { Empty } from '../../parts/states.js';
import { to } from '../../route.js';
import { canChange } from '../../session.js';
import { count, some } from '../../words.js';
import { Standing, useEnd, useJobs } from './jobs.js';
import { Listing } from './listing.js';

const begins = (job: Job) => job.began;

export function Mirrors() {
  const list = usePages<{ mirrors: Mirrored[]; next?: string }, Mirrored>(
    '/api/v1/mirrors?n=100',
    ({ mirrors }) => mirrors,
  );
  const jobs = useJobs();
  const [image, put] = useState('');
  const runs = jobs.all?.filter(({ job }) => job === 'mirror-fetch' || job === 'mirror-evict') ?? [];
  runs.sort((a, b) => begins(b).localeCompare(begins(a)));
  useEnd(jobs, runs, list.again);
  const evict = async (repository: string) => {
    const yes = await confirm({
      title: `Evict ${repository}?`,
      says: [
        'What the mirror has of it is removed. It is fetched again when somebody pulls it, if its registry still has it.',
      ],
      does: 'Evict',
      danger: true,
    });
    if (yes) await jobs.start('mirror-evict', repository);
  };
  const sum = list.items.reduce((bytes, one) => bytes + one.bytes, 0);
  return (
    <>
      {canChange() && (
        <form
          class="controls"
          onSubmit={async (event) => {
            event.preventDefault();
            if (await jobs.start('mirror-fetch', image.trim())) put('');
          }}
        >
          <input
            class="filter"
            aria-label="Image to fetch"
            placeholder="hub/library/alpine:3.20"
            required
            autocapitalize="none"
            spellcheck={false}
            value={image}
            onInput={(event) => put(event.currentTarget.value)}
          />
          <button type="submit" class="primary" disabled={!image.trim()}>
            Fetch
          </button>
          <span class="muted">An image, or tags such as hub/library/alpine:3.*, before somebody pulls them.</span>
        </form>
      )}
      {runs.length > 0 && (
        <ul class="panel list work part">
          {runs.slice(0, 5).map((job) => (
            <li key={`${job.job} ${job.target}`}>
              <div class="what">
                <p>
                  <strong>{job.job === 'mirror-fetch' ? 'Fetch' : 'Evict'}</strong>{' '}
                  <code class="break">{job.target}</code>
                </p>
                <Standing of={job} />
              </div>
            </li>
          ))}
        </ul>
      )}
      <Listing
        of={list}
        what="list of mirrors"
        none={
          <Empty title="No mirror has fetched anything">
            <p>
              A mirror is named in the settings file: <code>[[mirror]]</code> in orlop.toml(5). What it has fetched is
              listed here.
            </p>
          </Empty>
        }
      >
        <p class="muted after-head">
          {some(list.items.length, 'repository', 'repositories')}
          {list.next && ' and more'}, {size(sum)}
        </p>
        <div class="panel">
          <table class="rows">
            <caption class="hidden">Repositories of mirrors</caption>
            <thead>
              <tr>
                <th scope="col">Repository</th>
                <th scope="col" class="wide">
                  Mirror
                </th>
                <th scope="col" class="number wide">
                  Tags
                </th>
                <th scope="col" class="number">
                  Size
                </th>
                <td />
              </tr>
            </thead>
            <tbody>
              {list.items.map(({ prefix, repository, tags, bytes }) => (
                <tr key={repository}>
                  <th scope="row">
                    <span class="name">
                      <a href={to.tags(repository)}>{repository}</a>
                    </span>
                    <span class="narrow muted small">{some(tags, 'tag')}</span>
                  </th>
                  <td class="wide">{prefix ? <code>{prefix}</code> : <span class="muted">all repositories</span>}</td>
                  <td class="number wide">{count(tags)}</td>
                  <td class="number">{size(bytes)}</td>
                  <td class="act">
                    {canChange() && bytes > 0 && (
                      <button
                        type="button"
                        class="quiet danger"
                        aria-label={`Evict ${repository}`}
                        onClick={() => void evict(repository)}
                      >
                        Evict…
                      </button>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Listing>
    </>
  );
}
