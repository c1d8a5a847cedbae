/** Every panel as a user works with it. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Browser } from 'playwright-core';
import { expectAccessible } from './accessible.js';
import { SHOTS, go, launch, open, serveFiles } from './site.js';
import type { Tab } from './site.js';

let browser: Browser;
let site: { url: string; server: Server };
let tab: Tab;

beforeAll(async () => {
  site = await serveFiles();
  browser = await launch();
});
afterAll(async () => {
  await browser.close();
  site.server.close();
});
beforeEach(async () => {
  tab = await open(browser, site.url, { permissions: ['clipboard-read', 'clipboard-write'] });
  await go(tab.page, '#/requests');
});
afterEach(async () => {
  expect(tab.complaints).toEqual([]);
  expect(tab.strangers).toEqual([]);
  await tab.context.close();
});

const button = (name: string | RegExp, exact = true) => tab.page.getByRole('button', { name, exact });
const shot = (name: string) => tab.page.screenshot({ path: `${SHOTS}/${name}.png`, fullPage: true });
const clipboard = () => tab.page.evaluate(() => navigator.clipboard.readText());

/** Runs a tour to its end. */
async function take(id: string): Promise<void> {
  await go(tab.page, `#/scenarios/${id}`);
  await button('Do all steps').click();
  await tab.page.locator('.note[role=status]').waitFor();
}

test.each(['push-pull', 'chunks', 'out-of-order', 'mount', 'platforms', 'referrers', 'delete', 'mirror', 'errors'])(
  'the scenario %s comes to its end with every check',
  async (id) => {
    await take(id);
    expect(await tab.page.locator('.note[role=status]').textContent()).toContain(
      'Every answer was as the specification says',
    );
    expect(await tab.page.locator('ol.tour > li.wrong').count()).toBe(0);
    await expectAccessible(tab.page, id);
    await shot(`scenario-${id}`);
  },
);

test('a scenario goes step by step, and a step can be seen in its effects', async () => {
  await go(tab.page, '#/scenarios');
  await expectAccessible(tab.page, 'scenarios');
  await tab.page.getByRole('link', { name: /Start.*Push and pull an image/ }).click();
  await button('Do this step').click();
  await tab.page.getByText('1 of 7').waitFor();
  await button('See its effects').click();
  await tab.page.getByRole('heading', { name: 'Effects' }).waitFor();
  expect(await tab.page.locator('.column').count()).toBe(1);
});

test('a request is built, sent, explained, repeated and linked to', async () => {
  const { page } = tab;
  await page.getByLabel('Endpoint').selectOption('post-blob');
  await page.getByLabel('name', { exact: true }).fill('built');
  const digest = `sha256:${createHash('sha256').update('hello').digest('hex')}`;
  await page.getByText(digest).first().waitFor();
  await button('Send').click();
  await page.getByText('201').first().waitFor();
  expect(await page.locator('.answer').textContent()).toContain(digest);
  const location = button('Location');
  await location.hover();
  expect(await page.getByText('Never build this URL yourself').first().isVisible()).toBe(true);
  await expectAccessible(page, 'requests');
  await shot('requests-answer');
  await button('Copy as curl').click();
  expect(await clipboard()).toContain(
    "curl --include --request POST \\\n  --header 'Content-Type: application/octet-stream' \\\n  --data-binary 'hello'",
  );
  await button('Copy link').click();
  const link = await clipboard();
  await page.getByLabel('Endpoint').selectOption('base');
  await button('Send').click();
  await page.locator('.history li').nth(1).waitFor();
  await page.locator('.history li button').nth(1).click();
  expect(await page.getByLabel('name', { exact: true }).inputValue()).toBe('built');
  const other = await tab.context.newPage();
  await other.goto(link);
  await other.getByLabel('name', { exact: true }).waitFor();
  expect(await other.getByLabel('name', { exact: true }).inputValue()).toBe('built');
  await other.close();
});

