/** The console as `orlop serve` serves it: every page and state, for the eye, the keyboard and the screen reader. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Browser, Page } from 'playwright-core';
import { Pusher, fill } from './content.js';
import { ORLOP, directory, passwords, serve, stopServers } from './orlop.js';
import { look } from './look.js';
import { launch, open } from './site.js';

const [USER, PASSWORD] = ['alice', 'correct horse'];
let browser: Browser;
let url: string;
let pusher: Pusher;
let digest: string;

/** Everybody may read what is in `team`, `base`, `charts`, `models` and `many`; alice may do all. */
const RULES = `
[[rule]]
who = ["user:alice"]
allow = ["pull", "push", "delete", "list"]
repositories = ["**"]
[[rule]]
who = ["anybody"]
allow = ["pull", "list"]
repositories = ["team/**", "base", "charts/**", "models/**", "many/**"]
[[rule]]
who = ["anybody"]
allow = ["list"]
repositories = ["seen/**"]
`;

beforeAll(async () => {
  const users = passwords('console.htpasswd', USER, PASSWORD);
  const config = join(directory, 'console.toml');
  writeFileSync(config, `auth-htpasswd = ${JSON.stringify(users)}\n${RULES}`);
  url = await serve('console', '--config', config);
  pusher = new Pusher(url, `${USER}:${PASSWORD}`);
  digest = (await fill(pusher)).index.digest;
  const image = await pusher.image('many/tags', 'build-1', 'same');
  const bytes = await (await pusher.send('GET', `/v2/many/tags/manifests/${image.digest}`)).text();
  for (let i = 2; i <= 120; i++) await pusher.send('PUT', `/v2/many/tags/manifests/build-${i}`, bytes, image.mediaType);
  await pusher.image('private/thing', 'v1', 'private');
  await pusher.image('seen/only', 'v1', 'seen');
  browser = await launch();
}, 120_000);
afterAll(async () => {
  await browser?.close();
  stopServers();
});

const at = (path: string) => new URL(path, url).href;
const button = (page: Page, name: string | RegExp) =>
  page.getByRole('button', { name, exact: typeof name === 'string' });
const link = (page: Page, name: string | RegExp) => page.getByRole('link', { name, exact: typeof name === 'string' });
const heading = (page: Page) => page.locator('h1');

async function signIn(page: Page, password = PASSWORD): Promise<void> {
  await page.getByLabel('User name').fill(USER);
  await page.getByLabel('Password').fill(password);
  await page.locator('form button[type=submit]', { hasText: 'Sign in' }).click();
}

test('it comes with strict headers, small, and its parts are kept', async () => {
  const page = await fetch(at('console/'));
  const header = (name: string) => page.headers.get(name);
  expect(header('content-security-policy')).toBe(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  );
  expect([header('x-frame-options'), header('x-content-type-options'), header('referrer-policy')]).toEqual([
    'DENY',
    'nosniff',
    'no-referrer',
  ]);
  const text = await page.text();
  expect(text).not.toMatch(/<script(?![^>]* src=)|style=| on\w+=/);
  const below = await fetch(at('console/r/team/app/-/i/v1'));
  expect((await below.text()).replaceAll('./../../../../../', './')).toBe(text);
  expect(below.headers.get('content-security-policy')).toBe(header('content-security-policy'));
  let bytes = 0;
  for (const [, part] of text.matchAll(/(?:src|href)="\.\/(assets\/[^"]+)"/g)) {
    const response = await fetch(at(`console/${part}`), { headers: { 'Accept-Encoding': 'gzip' } });
    expect([response.status, response.headers.get('cache-control')]).toEqual([
      200,
      'public, max-age=31536000, immutable',
    ]);
    bytes += Number(response.headers.get('content-length'));
  }
  expect(bytes).toBeGreaterThan(10_000);
  expect(bytes).toBeLessThan(60 * 1024);
  expect((await fetch(at('console/assets/gone.js'))).status).toBe(404);
  const root = await fetch(url, { redirect: 'manual' });
  expect([root.status, root.headers.get('location')]).toEqual([302, 'console/']);
});

test('no page of another origin can have it in a frame', async () => {
  const other = createServer((_, response) =>
    response.writeHead(200, { 'Content-Type': 'text/html' }).end(`<iframe src="${at('console/')}"></iframe>`),
  ).listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`http://localhost:${(other.address() as AddressInfo).port}/`);
  await page.waitForTimeout(500);
  const shown = await page.frames()[1]?.content();
  expect(shown ?? '').not.toContain('/console/assets/');
  await context.close();
  other.close();
});

