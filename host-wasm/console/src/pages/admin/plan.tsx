/** A dry run of retention: for each tag whether it stays and why; and the delete itself, of what the plan says alone. */
import { useState } from 'preact/hooks';
import { Dialog } from '../../../../parts/dialog.js';
import type { Applied, Plan, Plans } from '../../administration.js';
import { ask, forget, problem, useAnswer, usePages } from '../../api.js';
import { TypeToConfirm } from '../../parts/confirm.js';
import { Badge } from '../../parts/small.js';
import { Coming, Empty, Failed } from '../../parts/states.js';
import { tell } from '../../parts/told.js';
import { to } from '../../route.js';
import { canChange } from '../../session.js';
import { count, sentence, short, some } from '../../words.js';
import { Listing } from './listing.js';

/** What would go in each repository that a rule is about. */
export function All() {
  const list = usePages<Plans, Plan>('/api/v1/retention/plan?n=20', ({ plans }) => plans);
  const going = list.items.filter(({ tags_deleted: tags, manifests_deleted: manifests }) => tags + manifests > 0);
  return (
    <Listing of={list} what="plan" none={<p class="muted">No rule is about any repository.</p>}>
      {list.first?.warnings.map((text) => (
        <p class="note" key={text}>
          {sentence(text)}
        </p>
      ))}
      {going.length === 0 ? (
        <p class="muted">
          Nothing would be deleted in {list.next ? 'the first ' : ''}
          {some(list.items.length, 'repository', 'repositories')}.
        </p>
      ) : (
        <ul class="panel list">
          {going.map(({ repository, tags_deleted: tags, manifests_deleted: manifests, needs_approval: needs }) => (
            <li key={repository}>
              <div class="what">
                <p class="name">
                  <a href={to.tags(repository)}>{repository}</a>
                  {needs && <Badge title="A regular run leaves it to you">waits for an agreement</Badge>}
                </p>
                <p class="muted small">
                  {some(tags, 'tag')}
                  {manifests > 0 && ` and ${some(manifests, 'manifest')}`} would be deleted
                </p>
              </div>
              <a class="button" href={to.admin('retention', { repository })} aria-label={`Review ${repository}`}>
                Review
              </a>
            </li>
          ))}
        </ul>
      )}
    </Listing>
  );
}

export function DryRun({ repository }: { repository: string }) {
  const { data, problem, busy, again } = useAnswer<Plans>(
    `/api/v1/retention/plan?${new URLSearchParams({ repository })}`,
  );
  if (!data)
    return problem ? <Failed why={problem} what="repository" again={again} /> : <Coming what="the plan" rows={5} />;
  const { plans, warnings } = data;
  return (
    <div aria-busy={busy}>
      {warnings.map((text) => (
        <p class="note" key={text}>
          {sentence(text)}
        </p>
      ))}
      {plans.length === 0 && (
        <Empty title={`No rule is about ${repository}`}>
          <p>Nothing would be deleted.</p>
        </Empty>
      )}
      {plans.map((plan) => (
        <One key={plan.repository} plan={plan} again={again} />
      ))}
    </div>
  );
}

type Shown = 'all' | 'deleted' | 'kept';

/** How many tags are shown until more are asked for. */
const SHOWN = 100;