test('a manifest is written in the editor and refused for its blobs', async () => {
  const { page } = tab;
  await page.getByLabel('Endpoint').selectOption('manifest-put');
  const editor = page.getByRole('textbox', { name: 'Body of the request' });
  await editor.click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type('oops');
  await page.getByText('This is not JSON yet').waitFor();
  for (let i = 0; i < 4; i++) await page.keyboard.press('Backspace');
  await page.keyboard.press('Control+Enter');
  await page.getByText('MANIFEST_BLOB_UNKNOWN').first().waitFor();
  await expectAccessible(page, 'editor');
  await shot('requests-manifest');
});

test('a file is sent, and a large answer downloaded', async () => {
  const { page } = tab;
  await page.getByLabel('Endpoint').selectOption('post-blob');
  await button('File').click();
  const bytes = Buffer.alloc(6 << 20, 'orlop ');
  await page
    .getByLabel('File to send')
    .setInputFiles({ name: 'large.bin', mimeType: 'application/octet-stream', buffer: bytes });
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  await page.getByText(digest).first().waitFor();
  await button('Send').click();
  await page.getByText('201').first().waitFor();
  await page.getByLabel('Endpoint').selectOption('blob-get');
  await page.getByLabel('digest').fill(digest);
  await button('Send').click();
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Download the body' }).click();
  const got = await readFile((await (await download).path())!);
  expect(got.equals(bytes)).toBe(true);
});

test('an upload of which only half arrives is kept', async () => {
  const { page } = tab;
  await page.getByLabel('Endpoint').selectOption('open');
  await button('Send').click();
  await page.getByText('202').first().waitFor();
  const session = (await page.locator('.answer dd').first().textContent())!.split('/').pop()!;
  await page.getByLabel('Endpoint').selectOption('patch');
  await page.getByLabel('session').fill(session);
  await button('Remove header 2').click();
  await page.getByLabel('The connection breaks after').check();
  await button('Send').click();
  await page.getByText('the body ended early; what came of it is kept').waitFor();
  await page.getByLabel('Endpoint').selectOption('status');
  await page.getByLabel('session').fill(session);
  await button('Send').click();
  await page.getByText('204').first().waitFor();
  expect(await page.locator('.answer').textContent()).toContain('0-1');
});

test('one of two chunks loses the race by a conflict', async () => {
  const { page } = tab;
  await go(page, '#/effects');
  await page.locator('.card', { hasText: 'Two chunks for one place' }).getByRole('button', { name: 'Start' }).click();
  await page.locator('.column').nth(1).waitFor();
  const columns = [page.locator('.column').nth(0), page.locator('.column').nth(1)];
  for (const column of columns) {
    for (const next of ['Receive', 'Commit']) {
      await column.getByRole('button', { name: 'Step' }).click();
      await column.locator('.effect.next .name', { hasText: next }).waitFor();
    }
  }
  await shot('effects-before-the-race');
  await columns[1]!.getByRole('button', { name: 'Run' }).click();
  await columns[1]!.getByText('202').first().waitFor();
  await columns[0]!.getByRole('button', { name: 'Step' }).click();
  await columns[0]!.getByText('Conflict: an expectation no longer holds').waitFor();
  await columns[0]!.getByRole('button', { name: 'Run' }).click();
  await columns[0]!.getByText('416').first().waitFor();
  await expectAccessible(page, 'effects');
  await shot('effects-conflict');
});

