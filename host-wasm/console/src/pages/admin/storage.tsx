/** Where everything is stored: how full it is, whether something is damaged, and what cleans up. */
import { useState } from 'preact/hooks';
import { Dialog } from '../../../../parts/dialog.js';
import { size } from '../../../../parts/size.js';
import type { Damaged, Job, Storage as Told } from '../../administration.js';
import { useAnswer, usePages } from '../../api.js';
import { Facts, Time } from '../../parts/small.js';
import { Coming, Failed } from '../../parts/states.js';
import { to } from '../../route.js';
import { canChange } from '../../session.js';
import { count, short, some } from '../../words.js';
import { Bar, percent } from './bar.js';
import { Report, Start, Work, useEnd, useJobs } from './jobs.js';
import type { Jobs } from './jobs.js';
import { Listing } from './listing.js';
import { Figure } from './usage.js';

export function Storage() {
  const { data, problem, again } = useAnswer<Told>('/api/v1/storage');
  return (
    <>
      {data ? (
        <Shown of={data} />
      ) : problem ? (
        <Failed why={problem} what="storage" again={again} />
      ) : (
        <Coming what="storage" rows={4} />
      )}
      <DamagedOnes />
      <Maintenance changed={again} />
    </>
  );
}

/** What is counted now and then is not known at once. */
const counted = (number: number | null) => (number === null ? '–' : count(number));

function Shown({ of }: { of: Told }) {
  const { engine, description, blobs, repositories, bytes, disk, scrub, uploads } = of;
  return (
    <>
      <dl class="figures">
        <Figure name="Stored" value={bytes === null ? '–' : size(bytes)} />
        <Figure name="Repositories" value={counted(repositories)} />
        <Figure name="Blobs" value={counted(blobs)} />
        <Figure name="Open uploads" value={counted(uploads)} />
      </dl>
      <section class="part panel padded">
        <Facts
          of={[
            ['Engine', `${engine}: ${description}`],
            [
              'Disk',
              disk && (
                <span class="disk">
                  <Bar
                    used={disk.bytes - disk.free}
                    of={disk.bytes}
                    soft={disk.bytes * 0.9}
                    label={`${percent(disk.bytes - disk.free, disk.bytes)} of the disk used`}
                  />
                  <span>
                    {size(disk.bytes - disk.free)} of {size(disk.bytes)} used, {size(disk.free)} free
                  </span>
                </span>
              ),
            ],
            ['Counted', of.counted && <Time at={of.counted} />],
            ['Last scrub', scrub ? <Scrubbed of={scrub} /> : <span class="muted">never</span>],
            ['Writable', of.read_only ? 'no, the server is read-only' : 'yes'],
          ]}
        />
      </section>
    </>
  );
}

function Scrubbed({ of: { began, ended, blobs, manifests, bytes, damaged } }: { of: NonNullable<Told['scrub']> }) {
  return (
    <>
      {ended ? (
        <Time at={ended} />
      ) : (
        <>
          begun <Time at={began} />, not ended
        </>
      )}
      : {some(blobs, 'blob')}, {some(manifests, 'manifest')}, {size(bytes)} read,{' '}
      {damaged > 0 ? <span class="warn">{count(damaged)} damaged</span> : 'nothing damaged'}
    </>
  );
}

/** How many images and repositories are named. */
const NAMED = 10;

