/** Deletes a repository with all that is in it: says first what goes, and asks for its name. */
import { useState } from 'preact/hooks';
import { Dialog } from '../../../parts/dialog.js';
import { size } from '../../../parts/size.js';
import type { Tags } from '../answers.js';
import { ask, forget, problem } from '../api.js';
import { recoverable } from '../removal.js';
import { go, to } from '../route.js';
import { some } from '../words.js';
import { tell } from './told.js';

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
  const [busy, putBusy] = useState(false);
  const [wrong, putWrong] = useState<string>();
  const remove = async () => {
    putBusy(true);
    putWrong(undefined);
    try {
      const gone = await ask<{ tags_deleted: number; manifests_deleted: number }>(
        `/api/v1/repositories/${repository}`,
        {
          method: 'DELETE',
        },
      );
      const onward = await recoverable(repository);
      forget();
      close();
      go(to.repositories({ under: repository.split('/').slice(0, -1).join('/') }), { replace: true });
      tell(
        `${repository} is deleted: ${some(gone.tags_deleted, 'tag')}, ${some(gone.manifests_deleted, 'manifest')}`,
        false,
        onward,
      );
    } catch (error) {
      putWrong(problem(error).message);
      putBusy(false);
      forget();
    }
  };
  return (
    <Dialog title={`Delete the repository ${repository}`} close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!busy && typed === repository) void remove();
        }}
      >
        <div id="dialog-says">
          <ul class="going" aria-label="What goes">
            <li>{total === 1 ? 'Its tag' : `All ${some(total, 'tag')}`}</li>
            <li>All images and artifacts, with signatures and whatever else refers to them</li>
            <li>{size(bytes)}, as far as no other repository has the same</li>
          </ul>
          <p>Pulls fail from then on, by tag and by digest. What a protect mark keeps stays.</p>
          {wrong && (
            <p class="note bad" role="alert">
              It is not deleted, or not all of it: {wrong}.
            </p>
          )}
        </div>
        <div class="field">
          <label for="confirm">
            Type <code>{repository}</code> to confirm
          </label>
          <input
            id="confirm"
            value={typed}
            autofocus
            autocomplete="off"
            autocapitalize="none"
            spellcheck={false}
            onInput={(event) => put(event.currentTarget.value)}
          />
        </div>
        <div class="actions">
          <button type="submit" class="danger" disabled={busy || typed !== repository}>
            {busy ? 'Deleting…' : 'Delete the repository'}
          </button>
          <button type="button" class="quiet" onClick={close}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}