test('two pulls through a mirror follow one fetch, and the upstream is asked once', async () => {
  const { page } = tab;
  await go(page, '#/effects');
  await page.locator('.card', { hasText: 'Two pulls of one blob' }).getByRole('button', { name: 'Start' }).click();
  await page.locator('.column').nth(1).waitFor();
  const [one, other, fetch] = [0, 1, 2].map((i) => page.locator('.column').nth(i)) as [any, any, any];
  const next = (column: any, name: string) => column.locator('.effect.next .name', { hasText: name }).waitFor();
  const step = (column: any) => column.getByRole('button', { name: 'Step' }).click();
  for (const column of [one, other]) {
    await step(column);
    await next(column, 'Follow');
    await step(column);
    await column.getByText('It waits for the fetch').waitFor();
  }
  await next(fetch, 'Get');
  expect(await page.locator('.column').count()).toBe(3);
  await expectAccessible(page, 'calls that follow a fetch');
  await shot('effects-follow');
  // Whoever leaves does not end the fetch.
  await other.getByRole('button', { name: 'Crash here' }).click();
  await step(fetch);
  await next(fetch, 'Fetch');
  await step(fetch);
  await next(fetch, 'Get');
  await one.locator('.status', { hasText: '200' }).waitFor();
  await other.locator('.effect.over').waitFor();
  await fetch.getByRole('button', { name: 'Run' }).click();
  await next(fetch, 'Over');
  expect(await page.getByLabel('The upstream').textContent()).toContain('once');
  await expectAccessible(page, 'a fetch');
  await shot('effects-fetch');
});

test('a call is crashed, failed and stepped by the keyboard', async () => {
  const { page } = tab;
  await go(page, '#/effects');
  const begin = page.locator('.card', { hasText: 'Push a single blob' }).getByRole('button', { name: 'Start' });
  for (let i = 1; i <= 3; i++) {
    await begin.click();
    await page
      .locator('.column')
      .nth(i - 1)
      .waitFor();
  }
  const [crashed, failed, keyed] = [0, 1, 2].map((i) => page.locator('.column').nth(i)) as [any, any, any];
  await crashed.getByRole('button', { name: 'Step' }).click();
  await crashed.locator('.effect.next .name', { hasText: 'Get' }).waitFor();
  await crashed.getByRole('button', { name: 'Crash here' }).click();
  await crashed.locator('.effect.over').waitFor();
  await failed.getByText('Fail this effect').click();
  await failed.getByRole('button', { name: 'The disk is full' }).click();
  await failed.locator('.effect.trouble').waitFor();
  if (await failed.getByRole('button', { name: 'Run' }).isEnabled())
    await failed.getByRole('button', { name: 'Run' }).click();
  await failed.getByText('507').waitFor();
  await keyed.focus();
  await page.keyboard.press('s');
  await keyed.locator('.effect.next .name', { hasText: 'Get' }).waitFor();
  await page.keyboard.press('r');
  await keyed.locator('.status', { hasText: '201' }).waitFor();
  await expectAccessible(page, 'crash and fault');
  await shot('effects-crash-and-fault');
  await go(page, '#/store');
  await page.getByText('Orphans: bytes without a record').waitFor();
  await shot('store-stray');
});

test('the store shows images, what changed, what nothing names, and what a garbage collection takes', async () => {
  const { page } = tab;
  await take('platforms');
  await go(page, '#/store');
  await page.getByText('linux/arm64').waitFor();
  expect(await page.locator('.tree .changed').count()).toBeGreaterThan(0);
  await expectAccessible(page, 'store');
  await shot('store-image');
  await go(page, '#/requests');
  await page.getByLabel('Endpoint').selectOption('post-blob');
  await page.getByLabel('name', { exact: true }).fill('lonely');
  await button('Send').click();
  await page.getByText('201').first().waitFor();
  await go(page, '#/store');
  await page.getByText('no manifest uses it').waitFor();
  await button('Collect garbage').click();
  await page.getByText('no manifest in the repository has used it for a day').waitFor();
  await page.getByText('what they belonged to is gone').first().waitFor();
  await expectAccessible(page, 'gc');
  await shot('store-collected');
  await button('Reset…').click();
  await button('Yes, reset').click();
  await page.getByText('The registry is empty.').waitFor();
});