function One({ plan, again }: { plan: Plan; again: () => void }) {
  const { repository, tags, tags_deleted: gone, manifests_deleted: manifests, warnings = [] } = plan;
  const [shown, put] = useState<Shown>('all');
  const [most, putMost] = useState(SHOWN);
  const [applying, putApplying] = useState(false);
  const rows = tags.filter(({ deleted }) => shown === 'all' || deleted === (shown === 'deleted'));
  const nothing = gone === 0 && manifests === 0;
  const numbers: [Shown, string, number][] = [
    ['all', 'All', tags.length],
    ['deleted', 'Deleted', gone],
    ['kept', 'Kept', tags.length - gone],
  ];
  const table = (
    <>
      <div class="controls">
        <div class="tabs" role="group" aria-label={`Tags of ${repository}`}>
          {numbers.map(([key, says, number]) => (
            <button
              type="button"
              key={key}
              class={shown === key ? 'chosen' : ''}
              aria-pressed={shown === key}
              onClick={() => put(key)}
            >
              {says} {count(number)}
            </button>
          ))}
        </div>
        <span class="spring" />
        {canChange() && !nothing && (
          <button type="button" class="danger" onClick={() => putApplying(true)}>
            Delete {gone > 0 ? `these ${some(gone, 'tag')}` : some(manifests, 'manifest')}…
          </button>
        )}
      </div>
      {warnings.map((text) => (
        <p class="note" key={text}>
          {sentence(text)}
        </p>
      ))}
      {rows.length > 0 && (
        <div class="panel">
          <table class="rows">
            <caption class="hidden">Tags of {repository} and what becomes of them</caption>
            <thead>
              <tr>
                <th scope="col">Tag</th>
                <th scope="col">Becomes</th>
                <th scope="col" class="wide">
                  Why
                </th>
              </tr>
            </thead>
            <tbody>
              {rows.slice(0, most).map(({ tag, deleted, rule, reason }) => (
                <tr key={tag}>
                  <th scope="row">
                    <span class="name">
                      <a href={to.image(repository, tag)}>{tag}</a>
                    </span>
                    <span class="narrow muted small">{reason}</span>
                  </th>
                  <td>
                    <Badge kind={deleted ? 'bad' : ''}>{deleted ? 'deleted' : 'kept'}</Badge>
                  </td>
                  <td class="wide wraps">
                    {reason} {rule && <span class="muted small">· rule {rule}</span>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {rows.length > most && (
        <p class="more">
          <button type="button" onClick={() => putMost(most + 10 * SHOWN)}>
            Show more
          </button>
        </p>
      )}
      {manifests > 0 && (
        <p class="muted after">
          {some(manifests, 'manifest')} that no tag needs {manifests === 1 ? 'is' : 'are'} deleted as well.
        </p>
      )}
    </>
  );
  const says = plan.more
    ? `${some(gone, 'tag')} deleted, of which the first are shown`
    : nothing
      ? 'nothing is deleted'
      : `${count(gone)} of ${some(tags.length, 'tag')} deleted`;
  return (
    <section class="part plan">
      <h3>
        <a href={to.tags(repository)}>{repository}</a> <span class="muted">{says}</span>
      </h3>
      {table}
      {applying && <Apply plan={plan} close={() => putApplying(false)} again={again} />}
    </section>
  );
}

function Apply({ plan: planned, close, again }: { plan: Plan; close: () => void; again: () => void }) {
  const { repository, plan, tags, tags_deleted: gone, manifests_deleted: manifests, needs_approval: needs } = planned;
  const [typed, put] = useState('');
  const [asks, putAsks] = useState(needs);
  const [busy, putBusy] = useState(false);
  const [wrong, putWrong] = useState<{ text: string; stale: boolean }>();
  const going = tags.filter(({ deleted }) => deleted);
  const apply = async () => {
    putBusy(true);
    putWrong(undefined);
    try {
      const json = { repository, plan, yes: asks };
      const done = await ask<Applied>('/api/v1/retention/apply', { method: 'POST', json });
      close();
      forget();
      tell(
        `${repository}: ${some(done.tags_deleted, 'tag')} and ${some(done.manifests_deleted, 'manifest')} deleted`,
        false,
        {
          href: to.deleted(repository),
          text: 'Deleted',
        },
      );
    } catch (error) {
      const { status, message } = problem(error);
      // Where an agreement is wanted that was not given, the plan is still the same.
      const wants = status === 409 && !asks && /\byes\b/.test(message);
      if (wants) putAsks(true);
      putWrong({ text: message.replace(/: the plan is .*$/, ''), stale: status === 409 && !wants });
      putBusy(false);
    }
  };
  return (
    <Dialog title={`Delete ${some(gone, 'tag')} of ${repository}`} close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!busy && (!asks || typed === repository)) void apply();
        }}
      >
        <div id="dialog-says">
          <ul class="going" aria-label="Tags that go">
            {going.slice(0, 12).map(({ tag, digest }) => (
              <li key={tag}>
                <code>{tag}</code> {digest && <span class="muted small">{short(digest)}</span>}
              </li>
            ))}
            {going.length > 12 && <li class="muted">and {count(going.length - 12)} more</li>}
            {manifests > 0 && <li>{some(manifests, 'manifest')} that no tag needs</li>}
          </ul>
          {asks && <p>That is a large part of the repository.</p>}
          {wrong && (
            <p class="note bad" role="alert">
              Nothing was deleted: {wrong.text}.
            </p>
          )}
        </div>
        {asks && <TypeToConfirm name={repository} typed={typed} type={put} />}
        <div class="actions">
          {wrong?.stale ? (
            <button
              type="button"
              class="primary"
              onClick={() => {
                close();
                again();
              }}
            >
              Plan again
            </button>
          ) : (
            <button type="submit" class="danger" disabled={busy || (asks && typed !== repository)}>
              {busy ? 'Deleting…' : 'Delete'}
            </button>
          )}
          <button type="button" class="quiet" autofocus={!asks} onClick={close}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}
