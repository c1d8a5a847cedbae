/** Deletes a repository with all that is in it: says first what goes, and asks for its name. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { Dialog } from '../../../parts/dialog.js';
import { size } from '../../../parts/size.js';
import type { Tags } from '../answers.js';
import { ask, forget, problem } from '../api.js';
import { recoverable } from '../removal.js';
import { go, to } from '../route.js';
import { some } from '../words.js';
import { TypeToConfirm } from './confirm.js';
import { Refused } from './kept.js';
import { tell } from './told.js';

interface Gone {
  tags: number;
  manifests: number;
}

interface Part {
  tagsDeleted: number;
  manifestsDeleted: number;
  more: boolean;
  /** The URL that goes on where this has ended. */
  next?: string;
}

export function DeleteRepository({
  of,
  total,
  close,
}: {
  of: Tags;
  /** Its tags. */ total: number;
  close: () => void;
}) {
  const { repository, bytes } = of;
  const [typed, put] = useState('');
  const [progress, putProgress] = useState<Gone>();
  const [wrong, putWrong] = useState<string>();
  const stop = useRef(false);
  useEffect(() => () => void (stop.current = true), []);
  const remove = async () => {
    const gone: Gone = { tags: 0, manifests: 0 };
    let left = true;
    putProgress(gone);
    putWrong(undefined);
    try {
      // Each request deletes a part of what is very much.
      const first = `/api/v1/repositories/${repository}/contents`;
      let next: string | undefined = first;
      while (next && !stop.current) {
        const part: Part = await ask<Part>(next, { method: 'DELETE' });
        gone.tags += part.tagsDeleted;
        gone.manifests += part.manifestsDeleted;
        next = part.more ? (part.next ?? first) : undefined;
        left = part.more;
        putProgress({ ...gone });
      }
    } catch (error) {
      forget();
      if (stop.current) {
        tell(`Not all of ${repository} is deleted: ${problem(error).message}`, true);
        return;
      }
      putWrong(problem(error).message);
      putProgress(undefined);
      return;
    }
    const says = `${some(gone.tags, 'tag')}, ${some(gone.manifests, 'manifest')}`;
    const onward = await recoverable(repository);
    forget();
    if (left) {
      tell(`You stopped it. Of ${repository} are deleted: ${says}`, false, onward);
      return;
    }
    if (!stop.current) close();
    go(to.repositories({ under: repository.split('/').slice(0, -1).join('/') }), { replace: true });
    tell(`${repository} is deleted: ${says}`, false, onward);
  };
  if (progress)
    return (
      <Dialog title={`Delete the repository ${repository}`} close={close}>
        <div id="dialog-says">
          <progress max={Math.max(total, 1)} value={progress.tags} aria-label="Tags deleted" />
          <p role="status">
            {some(progress.tags, 'tag')} and {some(progress.manifests, 'manifest')} deleted
          </p>
        </div>
        <div class="actions">
          <button type="button" autofocus onClick={close}>
            Stop
          </button>
        </div>
      </Dialog>
    );
  return (
    <Dialog title={`Delete the repository ${repository}`} close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (typed === repository) void remove();
        }}
      >
        <div id="dialog-says">
          <ul class="going" aria-label="What goes">
            <li>{total === 1 ? 'Its tag' : `All ${some(total, 'tag')}`}</li>
            <li>All images and artifacts, with signatures and whatever else refers to them</li>
            <li>{size(bytes)}, as far as no other repository has the same</li>
          </ul>
          <p>
            Pulls fail from then on, by tag and by digest. Where a protect mark keeps a part of it, nothing is deleted.
          </p>
          {wrong && (
            <p class="note bad" role="alert">
              It is not deleted, or not all of it: <Refused why={wrong} />
            </p>
          )}
        </div>
        <TypeToConfirm name={repository} typed={typed} type={put} autofocus />
        <div class="actions">
          <button type="submit" class="danger" disabled={typed !== repository}>
            Delete the repository
          </button>
          <button type="button" class="quiet" onClick={close}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}
