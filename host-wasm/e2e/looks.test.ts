/** Every panel in both themes and several widths: nothing runs over the edge, nothing that axe finds. */
import type { Server } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Browser } from 'playwright-core';
import { expectAccessible } from './accessible.js';
import { SHOTS, go, launch, open, serveFiles } from './site.js';

const PANELS = [
  'requests',
  'effects',
  'store',
  'scenarios',
  'scenarios/chunks',
  'scenarios/mirror',
  'conformance',
  'images',
  'clients',
];
let browser: Browser;
let site: { url: string; server: Server };

beforeAll(async () => {
  site = await serveFiles();
  browser = await launch();
});
afterAll(async () => {
  await browser.close();
  site.server.close();
});

test.each([
  ['light', 1440],
  ['dark', 1440],
  ['light', 800],
  ['dark', 800],
  ['light', 380],
  ['dark', 380],
] as ['light' | 'dark', number][])('%s, %i pixels wide', async (colorScheme, width) => {
  const { page, context, complaints, strangers } = await open(browser, site.url, {
    colorScheme,
    viewport: { width, height: 900 },
  });
  await go(page, '#/scenarios/platforms');
  await page.getByRole('button', { name: 'Do all steps' }).click();
  await page.locator('.note[role=status]').waitFor();
  await go(page, '#/effects');
  await page.locator('.card', { hasText: 'Two pushes to one tag' }).getByRole('button', { name: 'Start' }).click();
  await page.locator('.column').nth(1).waitFor();
  for (const run of await page.getByRole('button', { name: 'Run' }).all()) await run.click();
  await go(page, '#/requests');
  await page.getByLabel('Endpoint').selectOption('manifest-put');
  await page.getByRole('button', { name: 'Send' }).click();
  await page.locator('.answer').waitFor();
  for (const panel of PANELS) {
    await go(page, `#/${panel}`);
    if (panel.startsWith('scenarios/')) {
      await page.getByRole('button', { name: 'Do this step' }).click();
      await page.locator('.answer').waitFor();
    }
    await expectAccessible(page, `${panel}, ${colorScheme}, ${width}`);
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    expect(over, `${panel} is wider than the window`).toBeLessThanOrEqual(0);
    await page.evaluate(() => scrollTo(0, 0));
    await page.screenshot({ path: `${SHOTS}/${panel.replace('/', '-')}-${colorScheme}-${width}.png`, fullPage: true });
  }
  expect(complaints).toEqual([]);
  expect(strangers).toEqual([]);
  await context.close();
});
