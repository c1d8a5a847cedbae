/** Settings of the user that the browser keeps. */
import { effect, signal } from '@preact/signals';
import type { Signal } from '@preact/signals';

/** A setting that can be one of some words. Without localStorage it lasts as long as the page. */
export function stored<T extends string>(key: string, standard: T, allowed: readonly T[]): Signal<T> {
  let value = standard;
  try {
    const kept = localStorage.getItem(key) as T | null;
    if (kept && allowed.includes(kept)) value = kept;
  } catch {
    // As it says above.
  }
  const made = signal<T>(value);
  effect(() => {
    try {
      localStorage.setItem(key, made.value);
    } catch {
      // As it says above.
    }
  });
  return made;
}

export type Theme = 'auto' | 'light' | 'dark';

export const theme = stored<Theme>('orlop-theme', 'auto', ['auto', 'light', 'dark']);

/** Puts the theme in force, now and whenever it changes. */
export function applyTheme(): void {
  effect(() => {
    document.documentElement.dataset['theme'] = theme.value;
  });
}