test('what was pushed is there after a reload', async () => {
  const { page } = tab;
  await take('push-pull');
  await page.reload();
  await go(page, '#/store');
  await page.locator('.tree').getByText('tour/image').waitFor();
  await tab.page.close();
  tab.page = await tab.context.newPage();
  await tab.page.goto(`${site.url}#/store`);
  await tab.page.locator('.tree').getByText('tour/image').waitFor();
});

test('a client from npm works against the service worker', async () => {
  const { page } = tab;
  await go(page, '#/clients');
  await button('Answer /v2/ here').click();
  await page.getByText('the registry in this tab answers').waitFor();
  await button('Run it').click();
  await page.getByText('The digest is that of what was pushed.').waitFor();
  const catalog = await page.evaluate(async () => (await fetch('/v2/_catalog')).json());
  expect(catalog).toEqual({ repositories: ['clients/demo'] });
  const large = await page.evaluate(async () => {
    const bytes = new Uint8Array(9 << 20).fill(7);
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    const digest = `sha256:${[...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
    const pushed = await fetch(`/v2/clients/large/blobs/uploads/?digest=${digest}`, { method: 'POST', body: bytes });
    const got = await fetch(`/v2/clients/large/blobs/${digest}`);
    return [pushed.status, got.status, (await got.arrayBuffer()).byteLength];
  });
  expect(large).toEqual([201, 200, 9 << 20]);
  await expectAccessible(page, 'clients');
  await shot('clients');
  await button('Stop answering').click();
  await page.getByText('not answering').waitFor();
});

test('all checks and histories hold for the registry in the tab', async () => {
  const { page } = tab;
  await go(page, '#/conformance');
  await button('Run').click();
  await page.getByRole('progressbar').waitFor();
  await shot('conformance-running');
  await page.locator('.note[role=status]').waitFor({ timeout: 300_000 });
  expect(await page.locator('.note[role=status]').textContent()).toContain('All checks that count passed');
  await expectAccessible(page, 'conformance');
  await shot('conformance-holds');
});

test.each([
  'gaps-taken',
  'tags-stay',
  'blobs-everywhere',
  'manifests-short',
  'tags-backwards',
  'referrers-forgotten',
  'range-has-unit',
  'conflicts-ignored',
  'sessions-race',
])('the planted bug %s is caught', async (bug) => {
  const { page } = tab;
  await go(page, `#/conformance?bug=${bug}`);
  await page.getByLabel('Plant a bug').and(page.locator(':not([disabled])')).waitFor();
  expect(await page.getByLabel('Plant a bug').inputValue()).toBe(bug);
  await button('Run').click();
  await page.locator('.note[role=status]').waitFor({ timeout: 300_000 });
  expect(await page.locator('.note[role=status]').textContent()).toContain('The registry failed');
});

test('a history that failed is replayed effect by effect', async () => {
  const { page } = tab;
  await go(page, '#/conformance?bug=gaps-taken');
  await page.getByLabel('Only checks with').fill('F2');
  await button('Run').click();
  await page.locator('.card.failure').first().waitFor({ timeout: 300_000 });
  await expectAccessible(page, 'conformance with failures');
  await shot('conformance-bug');
  await button('Replay effect by effect').first().click();
  await page.locator('.column').first().waitFor();
  const last = page.locator('.column').last();
  await last.getByRole('button', { name: 'Run' }).click();
  await last.locator('.status', { hasText: '202' }).waitFor();
  expect(await last.getAttribute('aria-label')).toContain('PATCH');
  await shot('effects-replay');
});

test('the benchmark says what was promised', async () => {
  await tab.page.goto(`${site.url}bench.html`);
  await tab.page.getByText(/As promised|Not as promised/).waitFor({ timeout: 60_000 });
  console.log(await tab.page.locator('dl').innerText());
  expect(await tab.page.locator('#status').textContent()).toBe('As promised.');
  await expectAccessible(tab.page, 'bench');
  await shot('bench');
});
