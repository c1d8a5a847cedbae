/** What is done or wrong, for a moment, at the foot of the page; and the clipboard. */
import { signal } from '@preact/signals';

/** Where one can go from there. */
interface Onward {
  href: string;
  text: string;
}

export const notice = signal<{ text: string; bad: boolean; onward?: Onward } | undefined>(undefined);

let clearing: ReturnType<typeof setTimeout> | undefined;

export function tell(text: string, bad = false, onward?: Onward): void {
  notice.value = { text, bad, ...(onward && { onward }) };
  clearTimeout(clearing);
  clearing = setTimeout(() => (notice.value = undefined), bad || onward ? 12_000 : 4_000);
}

/** Copies a text. Gives whether the browser let it. */
export async function copy(text: string, what: string): Promise<boolean> {
  try {
    // There is no clipboard for pages of plain HTTP, but for those of this machine.
    if (!navigator.clipboard) throw new Error();
    await navigator.clipboard.writeText(text);
  } catch {
    if (!copyBySelection(text)) {
      tell(`The browser does not let the page write to the clipboard. Copy it by hand: ${text}`, true);
      return false;
    }
  }
  tell(`${what} copied`);
  return true;
}

/** The way of old, which works everywhere. */
function copyBySelection(text: string): boolean {
  const field = document.createElement('textarea');
  field.value = text;
  field.className = 'hidden';
  field.setAttribute('aria-hidden', 'true');
  const before = document.activeElement as HTMLElement | null;
  document.body.append(field);
  field.select();
  const done = document.execCommand('copy');
  field.remove();
  before?.focus();
  return done;
}
