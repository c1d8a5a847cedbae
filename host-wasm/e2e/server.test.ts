/** The page and a real registry: what it does there it says and asks first, and what it says of it is the server's. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Browser, Page } from 'playwright-core';
import { expectAccessible } from './accessible.js';
import { freePort, list, passwords, push, request, serve, stopServers } from './orlop.js';
import { SHOTS, go, launch, open } from './site.js';

let browser: Browser;
let url: string;

beforeAll(async () => {
  url = await serve('real');
  browser = await launch();
});
afterAll(async () => {
  await browser.close();
  stopServers();
});

/** A tab that acts on a server, in both themes and two widths, so that each state is looked at. */
async function acting(at: string, options: Parameters<Browser['newContext']>[0] = {}) {
  const tab = await open(browser, `${at}playground/`, options);
  await tab.page.locator('.switches select').first().selectOption('server');
  return tab;
}

/** Takes pictures of a state, checks that all can use it, and that it fits. */
async function look(page: Page, name: string): Promise<void> {
  const before = page.viewportSize()!;
  for (const colorScheme of ['light', 'dark'] as const) {
    for (const width of [1280, 375]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 860 });
      await expectAccessible(page, `${name}, ${colorScheme}, ${width}`);
      const over = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      expect(over, `${name} is wider than ${width} pixels`).toBeLessThanOrEqual(0);
      await page.screenshot({ path: `${SHOTS}/server-${name}-${colorScheme}-${width}.png`, fullPage: true });
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(before);
}

const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });
const repositories = () => list(url, '/v2/_catalog?n=1000', 'repositories');
const tags = (repository: string) => list(url, `/v2/${repository}/tags/list`, 'tags');

test('a tour pushes to the server only after the user agreed, and takes it back', async () => {
  await push(url, 'tour/image', 'v1');
  const before = await repositories();
  const { page, context, complaints } = await acting(url);
  await go(page, '#/scenarios/mount');
  await page.getByText('Requests go to the server').waitFor();
  await button(page, 'Do all steps').click();
  await page.locator('dialog').getByText('tour/base, tour/mounted').waitFor();
  await look(page, 'tour-asks');
  await button(page, 'Cancel').click();
  await page.locator('dialog').waitFor({ state: 'detached' });
  expect(await repositories()).toEqual(before);
  await button(page, 'Do all steps').click();
  await button(page, 'Push to the server').click();
  await page.locator('.note[role=status]').waitFor();
  expect(await repositories()).toEqual([...before, 'tour/base', 'tour/mounted'].sort());
  await look(page, 'tour-done');
  const digest = /sha256:[0-9a-f]{64}/.exec((await page.locator('.tour').innerHTML()) ?? '')![0];
  const blob = `/v2/tour/mounted/blobs/${digest}`;
  expect((await request(url, 'GET', blob)).status).toBe(200);
  await button(page, 'Delete what this tour pushed').click();
  await button(page, 'Delete them').click();
  await page.getByText(/^Deleted\./).waitFor();
  expect((await request(url, 'GET', blob)).status).toBe(404);

  // It says what it would move.
  await go(page, '#/scenarios/push-pull');
  await button(page, 'Do this step').click();
  await page.locator('dialog').getByText('There are tags already: tour/image (v1)').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('dialog').waitFor({ state: 'detached' });
  expect(complaints).toEqual([]);
  await context.close();
});

test('a delete on the server asks, with the name of what goes', async () => {
  const digest = await push(url, 'app', 'v1', 'v2');
  const { page, context, complaints } = await acting(url);
  await page.getByLabel('Endpoint').selectOption('delete-tag');
  await page.locator('#parameter-name').fill('app');
  await page.locator('#parameter-reference').fill('v1');
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByText('Delete the tag app:v1?').waitFor();
  await look(page, 'delete-asks');
  await button(page, 'Cancel').click();
  expect(await tags('app')).toEqual(['v1', 'v2']);
  await page.getByRole('button', { name: 'Send' }).click();
  await button(page, 'Delete app:v1').click();
  await page.locator('.answer .status', { hasText: '202' }).waitFor();
  expect(await tags('app')).toEqual(['v2']);
  await page.locator('#parameter-reference').fill(digest);
  await page.getByRole('button', { name: 'Send' }).click();
  await page.locator('dialog').getByText(digest).waitFor();
  await page.locator('dialog').getByText('Every tag in app that names it is deleted too.').waitFor();
  await button(page, 'Delete the manifest').click();
  await page.locator('.history li').nth(1).waitFor();
  expect(await tags('app')).toEqual([]);
  expect(complaints).toEqual([]);
  await context.close();
});

test('a push that would move a tag of the server asks', async () => {
  await push(url, 'moved', 'v1');
  const { page, context } = await acting(url);
  await page.getByLabel('Endpoint').selectOption('manifest-put');
  await page.locator('#parameter-name').fill('moved');
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByText('Move the tag moved:v1?').waitFor();
  await button(page, 'Cancel').click();
  expect(await page.locator('.answer').count()).toBe(0);
  await page.getByRole('button', { name: 'Send' }).click();
  await button(page, 'Move moved:v1').click();
  await page.locator('.answer .status', { hasText: '201' }).waitFor();
  await context.close();
});

