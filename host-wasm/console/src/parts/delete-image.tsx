/** Deletes a tag, or the image that it names with all its tags: says first what goes along. */
import { useState } from 'preact/hooks';
import { Dialog } from '../../../parts/dialog.js';
import type { Image } from '../answers.js';
import { forget, problem, send } from '../api.js';
import { ifStill, recoverable } from '../removal.js';
import { go, to } from '../route.js';
import { count, kindName, short, some } from '../words.js';
import { TypeToConfirm } from './confirm.js';
import { Refused } from './kept.js';
import { tell } from './told.js';

export function DeleteImage({ image, tag, close }: { image: Image; tag: string | undefined; close: () => void }) {
  const { repository, digest, tags, listedBy, referrers, kind } = image;
  const [whole, put] = useState(tag === undefined);
  const [typed, type] = useState('');
  const [busy, putBusy] = useState(false);
  const [wrong, putWrong] = useState<string>();
  const [moved, putMoved] = useState(false);
  const others = tags.filter((name) => name !== tag);
  const what = kindName(kind).toLowerCase();
  const name = whole ? short(digest) : `${repository}:${tag}`;
  const asks = whole;
  const choose = (all: boolean) => {
    put(all);
    putWrong(undefined);
    putMoved(false);
  };
  const leave = () => {
    forget();
    close();
    go(to.tags(repository), { replace: true });
  };
  const remove = async () => {
    putBusy(true);
    putWrong(undefined);
    try {
      await send(`/v2/${repository}/manifests/${whole ? digest : tag!}`, {
        method: 'DELETE',
        ...(!whole && { headers: ifStill(digest) }),
      });
    } catch (error) {
      const { status, message } = problem(error);
      if (status === 404) {
        leave();
        tell(`${whole ? `The ${what} ${short(digest)}` : name} was deleted in the meantime`);
        return;
      }
      putMoved(status === 412);
      putWrong(status === 412 ? `${tag} names another image by now` : message);
      putBusy(false);
      return;
    }
    const onward = await recoverable(repository);
    leave();
    tell(whole ? `The ${what} ${short(digest)} is deleted` : `${repository}:${tag} is deleted`, false, onward);
  };
  return (
    <Dialog title={whole ? `Delete the ${what} ${short(digest)}` : `Delete the tag ${tag}`} close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!busy && (!asks || typed === name)) void remove();
        }}
      >
        {tag !== undefined && (
          <fieldset class="field">
            <legend>What is to go?</legend>
            <label class="check">
              <input type="radio" name="whole" checked={!whole} onChange={() => choose(false)} />
              The tag {tag}
            </label>
            <label class="check">
              <input type="radio" name="whole" checked={whole} onChange={() => choose(true)} />
              The {what} with all its tags
            </label>
          </fieldset>
        )}
        <div id="dialog-says">
          {whole ? (
            <ul class="going" aria-label="What goes, and what it means">
              {tags.length > 0 && (
                <li>
                  {tags.length >= 100
                    ? '100 tags or more go'
                    : `${some(tags.length, 'tag')} ${tags.length === 1 ? 'goes' : 'go'}`}
                  : {tags.slice(0, 10).join(', ')}
                  {tags.length > 10 && ` and ${count(tags.length - 10)} more`}
                </li>
              )}
              {listedBy.length > 0 && (
                <li class="warn">
                  {some(listedBy.length, 'index lists', 'indexes list')} it: pulls of those for its platform fail then.
                </li>
              )}
              {referrers.length > 0 && (
                <li>
                  {some(
                    referrers.length,
                    'signature, attestation or the like refers',
                    'signatures, attestations and the like refer',
                  )}{' '}
                  to it, and {referrers.length === 1 ? 'stays' : 'stay'} without what{' '}
                  {referrers.length === 1 ? 'it is' : 'they are'} about.
                </li>
              )}
              {image.manifests.length > 0 && (
                <li>The {some(image.manifests.length, 'manifest')} that it lists stay.</li>
              )}
              <li>Its layers are freed by garbage collection, as far as nothing else needs them.</li>
            </ul>
          ) : (
            <p>
              Pulls of <code>{name}</code> fail from then on.{' '}
              {others.length > 0
                ? `The ${what} stays: ${others.slice(0, 5).join(', ')}${others.length > 5 ? ' and more' : ''} ${others.length === 1 ? 'names' : 'name'} it too.`
                : `No other tag names the ${what}: it stays, to be pulled by digest, until garbage collection removes it.`}
            </p>
          )}
          {wrong && (
            <p class="note bad" role="alert">
              It is not deleted: <Refused why={wrong} />
            </p>
          )}
        </div>
        {asks && <TypeToConfirm name={name} typed={typed} type={type} />}
        <div class="actions">
          {moved ? (
            <button
              type="button"
              class="primary"
              onClick={() => {
                close();
                forget();
              }}
            >
              Show that one
            </button>
          ) : (
            <button type="submit" class="danger" disabled={busy || (asks && typed !== name)}>
              {busy ? 'Deleting…' : 'Delete'}
            </button>
          )}
          <button type="button" class="quiet" autofocus onClick={close}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}