/** What cannot be pulled since its bytes are not what they were. */
function DamagedOnes() {
  const list = usePages<{ damaged: Damaged[]; next?: string }, Damaged>(
    '/api/v1/damaged?n=100',
    ({ damaged }) => damaged,
  );
  return (
    <section class="part">
      <h2>Damaged</h2>
      <Listing
        of={list}
        what="list of what is damaged"
        none={
          <p class="muted">
            Nothing is known to be damaged. A scrub reads everything that is stored, and finds what is.
          </p>
        }
      >
        <ul class="panel list damaged">
          {list.items.map(({ what, since, problem, repositories, needed_by: images, remedy }) => (
            <li key={what}>
              <div class="what">
                <p>
                  <code class="break">{what}</code>
                </p>
                <p>
                  <span class="warn">{problem}</span>{' '}
                  <span class="muted small">
                    found <Time at={since} />
                  </span>
                </p>
                {images.length > 0 && (
                  <p class="small">
                    Needed by{' '}
                    {images.slice(0, NAMED).map(({ repository, digest, tags }, at) => (
                      <span key={`${repository} ${digest}`}>
                        {at > 0 && ', '}
                        <a href={to.image(repository, tags[0] ?? digest)}>
                          {repository}
                          {tags[0] ? `:${tags[0]}` : `@${short(digest)}`}
                        </a>
                      </span>
                    ))}
                    {images.length > NAMED && ` and ${count(images.length - NAMED)} more`}
                  </p>
                )}
                {images.length === 0 && repositories.length > 0 && (
                  <p class="small">
                    In{' '}
                    {repositories.slice(0, NAMED).map((name, at) => (
                      <span key={name}>
                        {at > 0 && ', '}
                        <a href={to.tags(name)}>{name}</a>
                      </span>
                    ))}
                    {repositories.length > NAMED && ` and ${count(repositories.length - NAMED)} more`}
                  </p>
                )}
                <p class="muted small">Remedy: {remedy}.</p>
              </div>
            </li>
          ))}
        </ul>
      </Listing>
    </section>
  );
}

function Maintenance({ changed }: { changed: () => void }) {
  const jobs = useJobs();
  const { gc, dry, scrub, check, backup } = {
    gc: jobs.of('gc'),
    dry: jobs.of('gc-dry-run'),
    scrub: jobs.of('scrub'),
    check: jobs.of('check'),
    backup: jobs.of('backup'),
  };
  useEnd(jobs, [gc, scrub], changed);
  const newest = !dry || (gc && gc.began >= dry.began) ? gc : dry;
  const may = canChange();
  return (
    <section class="part">
      <h2>Maintenance</h2>
      <div class="panel work">
        <Work
          of={newest}
          title={newest === dry && dry ? 'Garbage collection · dry run' : 'Garbage collection'}
          says="Removes what no tag and no manifest needs any more, once it is old enough. A dry run tells what would go."
        >
          <Start jobs={jobs} job="gc-dry-run" label="Dry run" />
          {may && <Collect jobs={jobs} dry={dry} runs={gc?.state === 'running'} />}
        </Work>
        <Work of={scrub} title="Scrub" says="Reads all blobs and manifests, and compares them with their digests.">
          {may && <Start jobs={jobs} job="scrub" label="Scrub now" />}
        </Work>
        <Work
          of={check}
          title="Check"
          says="Looks whether the records agree with each other and with what is stored. It changes nothing."
        >
          <Start jobs={jobs} job="check" label="Check now" />
        </Work>
        {backup && (
          <Work of={backup} title="Backup" says="Copies the records to where backups go.">
            {may && <Start jobs={jobs} job="backup" label="Back up now" />}
          </Work>
        )}
      </div>
    </section>
  );
}

/** For how long a dry run tells what would go, in ms. */
const FRESH = 3_600_000;

/** Garbage collection after a dry run: what that has found is shown first. */
function Collect({ jobs, dry, runs }: { jobs: Jobs; dry: Job | undefined; runs: boolean }) {
  const [asking, put] = useState(false);
  const fresh = dry?.state === 'done' && dry.ended !== null && Date.now() - Date.parse(dry.ended) < FRESH;
  return (
    <>
      <button type="button" disabled={runs} onClick={() => put(true)}>
        Run…
      </button>
      {asking && (
        <Dialog title="Run garbage collection?" close={() => put(false)}>
          <div id="dialog-says">
            {fresh ? (
              <>
                <p>
                  The dry run of <Time at={dry.ended!} /> has found:
                </p>
                {dry.report && <Report of={dry.report} />}
                <p>What is removed cannot be got back.</p>
              </>
            ) : (
              <p>
                What is removed cannot be got back. Begin with a dry run: it tells what would go, and removes nothing.
              </p>
            )}
          </div>
          <div class="actions">
            <button
              type="button"
              class={fresh ? 'danger' : 'primary'}
              onClick={() => {
                put(false);
                void jobs.start(fresh ? 'gc' : 'gc-dry-run');
              }}
            >
              {fresh ? 'Run garbage collection' : 'Dry run'}
            </button>
            <button type="button" class="quiet" autofocus onClick={() => put(false)}>
              Cancel
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}
