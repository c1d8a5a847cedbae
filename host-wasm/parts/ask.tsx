/** Asks before something is done on a server that cannot be undone. */
import { signal } from '@preact/signals';
import { Dialog } from './dialog.js';

interface Question {
  title: string;
  /** What will be done, a paragraph each. */
  says: preact.ComponentChildren[];
  /** What stands on the button that does it. */
  does: string;
  danger?: boolean;
}

const asked = signal<(Question & { answer: (yes: boolean) => void }) | undefined>(undefined);

/** Asks in a dialog. Gives whether the user agreed. */
export function ask(question: Question): Promise<boolean> {
  asked.value?.answer(false);
  return new Promise((resolve) => {
    const answer = (yes: boolean) => {
      asked.value = undefined;
      resolve(yes);
    };
    asked.value = { ...question, answer };
  });
}

/** The place of the dialog, once in the page. */
export function Asking() {
  return asked.value ? <Ask question={asked.value} answer={asked.value.answer} /> : null;
}

function Ask({ question, answer }: { question: Question; answer: (yes: boolean) => void }) {
  return (
    <Dialog title={question.title} close={() => answer(false)}>
      <div id="dialog-says">
        {question.says.map((paragraph, i) => (
          <p key={i}>{paragraph}</p>
        ))}
      </div>
      <div class="actions">
        <button type="button" class={question.danger ? 'danger' : 'primary'} onClick={() => answer(true)}>
          {question.does}
        </button>
        <button type="button" class="quiet" autofocus onClick={() => answer(false)}>
          Cancel
        </button>
      </div>
    </Dialog>
  );
}
