/** Deletes tags: says first what goes, and asks for the name of the repository where it is more than one. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { Dialog } from '../../../parts/dialog.js';
import type { Tag } from '../answers.js';
import { forget, problem } from '../api.js';
import type { Problem } from '../api.js';
import { markIn } from '../marks.js';
import { recoverable, remove, tagsWith } from '../removal.js';
import type { Progress } from '../removal.js';
import { count, short, some } from '../words.js';
import { TypeToConfirm } from './confirm.js';
import { Lifting } from './kept.js';
import { tell } from './told.js';

/** Which tags: those with these names, or all that have `all` in their names. */
export type Selection = { names: string[] } | { all: string; total: number };

/** How many names are shown. */
const SHOWN = 12;

export function DeleteTags({
  repository,
  of,
  known,
  close,
  done,
}: {
  repository: string;
  of: Selection;
  /** What is known of some of them. */
  known: readonly Tag[];
  /** Nothing was deleted. */
  close: () => void;
  done: () => void;
}) {
  const [names, putNames] = useState<string[] | undefined>('names' in of ? of.names : undefined);
  const [failed, putFailed] = useState<Problem>();
  const [typed, put] = useState('');
  const [progress, putProgress] = useState<Progress & { over?: boolean; stopped?: boolean }>();
  const stop = useRef(new AbortController());
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if ('all' in of)
      tagsWith(repository, of.all, stop.current.signal).then(putNames, (error: unknown) => putFailed(problem(error)));
    return () => stop.current.abort();
  }, []);
  useEffect(() => field.current?.focus(), [names]);
  const number = names?.length ?? 0;
  const asks = number > 1;
  const start = async () => {
    if (!names || (asks && typed !== repository)) return;
    const total: Progress = { total: names.length, deleted: 0, failed: [] };
    putProgress(total);
    const looked = new Map(known.map(({ name, digest }) => [name, digest]));
    const result = await remove(repository, names, looked, putProgress, stop.current.signal);
    forget();
    if (result.failed.length === 0 && !stop.current.signal.aborted) {
      const onward = await recoverable(repository);
      done();
      tell(`${some(result.deleted, 'tag')} of ${repository} deleted`, false, onward);
    } else putProgress({ ...result, over: true, stopped: stop.current.signal.aborted });
  };
  const title = names ? `Delete ${number === 1 ? `the tag ${names[0]}` : some(number, 'tag')}` : 'Delete tags';
  if (progress)
    return (
      <Dialog title={title} close={() => (progress.over ? done() : stop.current.abort())}>
        <Running progress={progress} stop={() => stop.current.abort()} done={done} />
      </Dialog>
    );
  return (
    <Dialog title={title} close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void start();
        }}
      >
        <div id="dialog-says">
          {failed && <p class="note bad">The tags cannot be listed: {failed.message}.</p>}
          {!names && !failed && <p role="status">Looking for the tags…</p>}
          {names && <Consequences repository={repository} names={names} known={known} />}
        </div>
        {asks && <TypeToConfirm name={repository} typed={typed} type={put} field={field} />}
        <div class="actions">
          <button type="submit" class="danger" disabled={!number || (asks && typed !== repository)}>
            Delete {number > 1 ? some(number, 'tag') : 'it'}
          </button>
          <button type="button" class="quiet" autofocus={!asks} onClick={close}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** What goes, and what stays. */
function Consequences({ repository, names, known }: { repository: string; names: string[]; known: readonly Tag[] }) {
  const chosen = new Set(names);
  // Images of which no other tag on the page is known.
  const images = new Set(known.filter(({ name }) => chosen.has(name)).map(({ digest }) => digest));
  for (const { name, digest } of known) if (!chosen.has(name)) images.delete(digest);
  return (
    <>
      <ul class="going" aria-label="Tags that go">
        {names.slice(0, SHOWN).map((name) => (
          <li key={name}>
            <code>
              {repository}:{name}
            </code>
          </li>
        ))}
        {names.length > SHOWN && <li class="muted">and {count(names.length - SHOWN)} more</li>}
      </ul>
      <p>
        {names.length === 1
          ? `Pulls by this name fail from then on. The image${images.size === 1 ? ` (${short([...images][0]!)})` : ''} stays, and can be pulled by digest, until garbage collection removes what no tag names.`
          : 'Pulls by these names fail from then on. The images stay, and can be pulled by digest, until garbage collection removes what no tag names. '}
        {names.length > 1 && (
          <>
            Tags that a mark protects are kept. <Lifting />
          </>
        )}
      </p>
    </>
  );
}

/** Why a tag is still there, in a few words. */
function reason({ status, message }: Problem): string {
  const mark = markIn(message);
  if (mark !== undefined) return `protected by the mark ${mark}`;
  return status === 412 ? 'it names another image by now' : message;
}

function Running({
  progress,
  stop,
  done,
}: {
  progress: Progress & { over?: boolean; stopped?: boolean };
  stop: () => void;
  done: () => void;
}) {
  const { total, deleted, failed, over, stopped } = progress;
  const tried = deleted + failed.length;
  return (
    <>
      <div id="dialog-says">
        <progress max={total} value={tried} aria-label="Tags deleted" />
        <p role="status">
          {count(deleted)} of {count(total)} deleted
          {failed.length > 0 && `, ${count(failed.length)} refused`}
          {stopped && '. You stopped it'}
        </p>
        {failed.length > 0 && (
          <ul class="going" aria-label="Tags that are still there">
            {failed.slice(0, SHOWN).map(({ name, why }) => (
              <li key={name}>
                <code>{name}</code> <span class="muted">{reason(why)}</span>
              </li>
            ))}
            {failed.length > SHOWN && <li class="muted">and {count(failed.length - SHOWN)} more</li>}
          </ul>
        )}
        {failed.some(({ why }) => markIn(why.message) !== undefined) && (
          <p>
            <Lifting />
          </p>
        )}
      </div>
      <div class="actions">
        {over ? (
          <button type="button" class="primary" autofocus onClick={done}>
            Close
          </button>
        ) : (
          <button type="button" autofocus onClick={stop}>
            Stop
          </button>
        )}
      </div>
    </>
  );
}