test('suggestions are what the server holds, not what the tab holds', async () => {
  const digest = await push(url, 'suggested/by-the-server', 'stable');
  const { page, context } = await open(browser, `${url}playground/`);
  await go(page, '#/scenarios/push-pull');
  await button(page, 'Do all steps').click();
  await page.locator('.note[role=status]').waitFor();
  await page.locator('.switches select').first().selectOption('server');
  await go(page, '#/requests');
  await page.getByLabel('Endpoint').selectOption('manifest-get');
  const suggested = (field: string) =>
    page.locator(`#parameter-${field}-known option`).evaluateAll((all) => all.map((one) => one.getAttribute('value')));
  await page.locator('#parameter-name').fill('suggested');
  await expect.poll(() => suggested('name')).toContain('suggested/by-the-server');
  await page.locator('#parameter-name').fill('suggested/by-the-server');
  await page.locator('#parameter-reference').fill('');
  await expect.poll(() => suggested('reference')).toEqual(['stable']);
  await page.locator('#parameter-reference').fill('stable');
  await page.getByRole('button', { name: 'Send' }).click();
  await page.locator('.answer').waitFor();
  await expect.poll(() => suggested('reference')).toEqual(['stable', digest]);
  await context.close();
});

test('Images lists repositories page by page, and asks for tags when one is opened', async () => {
  const many = await serve('many');
  for (let i = 0; i < 130; i++) await push(many, `many/r${String(i).padStart(3, '0')}`, 'v1');
  const { page, context, complaints } = await acting(many);
  const asked: string[] = [];
  page.on('request', (one) => void asked.push(new URL(one.url()).pathname));
  await go(page, '#/images');
  const shown = page.locator('.repositories > li');
  await expect.poll(() => shown.count()).toBe(100);
  expect(asked.filter((path) => path.startsWith('/v2/'))).toEqual(['/v2/_catalog']);
  await look(page, 'images-first-page');
  await button(page, 'More repositories').click();
  await expect.poll(() => shown.count()).toBe(130);
  expect(await button(page, 'More repositories').count()).toBe(0);
  await shown.last().locator('summary').click();
  await button(page, 'Download many/r129:v1').waitFor();
  expect(asked.filter((path) => path.startsWith('/v2/'))).toEqual([
    '/v2/_catalog',
    '/v2/_catalog',
    '/v2/many/r129/tags/list',
  ]);
  await look(page, 'images-opened');
  expect(complaints).toEqual([]);
  await context.close();
});

test('an error of the server is shown as one', async () => {
  const { page, context } = await acting(url);
  await page.route('**/v2/_catalog*', (route) =>
    route.fulfill({
      status: 503,
      headers: { 'Retry-After': '7' },
      json: { errors: [{ code: 'UNAVAILABLE', message: 'the storage does not answer' }] },
    }),
  );
  await go(page, '#/images');
  await page.getByText('UNAVAILABLE, the storage does not answer; try again in 7 s').waitFor();
  expect(await page.getByText('There is no tagged image yet').count()).toBe(0);
  await look(page, 'images-error');
  await page.unroute('**/v2/_catalog*');
  await button(page, 'Try again').click();
  await page.locator('.repositories > li').first().waitFor();
  await context.close();
});

test.each(['passwords', 'tokens'])('a server that knows its users by %s asks for a sign-in', async (kind) => {
  const file = passwords(`${kind}.htpasswd`, 'alice', 'geheim – secret');
  const port = await freePort();
  const realm = kind === 'tokens' ? ['--auth-token-url', `http://127.0.0.1:${port}/token`] : [];
  const at = await serve(kind, '--addr', `127.0.0.1:${port}`, '--auth-htpasswd', file, ...realm);
  const { page, context, complaints } = await acting(at);
  let dialogs = 0;
  page.on('dialog', () => dialogs++);
  await go(page, '#/images');
  await page.getByText('lists its repositories to signed-in users only').waitFor();
  expect(await page.getByText('There is no tagged image yet').count()).toBe(0);
  await look(page, `sign-in-${kind}`);
  const form = page.locator('.pane form.sign-in');
  await form.getByLabel('User name').fill('alice');
  await form.getByLabel('Password').fill('wrong');
  await button(page, 'Sign in').last().click();
  await page.getByText('The sign-in failed: 401').waitFor();
  await look(page, `sign-in-failed-${kind}`);
  await form.getByLabel('Password').fill('geheim – secret');
  await button(page, 'Sign in').last().click();
  await page.getByText('The server has no repository that you may see').waitFor();
  await page.getByText('Signed in as alice.').waitFor();
  await look(page, `signed-in-${kind}`);

  // What needs other rights works too: a tour that pushes, and the tester.
  await go(page, '#/scenarios/mount');
  await button(page, 'Do all steps').click();
  await button(page, 'Push to the server').click();
  await page.getByText('Every answer was as the specification says').waitFor();
  await go(page, '#/conformance');
  await page.locator('#where').selectOption('server');
  await page.getByLabel('Only checks with').fill('K1');
  await page.getByLabel('Random histories').fill('2');
  await page.getByLabel('Concurrent histories').fill('1');
  await button(page, 'Run').click();
  await button(page, 'Push test data to the server').click();
  await page.locator('.note.good[role=status]').waitFor({ timeout: 300_000 });
  await button(page, 'Sign out').click();
  await page.getByText('This server asks you to sign in.').waitFor();
  expect(dialogs).toBe(0);
  expect(complaints).toEqual([]);
  await context.close();
});

