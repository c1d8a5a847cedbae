/** Asks for a name to be typed before much is deleted, or for good. */
import type { Ref } from 'preact';

export function TypeToConfirm({
  name,
  typed,
  type,
  autofocus = false,
  field,
}: {
  name: string;
  typed: string;
  type: (text: string) => void;
  autofocus?: boolean;
  field?: Ref<HTMLInputElement>;
}) {
  return (
    <div class="field">
      <label for="confirm">
        Type <code>{name}</code> to confirm
      </label>
      <input
        id="confirm"
        {...(field && { ref: field })}
        value={typed}
        autofocus={autofocus}
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
        onInput={(event) => type(event.currentTarget.value)}
      />
    </div>
  );
}