test('a proxy may have it below a path of its own', async () => {
  const to = new URL(url);
  const proxy = createServer((given, answer) => {
    const path = given.url!.replace(/^\/some\/where/, '');
    const headers = { ...given.headers, 'accept-encoding': 'identity' };
    const asked = request({ host: to.hostname, port: to.port, method: given.method, path, headers }, (got) => {
      answer.writeHead(given.url!.startsWith('/some/where/') ? got.statusCode! : 404, got.headers);
      got.pipe(answer);
    });
    given.pipe(asked);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => proxy.once('listening', resolve));
  const base = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/some/where/`;
  const { page, context, complaints } = await open(browser, base);
  await page.waitForURL(`${base}console/`);
  await button(page, 'team/').click();
  await link(page, 'app').click();
  await page.waitForURL(`${base}console/r/team/app`);
  await page.reload();
  await link(page, 'v1.9.0').click();
  await page.getByText('APP_VERSION').waitFor();
  expect(await page.locator('.brand img').evaluate((one) => (one as HTMLImageElement).naturalWidth)).toBeGreaterThan(0);
  await page.getByRole('banner').getByRole('link', { name: 'Sign in' }).click();
  await signIn(page);
  await page.waitForURL(`${base}console/r/team/app/-/i/v1.9.0`);
  await page.goto(`${base}console/?view=all`);
  await link(page, 'private/thing').waitFor();
  expect(complaints).toEqual([]);
  await context.close();
  proxy.close();
});

test('each page, to whoever comes by: nothing too wide, nothing that axe finds, nothing harmful', async () => {
  const { page, context, complaints, strangers } = await open(browser, at('console/'));
  const pages: [name: string, path: string, shows: string][] = [
    ['home', 'console/', 'team'],
    ['folder', 'console/?under=team', 'app-worker'],
    ['list', 'console/?view=all&sort=bytes&order=desc', 'team/tools/lint'],
    ['tags', 'console/r/team/app', 'v1.10.0'],
    ['image', 'console/r/team/app/-/i/latest', 'APP_VERSION'],
    ['layers', 'console/r/team/app/-/i/latest?view=layers', 'ENV APP_VERSION'],
    ['referrers', `console/r/team/app/-/i/${digest}?view=referrers`, 'Signature'],
    ['annotations', 'console/r/team/app/-/i/latest?view=annotations', 'com.example.data'],
    ['chart', 'console/r/charts/app/-/i/1.2.3', 'It runs the app.'],
    ['model', 'console/r/models/small/-/i/q4', 'It answers.'],
    ['compare', 'console/r/team/app/-/compare?a=v1.9.0&b=v1.10.0', 'are the same'],
    ['search', 'console/search?q=app', 'charts/app'],
    ['sign-in', 'console/sign-in', 'Password'],
    ['refused', 'console/signed-out?error=denied', 'did not let you in'],
    ['sign-in-first', 'console/r/private/thing', 'Sign in to see this repository'],
    ['no-image', 'console/r/team/app/-/i/v99', 'There is no such image'],
    ['no-page', 'console/nowhere', 'There is no such page'],
  ];
  for (const [name, path, shows] of pages) {
    await page.goto(at(path));
    await page.locator('main').getByText(shows).first().waitFor();
    // The wide ones and those in between differ little where there is no table.
    await look(page, name, ['home', 'tags', 'image', 'layers'].includes(name) ? [1920, 1440, 768, 375] : [1440, 375]);
  }
  expect(complaints).toEqual([]);
  expect(strangers).toEqual([]);
  await context.close();
});

test('repositories are a tree; one request opens a folder, and coming back finds it as it was', async () => {
  const { page, context, complaints } = await open(browser, at('console/'));
  await link(page, 'team').waitFor();
  const asked: string[] = [];
  page.on('request', (one) => void (one.url().includes('/api/v1/') && asked.push(one.url())));
  await button(page, 'team/').click();
  await link(page, 'app-worker').waitFor();
  expect(asked).toHaveLength(1);
  await button(page, 'team/tools/').click();
  await link(page, 'lint').waitFor();
  await look(page, 'tree-open', [1440, 375]);
  // What may only be seen says so, and leads nowhere.
  await button(page, 'seen/').click();
  await page.getByText('no access').waitFor();
  expect(await link(page, 'only').count()).toBe(0);
  expect(await page.getByText('private').count()).toBe(0);
  await link(page, 'lint').click();
  await page.waitForURL(at('console/r/team/tools/lint'));
  expect(await page.title()).toBe('team/tools/lint · Orlop');
  await page.goBack();
  await link(page, 'lint').waitFor();
  expect(await button(page, 'team/').getAttribute('aria-expanded')).toBe('true');
  await page.getByLabel('Filter repositories').fill('app');
  await page.waitForURL(/q=app/);
  await link(page, 'charts/app').waitFor();
  expect(await link(page, 'base').count()).toBe(0);
  await page.getByLabel('Filter repositories').fill('nothing-like-it');
  await page.getByText('No repository has “nothing-like-it” in its name').waitFor();
  await look(page, 'nothing-found', [1440, 375]);
  expect(complaints).toEqual([]);
  await context.close();
});

test('tags are sorted, filtered and turned page by page, each by a URL', async () => {
  const { page, context, complaints } = await open(browser, at('console/r/many/tags'));
  const first = () => page.locator('tbody th a').first().innerText();
  await page.getByText('1–50 of 120').waitFor();
  expect(await first()).toBe('build-1');
  await button(page, 'Next').click();
  await page.getByText('51–100 of 120').waitFor();
  expect(await first()).toBe('build-51');
  await button(page, 'Next').click();
  await page.getByText('101–120 of 120').waitFor();
  await look(page, 'last-page', [1440, 375]);
  await button(page, 'Previous').click();
  await page.getByText('51–100 of 120').waitFor();
  await page.reload();
  await page.getByText('51–100 of 120').waitFor();
  await link(page, 'First page').click();
  await page.getByText('1–50 of 120').waitFor();
  await link(page, 'Pushed').click();
  await expect.poll(first).toBe('build-120');
  expect(await page.locator('th[aria-sort=descending]').innerText()).toBe('Pushed');
  await page.getByLabel('Filter tags').fill('build-7');
  await page.getByText('11 matches').waitFor();
  expect(page.url()).toBe(at('console/r/many/tags?q=build-7&sort=pushed&order=desc'));
  expect(await page.locator('tbody tr').count()).toBe(11);
  await page.getByLabel('Filter tags').fill('none-of-them');
  await page.getByText('No tag has “none-of-them” in its name').waitFor();
  // Whoever may not delete is offered nothing of it.
  expect(await page.locator('input[type=checkbox]').count()).toBe(0);
  expect(await button(page, /^Delete/).count()).toBe(0);
  expect(complaints).toEqual([]);
  await context.close();
});

test('the search finds as one types, and works by the keyboard', async () => {
  const { page, context, complaints } = await open(browser, at('console/'));
  await link(page, 'team').waitFor();
  await page.keyboard.press('/');
  const field = page.getByRole('combobox');
  expect(await field.evaluate((one) => one === document.activeElement)).toBe(true);
  await page.keyboard.type('app:v1.1');
  await page.getByRole('option').first().waitFor();
  await look(page, 'searching', [1440, 375]);
  await page.keyboard.press('ArrowDown');
  expect(await page.getByRole('option', { selected: true }).innerText()).toBe('team/app:v1.10.0');
  expect(await field.getAttribute('aria-activedescendant')).toBe('found-0');
  await page.keyboard.press('Enter');
  await page.waitForURL(at('console/r/team/app/-/i/v1.10.0'));
  // Another page empties the field, and takes the focus.
  await expect.poll(() => heading(page).evaluate((one) => one === document.activeElement)).toBe(true);
  await page.keyboard.press('/');
  await page.keyboard.type('nothing-like-it');
  await page.getByText('Nothing has “nothing-like-it” in its name').waitFor();
  await page.keyboard.press('Escape');
  await expect.poll(() => page.getByRole('listbox').isVisible()).toBe(false);
  await field.fill('app');
  await page.getByRole('option').first().waitFor();
  await field.press('Enter');
  await page.waitForURL(at('console/search?q=app'));
  await link(page, 'team/app-worker').waitFor();
  // The first stop of the tab key leads past the bar.
  await page.goto(at('console/r/team/app'));
  await link(page, 'v1.10.0').waitFor();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  expect(await heading(page).evaluate((one) => one === document.activeElement)).toBe(true);
  await link(page, 'v1.10.0').focus();
  await page.keyboard.press('Enter');
  await page.waitForURL(/v1\.10\.0/);
  await expect.poll(() => heading(page).evaluate((one) => one === document.activeElement)).toBe(true);
  expect(complaints).toEqual([]);
  await context.close();
});

test('an image: by platform, by client, with what refers to it', async () => {
  const { page, context, complaints } = await open(browser, at('console/r/team/app/-/i/v1.10.0'), {
    permissions: ['clipboard-read', 'clipboard-write'],
  });
  const copied = () => page.evaluate(() => navigator.clipboard.readText());
  const host = new URL(url).host;
  await button(page, 'Copy').click();
  await page.getByText('Command copied').waitFor();
  expect(await copied()).toBe(`docker pull ${host}/team/app:v1.10.0`);
  await link(page, /^linux\/arm64/).click();
  await page.waitForURL(/platform=linux%2Farm64/);
  await button(page, 'podman').click();
  await button(page, 'by digest').click();
  await button(page, 'Copy').click();
  await expect.poll(copied).toBe(`podman pull --tls-verify=false --platform linux/arm64 ${host}/team/app@${digest}`);
  await link(page, /^Layers/).click();
  await page.getByText('COPY <img').waitFor();
  expect(await page.locator('.layers .no-layer').count()).toBe(2);
  await page.goBack();
  await page.getByText('APP_VERSION').waitFor();
  await link(page, /^Signatures and more/).click();
  await link(page, 'SBOM').waitFor();
  await button(page, /^What refers to SBOM/).click();
  await expect.poll(() => link(page, 'Signature').count()).toBe(2);
  await look(page, 'referrers-open', [1440, 375]);
  await link(page, 'SBOM').click();
  await page.getByText('SPDX 2.3, 3 packages').waitFor();
  await page.getByRole('cell', { name: 'openssl' }).waitFor();
  await page.getByLabel('Filter packages').fill('zl');
  expect(await page.locator('.tall tbody tr').count()).toBe(1);
  await look(page, 'sbom', [1440, 375]);
  const download = page.waitForEvent('download');
  await button(page, 'Download sbom.spdx.json').click();
  expect((await download).suggestedFilename()).toBe('sbom.spdx.json');
  // A path that whoever pushed it has chosen is none.
  await page.goto(at('console/r/models/small/-/i/q4'));
  const other = page.waitForEvent('download');
  await button(page, 'Download ../../config.json').click();
  expect((await other).suggestedFilename()).toBe('config.json');
  await page.goto(at('console/r/team/app/-/i/latest?view=manifest'));
  await button(page, 'Show it').first().click();
  await page.getByText('"schemaVersion": 2').waitFor();
  await look(page, 'manifest', [1440, 375]);
  await page.goto(at('console/r/team/app/-/compare'));
  await page.getByLabel('The one').fill('v1.8.0');
  await page.getByLabel('The other').fill('latest');
  await button(page, 'Compare').click();
  await page.waitForURL(/a=v1.8.0&b=latest/);
  await page.getByRole('row', { name: /^APP_VERSION/ }).waitFor();
  await page.getByLabel('The other').fill('v1.8.0');
  await button(page, 'Compare').click();
  await page.getByText('They are the same image').waitFor();
  await page.getByLabel('The other').fill('not a tag');
  await button(page, 'Compare').click();
  await page.getByText('is neither a tag nor a digest').waitFor();
  expect(complaints).toEqual([]);
  await context.close();
});

test('signed in: what one may see and delete, what goes along first, and out again', async () => {
  await pusher.index('team/doomed', 'keep', '1');
  for (const tag of ['old-1', 'old-2', 'old-3', 'new-1', 'lone']) await pusher.image('team/doomed', tag, tag);
  execFileSync(ORLOP, ['protect', '--data', join(directory, 'console'), 'team/doomed:keep']);
  const { page, context, complaints } = await open(browser, at('console/r/private/thing'));
  await page.getByText('Sign in to see this repository').waitFor();
  await page.locator('main').getByRole('link', { name: 'Sign in' }).click();
  await signIn(page, 'wrong');
  await page.getByText('The user name or the password is wrong.').waitFor();
  await look(page, 'sign-in-wrong', [1440, 375]);
  await signIn(page);
  // To where one came from.
  await page.waitForURL(at('console/r/private/thing'));
  await link(page, 'v1').waitFor();
  await page.goto(at('console/r/no/such'));
  await page.getByText('There is no such repository').waitFor();
  await page.getByText('or alice may not see it').waitFor();
  await look(page, 'no-repository', [1440, 375]);
  await page.goto(at('console/r/team/doomed'));
  await page.getByText('protected', { exact: true }).waitFor();
  expect(await page.getByLabel('Select keep').isDisabled()).toBe(true);
  await page.getByLabel('Select lone').check();
  await look(page, 'selected', [1440, 375]);
  await button(page, 'Delete…').click();
  await page.locator('dialog').getByText('team/doomed:lone').waitFor();
  await look(page, 'delete-one', [1440, 375]);
  await button(page, 'Cancel').click();
  await button(page, 'Delete…').click();
  await button(page, 'Delete it').click();
  await page.getByText('1 tag of team/doomed deleted').waitFor();
  await expect.poll(() => link(page, 'lone').count()).toBe(0);

  // All that a filter finds, with the name asked for.
  await page.getByLabel('Filter tags').fill('OLD');
  await button(page, 'Delete all 3…').click();
  await page.locator('dialog').getByText('team/doomed:old-3').waitFor();
  const go = button(page, 'Delete 3 tags');
  expect(await go.isDisabled()).toBe(true);
  await page.getByLabel(/^Type team\/doomed/).fill('team/doome');
  expect(await go.isDisabled()).toBe(true);
  await page.getByLabel(/^Type team\/doomed/).fill('team/doomed');
  await look(page, 'delete-many', [1440, 375]);
  await go.click();
  await page.getByText('3 tags of team/doomed deleted').waitFor();
  await page.getByText('No tag has “OLD” in its name').waitFor();
  const left = (await (await pusher.send('GET', '/v2/team/doomed/tags/list')).json()) as { tags: string[] };
  expect(left.tags).toEqual(['keep', 'new-1']);

  // What the server refuses is told, name by name.
  await page.goto(at('console/r/team/doomed?q=e'));
  await button(page, 'Delete all 2…').click();
  await page.getByLabel(/^Type team\/doomed/).fill('team/doomed');
  await button(page, 'Delete 2 tags').click();
  await page.getByText('1 of 2 deleted, 1 refused').waitFor();
  await look(page, 'delete-refused', [1440, 375]);
  await button(page, 'Close').click();

  // An image with all its tags.
  for (const tag of ['a', 'b']) await pusher.image('team/doomed', tag, 'both');
  await page.goto(at('console/r/team/doomed/-/i/a'));
  await button(page, 'Delete…').click();
  await page.getByText('The image stays: b names it too.').waitFor();
  await page.getByLabel('The image with all its tags').check();
  await page.getByText('2 tags go: a, b').waitFor();
  await look(page, 'delete-image', [1440, 375]);
  const name = (await page.locator('label[for=confirm] code').innerText()).trim();
  await page.locator('#confirm').fill(name);
  await page.locator('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await page.waitForURL(at('console/r/team/doomed'));
  await page.getByText(/^The image [0-9a-f]{12} is deleted/).waitFor();
  expect(await link(page, 'b').count()).toBe(0);

  await page.locator('.menu summary').click();
  await look(page, 'menu', [1440, 375]);
  await button(page, 'Sign out').click();
  await page.getByText('You are signed out').waitFor();
  await page.getByRole('banner').getByRole('link', { name: 'Sign in' }).waitFor();
  expect(complaints).toEqual([]);
  await context.close();
});

test('API tokens: made, shown once, used, revoked', async () => {
  const { page, context, complaints } = await open(browser, at('console/tokens'));
  await page.getByText('Sign in to see your tokens').waitFor();
  await page.locator('main').getByRole('link', { name: 'Sign in' }).click();
  await signIn(page);
  await page.getByText('You have no token yet').waitFor();
  await look(page, 'tokens-none', [1440, 375]);
  await button(page, 'New token…').click();
  await page.getByLabel('Name').fill(`build <b>server</b>`);
  await page.getByLabel('In these repositories').fill('team/**, base');
  await look(page, 'token-new', [1440, 375]);
  await button(page, 'Make the token').click();
  await page.getByText('it is shown this once').waitFor();
  const secret = (await page.locator('dialog .command code').innerText()).trim();
  expect(secret).toMatch(/^orlop_/);
  await look(page, 'token-made', [1440, 375]);
  await button(page, 'I have it').click();
  await page.getByRole('rowheader', { name: 'build <b>server</b>' }).waitFor();
  expect(await page.content()).not.toContain(secret);
  await look(page, 'tokens', [1440, 375]);
  const by = (path: string) =>
    fetch(at(path), { headers: { Authorization: `Basic ${Buffer.from(`${USER}:${secret}`).toString('base64')}` } });
  expect((await by('v2/team/app/tags/list')).status).toBe(200);
  expect((await by('v2/private/thing/tags/list')).status).not.toBe(200);
  await button(page, 'Revoke build <b>server</b>').click();
  await page.locator('dialog').getByText('is refused from then on').waitFor();
  await look(page, 'token-revoke', [1440, 375]);
  await button(page, 'Revoke').click();
  await page.getByText('You have no token yet').waitFor();
  expect((await by('v2/team/app/tags/list')).status).toBe(401);
  expect(complaints).toEqual([]);
  await context.close();
});

test('a session that is over is told, and signing in leads back', async () => {
  const { page, context } = await open(browser, at('console/sign-in?to=/console/r/team/app'));
  await signIn(page);
  await page.waitForURL(at('console/r/team/app'));
  await link(page, 'v1.9.0').waitFor();
  // In another tab: this one notices, and says so.
  const other = await context.newPage();
  await other.goto(at('console/'));
  await other.locator('.menu summary').click();
  await button(other, 'Sign out').click();
  await other.getByText('You are signed out').waitFor();
  await page.getByText('Your session is over.').waitFor();
  await other.close();
  await link(page, 'v1.9.0').click();
  await page.getByText('APP_VERSION').waitFor();
  await look(page, 'session-over', [1440, 375]);
  await link(page, 'Sign in again').click();
  await signIn(page);
  await page.waitForURL(at('console/r/team/app/-/i/v1.9.0'));
  await page.getByText('APP_VERSION').waitFor();
  expect(await page.getByText('Your session is over.').count()).toBe(0);
  await context.close();
});

test('states: nothing yet, sign-in needed, out of reach, an error, too many requests', async () => {
  const empty = await serve('empty');
  const tab = await open(browser, `${empty}console/`);
  await tab.page.getByText('There is no repository yet').waitFor();
  await tab.page.getByText(`docker push ${new URL(empty).host}/app:v1`).waitFor();
  await look(tab.page, 'empty', [1440, 375]);
  expect(tab.complaints).toEqual([]);
  await tab.context.close();

  const closed = await serve('closed', '--auth-htpasswd', passwords('closed.htpasswd', USER, PASSWORD));
  const other = await open(browser, `${closed}console/`);
  let dialogs = 0;
  other.page.on('dialog', () => dialogs++);
  await other.page.locator('main').getByRole('link', { name: 'Sign in' }).waitFor();
  await look(other.page, 'closed', [1440, 375]);
  await other.page.goto(`${closed}console/r/team/app`);
  await other.page.locator('main').getByRole('link', { name: 'Sign in' }).waitFor();
  expect(dialogs).toBe(0);
  await other.context.close();

  const { page, context } = await open(browser, at('console/'));
  await link(page, 'team').waitFor();
  await context.setOffline(true);
  await link(page, 'base').click();
  await page.getByText('The server cannot be reached').waitFor();
  await look(page, 'offline', [1440, 375]);
  await context.setOffline(false);
  await button(page, 'Try again').click();
  await link(page, 'bookworm').waitFor();
  for (const [status, headers, says] of [
    [503, { 'Retry-After': '7' }, 'The registry asks to wait for 7 s.'],
    [429, { 'Retry-After': '9' }, 'Try again in 9 s.'],
    [403, {}, 'You may not see this'],
    [401, {}, 'Sign in to see this repository'],
    [502, undefined, 'cannot be shown'],
  ] as const) {
    await page.route('**/api/v1/repositories/**', (route) =>
      headers
        ? route.fulfill({ status, headers, json: { errors: [{ code: 'CODE', message: 'because <b>of that</b>' }] } })
        : route.fulfill({ status, body: '<h1>Bad gateway</h1>' }),
    );
    await page.goto(at('console/r/team/app'));
    await page.getByText(says).first().waitFor();
    await look(page, `status-${status}`, [375]);
    await page.unroute('**/api/v1/repositories/**');
  }
  await context.close();
});