test('a header field that a proxy has doubled does not hide the server', async () => {
  const { page, context } = await open(browser, 'about:blank');
  await page.route(`${url}v2/`, (route) =>
    route.fulfill({
      status: 401,
      headers: {
        'Docker-Distribution-API-Version': 'registry/2.0, registry/2.0',
        'WWW-Authenticate': 'Basic realm="orlop"',
      },
    }),
  );
  await page.goto(`${url}playground/`);
  await page.locator('.switches select').first().selectOption('server');
  await page.getByText('This server asks you to sign in.').waitFor();
  await context.close();
});

test('conformance asks, leaves nothing behind but some names, and says so', async () => {
  const at = await serve('tested');
  const { page, context, complaints } = await acting(at);
  await go(page, '#/conformance');
  await page.locator('#where').selectOption('server');
  await page.getByLabel('Random histories').fill('8');
  await page.getByLabel('Concurrent histories').fill('4');
  await button(page, 'Run').click();
  await page.getByText(/pushes small blobs and manifests to some dozens of repositories/).waitFor();
  await look(page, 'conformance-asks');
  await button(page, 'Cancel').click();
  expect(await list(at, '/v2/_catalog?n=1000', 'repositories')).toEqual([]);
  await button(page, 'Run').click();
  await button(page, 'Push test data to the server').click();
  await page.locator('.note[role=status]').waitFor({ timeout: 300_000 });
  expect(await page.locator('.note[role=status]').textContent()).toContain('All checks that count passed');
  await page.getByText('Everything that the run pushed to the server is deleted.').waitFor();
  await look(page, 'conformance-left');
  const left = await list(at, '/v2/_catalog?n=1000', 'repositories');
  console.log(`${left.length} empty repositories are left`);
  expect(left.length).toBeLessThanOrEqual(40);
  await page.getByText(`${left.length} repository names below`).waitFor();
  for (const repository of left) expect(await list(at, `/v2/${repository}/tags/list`, 'tags')).toEqual([]);

  // Stopped, it cleans up as well.
  await button(page, 'Run').click();
  await button(page, 'Push test data to the server').click();
  await page.getByText(/checks: [2-9]\d of/).waitFor();
  await button(page, 'Stop').click();
  await page.getByText('You stopped the run.').waitFor();
  await page.getByText('Everything that the run pushed to the server is deleted.').waitFor();
  for (const repository of await list(at, '/v2/_catalog?n=1000', 'repositories'))
    expect(await list(at, `/v2/${repository}/tags/list`, 'tags'), repository).toEqual([]);
  expect(complaints).toEqual([]);
  await context.close();
}, 300_000);

test('the service worker answers for the tab that asked for it, and for no other', async () => {
  await push(url, 'seen', 'v1');
  const { page, context } = await open(browser, `${url}playground/`);
  const catalog = (at: Page, headers: Record<string, string> = {}) =>
    at.evaluate(
      async (headers) =>
        ((await (await fetch('/v2/_catalog', { headers })).json()) as { repositories: string[] }).repositories,
      headers,
    );
  const other = await context.newPage();
  await other.goto(`${url}playground/`);
  await go(page, '#/clients');
  await button(page, 'Answer /v2/ here').click();
  await page.getByText('the registry in this tab answers').waitFor();
  await look(page, 'clients');
  expect(await catalog(page)).toEqual([]);
  expect(await catalog(page, { 'orlop-target': 'server' })).toContain('seen');
  // Neither the tab that was open, nor one that is opened later, nor one that is loaded again.
  const later = await context.newPage();
  await later.goto(`${url}playground/`);
  await other.reload();
  for (const one of [other, later]) {
    await go(one, '#/clients');
    await one.getByText('not answering').waitFor();
    expect(await catalog(one)).toContain('seen');
  }
  await button(page, 'Stop answering').click();
  await page.getByText('not answering').waitFor();
  expect(await catalog(page)).toContain('seen');
  await context.close();
});

test('the service worker of an earlier version, which answered for every tab, goes', async () => {
  const { page, context } = await open(browser, `${url}playground/`);
  await page.evaluate(async () => {
    await navigator.serviceWorker.register('./sw.js', { type: 'module' });
    await navigator.serviceWorker.ready;
  });
  await page.reload();
  await go(page, '#/clients');
  const left = () => page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).length);
  await expect.poll(left).toBe(0);
  await page.reload();
  await go(page, '#/clients');
  await page.getByText('not answering').waitFor();
  await context.close();
});
