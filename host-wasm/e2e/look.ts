/** Looking at a state of the console: for the eye, the screen reader, and for whoever has pushed what does harm. */
import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { expectAccessible } from './accessible.js';
import { SHOTS } from './site.js';

/** Nothing that was pushed has become a part of the page, or a link that does harm. */
export async function expectHarmless(page: Page, where: string): Promise<void> {
  const [harmed, hrefs, foreign] = await page.evaluate(
    () =>
      [
        (window as { harmed?: number }).harmed,
        [...document.querySelectorAll<HTMLAnchorElement>('a[href]')].map(
          (a) => a.protocol + (a.origin === location.origin ? '' : '//'),
        ),
        document.querySelectorAll('main img, main script, main iframe, main style, [onerror], [onclick]').length,
      ] as const,
  );
  expect(harmed, where).toBeUndefined();
  expect(foreign, where).toBe(0);
  for (const href of hrefs) expect(['http:', 'https:', 'https://'], where).toContain(href);
}

/** Looks at a state in both themes and three widths: nothing too wide, nothing that axe finds; pictures are kept. */
export async function look(page: Page, name: string, widths = [1440, 768, 375]): Promise<void> {
  const before = page.viewportSize()!;
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    for (const width of widths) {
      await page.setViewportSize({ width, height: 900 });
      await expectAccessible(page, `${name}, ${colorScheme}, ${width}`);
      const over = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      expect(over, `${name} is wider than ${width} pixels`).toBeLessThanOrEqual(0);
      await page.screenshot({ path: `${SHOTS}/console-${name}-${colorScheme}-${width}.png`, fullPage: true });
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(before);
  await expectHarmless(page, name);
}
