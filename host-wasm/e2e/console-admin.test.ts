/** The pages of the console for administrators, activity and "Why not?", on a server that has all that they are about. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Browser, Page } from 'playwright-core';
import { HARM, Pusher } from './content.js';
import { look } from './look.js';
import { ORLOP, directory, passwords, push, serve, stopServers } from './orlop.js';
import { launch, open } from './site.js';

const PASSWORD = 'correct horse';
/** How long something may take on a slow machine. */
const SLOW = { timeout: 20_000 };
let browser: Browser;
let url: string;
let pusher: Pusher;

const settings = (users: string, upstream: string) => `
auth-htpasswd = ${JSON.stringify(users)}
administrators = ["user:alice"]
undelete-within = "7d"

[[group]]
name = "dev"
members = ["bob"]

[[rule]]
who = ["user:alice"]
allow = ["all"]
repositories = ["**"]
[[rule]]
who = ["group:dev"]
deny = ["overwrite-tag"]
repositories = ["team/**"]
tags = ["v*"]
[[rule]]
who = ["group:dev"]
allow = ["pull", "push", "delete", "list"]
repositories = ["team/**"]

[[quota]]
name = "team"
repositories = ["team/**"]
together = true
soft = "10kB"
bytes = "1MB"
[[quota]]
repositories = ["old/*"]
bytes = "5GiB"

[[retention]]
name = "builds"
repositories = ["old/*"]
tags = ["build-*"]
keep-last = 2

[[mirror]]
prefix = "hub/"
upstream = ${JSON.stringify(upstream.replace(/\/$/, ''))}

[[sync]]
name = "base"
from = ${JSON.stringify(upstream.replace(/\/$/, ''))}
repositories = ["base/**"]
prefix = "copied/"
`;

beforeAll(async () => {
  const upstream = await serve('admin-upstream');
  await push(upstream, 'base/debian', 'v1', 'v2');
  await push(upstream, 'library/alpine', '3.20', '3.21');
  const users = passwords('admin.htpasswd', 'alice', PASSWORD);
  execFileSync(ORLOP, ['user', 'add', '--auth-htpasswd', users, 'bob'], { input: `${PASSWORD}\n` });
  const config = join(directory, 'admin.toml');
  writeFileSync(config, settings(users, upstream));
  url = await serve('admin', '--config', config);
  pusher = new Pusher(url, `alice:${PASSWORD}`);
  for (const tag of ['v1', 'v2', 'latest']) await pusher.image('team/app', tag, tag);
  for (let i = 1; i <= 5; i++) await pusher.image('old/app', `build-${i}`, `${i}`);
  await pusher.image('old/app', 'v1', 'first');
  await pusher.image('old/many', 'build-1', 'one');
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
const says = (page: Page, text: string | RegExp) => page.locator('main').getByText(text).first().waitFor();
const told = (page: Page, text: string | RegExp) => page.locator('.notice').getByText(text).waitFor();
const dialog = (page: Page) => page.locator('dialog');

/** A tab in which that user is signed in, at that page. */
async function as(user: string, path: string) {
  const tab = await open(browser, at(`console/sign-in?to=${encodeURIComponent(`/console/${path}`)}`));
  await tab.page.getByLabel('User name').fill(user);
  await tab.page.getByLabel('Password').fill(PASSWORD);
  await tab.page.locator('form button[type=submit]', { hasText: 'Sign in' }).click();
  await tab.page.waitForURL(at(`console/${path}`));
  return tab;
}

const SUBJECTS = ['usage', 'storage', 'deleted', 'protected', 'retention', 'mirrors', 'syncs', 'users', 'rules'];

// SPEC AD5
test('only administrators see the administration, whatever the URL', async () => {
  const { page, context } = await open(browser, at('console/admin/usage'));
  const asked: string[] = [];
  page.on('request', (one) => void asked.push(new URL(one.url()).pathname));
  for (const subject of SUBJECTS) {
    await page.goto(at(`console/admin/${subject}`));
    await says(page, 'Sign in to see this page');
  }
  await look(page, 'admin-signed-out', [1440, 375]);
  await context.close();
  const bob = await as('bob', 'admin/usage');
  bob.page.on('request', (one) => void asked.push(new URL(one.url()).pathname));
  for (const subject of SUBJECTS) {
    await bob.page.goto(at(`console/admin/${subject}`));
    await says(bob.page, 'Only administrators may see this page');
  }
  await look(bob.page, 'admin-refused', [1440, 375]);
  expect(await link(bob.page, 'Administration').count()).toBe(0);
  await bob.page.locator('.menu summary').click();
  expect(await link(bob.page, 'Administration').count()).toBe(0);
  expect(asked.filter((path) => /\/api\/v1\/(?!session)/.test(path))).toEqual([]);
  expect(bob.complaints).toEqual([]);
  await bob.context.close();
});

test('each page of the administration, by the menu and by its URL', async () => {
  const { page, context, complaints, strangers } = await as('alice', '');
  await page.getByRole('banner').getByRole('link', { name: 'Administration' }).click();
  await page.waitForURL(at('console/admin/usage'));
  const pages: [subject: string, menu: string, shows: string | RegExp][] = [
    ['usage', 'Usage and quotas', 'old/app'],
    ['storage', 'Storage', 'Nothing is known to be damaged'],
    ['deleted', 'Deleted', 'Nothing that was deleted can be got back'],
    ['protected', 'Protected', 'Nothing is protected'],
    ['retention', 'Retention', 'it keeps the newest 2'],
    ['mirrors', 'Mirrors', 'No mirror has fetched anything'],
    ['syncs', 'Syncs', 'has not run yet'],
    ['users', 'Users', 'administrator'],
    ['rules', 'Rules', /admin\.toml:\d+/],
  ];
  for (const [subject, menu, shows] of pages) {
    const menus = page.getByRole('navigation', { name: 'Administration' });
    // The first is where the menu leads.
    if (subject !== 'usage') await menus.getByRole('link', { name: menu }).click();
    await page.waitForURL(at(`console/admin/${subject}`));
    await says(page, shows);
    expect(await page.title()).toBe(`${menu} · Orlop`);
    expect(await page.locator('h1').evaluate((one) => one === document.activeElement)).toBe(true);
    await look(page, `admin-${subject}`, subject === 'usage' ? [1920, 1440, 768, 375] : [1440, 375]);
  }
  await page.goBack();
  await says(page, 'administrator');
  await page.goto(at('console/admin'));
  await link(page, 'Tags').click();
  await page.waitForURL(at('console/admin/usage?sort=tags'));
  await expect.poll(() => page.locator('tbody th a').first().innerText(), SLOW).toBe('old/app');
  expect(await page.getByRole('img', { name: /of team used/ }).count()).toBe(1);
  await link(page, 'team/app').last().click();
  await page.waitForURL(at('console/r/team/app'));
  expect(complaints).toEqual([]);
  expect(strangers).toEqual([]);
  await context.close();
});

test('what is deleted is one click away, and comes back; or is purged', async () => {
  for (const tag of ['a', 'b', 'c']) await pusher.image('team/back', tag, tag);
  const { page, context, complaints } = await as('alice', 'r/team/back');
  await page.getByLabel('Select a', { exact: true }).check();
  await button(page, 'Delete…').click();
  await button(page, 'Delete it').click();
  await told(page, '1 tag of team/back deleted');
  await look(page, 'deleted-told', [1440, 375]);
  await page.locator('.notice').getByRole('link', { name: 'Undelete' }).click();
  await page.waitForURL(at('console/r/team/back/-/deleted'));
  await page.getByRole('cell', { name: 'alice' }).waitFor();
  await look(page, 'deleted-of-repository', [1440, 375]);
  await button(page, 'Undelete team/back:a').click();
  await look(page, 'undelete', [1440, 375]);
  await dialog(page).getByRole('button', { name: 'Undelete', exact: true }).click();
  await told(page, 'team/back:a is back');
  await says(page, 'Nothing that was deleted in team/back can be got back');
  await link(page, 'Tags').click();
  await link(page, 'a').waitFor();

  // Where the tag was pushed again, it asks for another name.
  await pusher.send('DELETE', '/v2/team/back/manifests/b');
  await pusher.image('team/back', 'b', 'other');
  await page.goto(at('console/admin/deleted?repository=team/back'));
  await button(page, 'Undelete team/back:b').click();
  await dialog(page).getByRole('button', { name: 'Undelete', exact: true }).click();
  await dialog(page).getByText('was pushed again since').waitFor();
  await look(page, 'undelete-taken', [1440, 375]);
  await page.getByLabel('As the tag').fill('b-before');
  await dialog(page).getByRole('button', { name: 'Undelete', exact: true }).click();
  await told(page, 'team/back:b-before is back');

  await pusher.send('DELETE', '/v2/team/back/manifests/c');
  await page.goto(at('console/admin/deleted'));
  await button(page, 'Purge team/back:c').click();
  const purge = dialog(page).getByRole('button', { name: 'Purge', exact: true });
  expect(await purge.isDisabled()).toBe(true);
  await page.getByLabel(/^Type team\/back:c/).fill('team/back:c');
  await look(page, 'purge', [1440, 375]);
  await purge.click();
  await expect.poll(() => button(page, 'Purge team/back:c').count(), SLOW).toBe(0);
  expect(complaints).toEqual([]);
  await context.close();

  // Whoever may delete there sees what was deleted there, and purges nothing.
  await pusher.send('DELETE', '/v2/team/back/manifests/a');
  const bob = await as('bob', 'r/team/back');
  await link(bob.page, 'Deleted').click();
  await button(bob.page, 'Undelete team/back:a').waitFor();
  expect(await button(bob.page, /^Purge/).count()).toBe(0);
  expect(bob.complaints).toEqual([]);
  await bob.context.close();
});

test('marks are set and removed, and shown where something is deleted', async () => {
  await pusher.image('marked/app', 'v1', 'marked');
  const { page, context, complaints } = await as('alice', 'admin/protected');
  await button(page, 'New mark…').click();
  await page.getByLabel('What to keep').fill('marked/*:v*');
  await dialog(page).getByText('It keeps the tags v* of the repositories marked/*.').waitFor();
  await look(page, 'mark-new', [1440, 375]);
  await button(page, 'Protect').click();
  await told(page, 'The mark marked/*:v* is set');
  await button(page, 'New mark…').click();
  await page.getByLabel('What to keep').fill(HARM);
  await button(page, 'Protect').click();
  await dialog(page).getByRole('alert').waitFor();
  await page.getByLabel('What to keep').fill('nowhere/app');
  await button(page, 'Protect').click();
  await told(page, 'There is nothing yet that it speaks of');
  await look(page, 'marks', [1440, 375]);
  await page.goto(at('console/r/marked/app'));
  await page.getByText('protected', { exact: true }).waitFor();
  await page.goto(at('console/admin/protected'));
  for (const mark of ['marked/*:v*', 'nowhere/app:*']) {
    await button(page, `Remove ${mark}`).click();
    await button(page, 'Remove').click();
    await told(page, `The mark ${mark} is removed`);
  }
  await says(page, 'Nothing is protected');
  expect(complaints).toEqual([]);
  await context.close();
});

test('retention: a dry run says why, and is done as it was planned or not at all', async () => {
  const { page, context, complaints } = await as('alice', 'admin/retention');
  await button(page, 'Dry run').click();
  await button(page, 'Review old/app').or(link(page, 'Review old/app')).first().click();
  await page.waitForURL(at('console/admin/retention?repository=old%2Fapp'));
  await says(page, '3 of 6 tags deleted');
  await look(page, 'retention-plan', [1440, 768, 375]);
  await button(page, 'Kept 3').click();
  expect(await page.locator('.plan tbody tr').count()).toBe(3);
  await button(page, /^Delete these 3 tags/).click();
  await page.getByLabel(/^Type old\/app/).fill('old/app');
  await look(page, 'retention-apply', [1440, 375]);

  // It is another plan since something was pushed.
  await pusher.image('old/app', 'build-6', '6');
  const go = dialog(page).getByRole('button', { name: 'Delete', exact: true });
  await go.click();
  await dialog(page).getByText('Nothing was deleted').waitFor();
  await look(page, 'retention-changed', [1440, 375]);
  await button(page, 'Plan again').click();
  await says(page, '4 of 7 tags deleted');
  await button(page, /^Delete these 4 tags/).click();
  await page.getByLabel(/^Type old\/app/).fill('old/app');
  await go.click();
  await told(page, 'old/app: 4 tags');
  await says(page, 'nothing is deleted');
  const left = (await (await pusher.send('GET', '/v2/old/app/tags/list')).json()) as { tags: string[] };
  expect(left.tags).toEqual(['build-5', 'build-6', 'v1']);
  expect(complaints).toEqual([]);
  await context.close();
});

test('work in the server: begun, seen from another tab, and told when it has ended', async () => {
  const { page, context, complaints } = await as('alice', 'admin/storage');
  const work = (name: string) => page.locator('.job', { has: page.getByRole('heading', { name }) });
  const over = (name: string) => work(name).getByText('done').waitFor();
  await work('Garbage collection').getByRole('button', { name: 'Run…' }).click();
  await dialog(page).getByText('Begin with a dry run').waitFor();
  await look(page, 'gc-first', [1440, 375]);
  await dialog(page).getByRole('button', { name: 'Dry run' }).click();
  await over('dry run');
  await work('dry run').getByRole('button', { name: 'Run…' }).click();
  await dialog(page).getByText('has found').waitFor();
  await look(page, 'gc-found', [1440, 375]);
  await button(page, 'Run garbage collection').click();
  await expect.poll(() => work('dry run').count(), SLOW).toBe(0);
  await over('Garbage collection');
  for (const [name, does] of [
    ['Scrub', 'Scrub now'],
    ['Check', 'Check now'],
  ] as const) {
    await button(page, does).click();
    await over(name);
  }
  await look(page, 'work-done', [1440, 375]);
  await page.goto(at('console/admin/usage'));
  await button(page, 'Recount now').click();
  await over('Recount');

  await page.goto(at('console/admin/mirrors'));
  await page.getByLabel('Image to fetch').fill('hub/library/alpine:3.*');
  await button(page, 'Fetch').click();
  await link(page, 'hub/library/alpine').waitFor();
  await look(page, 'mirror-fetched', [1440, 375]);
  await button(page, 'Evict hub/library/alpine').click();
  await button(page, 'Evict').click();
  await page.locator('.work').getByText('Evict').waitFor();
  await expect.poll(() => button(page, 'Evict hub/library/alpine').count(), SLOW).toBe(0);
  await page.getByLabel('Image to fetch').fill('no/mirror:v1');
  await button(page, 'Fetch').click();
  await told(page, /belongs to no mirror/);

  await page.goto(at('console/admin/syncs'));
  await button(page, 'Dry run').click();
  await says(page, 'It would do this:');
  await button(page, 'Run now').click();
  await page.locator('main').getByText('ended', { exact: true }).waitFor();
  await look(page, 'sync-ended', [1440, 375]);
  await page.goto(at('console/r/copied/base/debian'));
  await link(page, 'v2').waitFor();
  expect(complaints).toEqual([]);
  await context.close();
});

test('a job of a server that has stopped is shown as interrupted, and one that runs with its progress', async () => {
  const { page, context } = await as('alice', 'admin/users');
  const began = new Date(Date.now() - 90_000).toISOString();
  const job = { target: null, by: 'carol', began, ended: null, progress: null, report: null, error: null };
  const jobs = [
    { ...job, job: 'scrub', state: 'running', progress: { done: 30, total: 120, unit: 'blobs', text: HARM } },
    { ...job, job: 'check', state: 'interrupted' },
    { ...job, job: 'gc', state: 'failed', ended: began, error: `the disk is full ${HARM}` },
  ];
  await page.route('**/api/v1/jobs', (route) => route.fulfill({ json: { jobs } }));
  await page.getByRole('navigation', { name: 'Administration' }).getByRole('link', { name: 'Storage' }).click();
  await says(page, '30 of 120 blobs');
  await says(page, 'The server that ran it has stopped before the end');
  expect(await page.getByRole('progressbar').getAttribute('value')).toBe('30');
  expect(await button(page, 'Scrub now').isDisabled()).toBe(true);
  await look(page, 'work', [1440, 375]);
  await context.close();
});

// SPEC AD8
test('activity: what has happened, filtered by a URL, and saved as a file', async () => {
  await pusher.image('team/seen', 'v1', 'seen');
  await pusher.image('hidden/thing', 'v1', 'hidden');
  await pusher.send('DELETE', '/v2/team/seen/manifests/v1');
  const { page, context, complaints } = await as('alice', '');
  await page.getByRole('banner').getByRole('link', { name: 'Activity' }).click();
  await page.waitForURL(at('console/activity'));
  await link(page, 'hidden/thing').first().waitFor();
  await look(page, 'activity', [1440, 768, 375]);
  await page.getByLabel('What', { exact: true }).selectOption('delete');
  await page.waitForURL(at('console/activity?happening=delete'));
  await page.locator('main').getByRole('searchbox', { name: 'Repository' }).fill('team/*');
  await page.getByRole('searchbox', { name: 'User' }).fill('alice');
  await button(page, 'Show').click();
  await page.waitForURL(/repository=team%2F\*&user=alice&happening=delete/);
  await link(page, 'team/seen').first().waitFor();
  expect(await page.locator('main').getByText('hidden/thing').count()).toBe(0);
  for (const [format, has] of [
    ['csv', /^id,time,happening,[\s\S]*,team\/seen,/],
    ['json', /"happening": "delete"/],
  ] as const) {
    const download = page.waitForEvent('download');
    await button(page, `Export as ${format.toUpperCase()}`).click();
    const file = await download;
    expect(file.suggestedFilename()).toBe(`activity.${format}`);
    expect(await readFile((await file.path())!, 'utf8')).toMatch(has);
  }
  await page.getByLabel('From', { exact: true }).fill('2020-01-01');
  await page.getByLabel('To', { exact: true }).fill('2020-01-02');
  await button(page, 'Show').click();
  await says(page, 'Nothing of the kind has happened');
  await page.goBack();
  await link(page, 'team/seen').first().waitFor();
  await link(page, 'team/seen').first().click();
  await link(page, 'Activity').last().waitFor();
  await page
    .getByRole('navigation', { name: 'Pages of the repository' })
    .getByRole('link', { name: 'Activity' })
    .click();
  await page.waitForURL(at('console/r/team/seen/-/activity'));
  await says(page, 'deleted');
  await look(page, 'activity-of-repository', [1440, 375]);
  expect(complaints).toEqual([]);
  await context.close();

  const bob = await as('bob', 'activity');
  await link(bob.page, 'team/seen').first().waitFor();
  expect(await bob.page.locator('main').getByText('hidden/thing').count()).toBe(0);
  expect(await bob.page.locator('main').innerText()).not.toContain('127.0.0.1');
  await bob.context.close();
});

test('a repository is deleted as a whole, by its name', async () => {
  for (const tag of ['v1', 'v2']) await pusher.image('doomed/app', tag, tag);
  const { page, context, complaints } = await as('alice', 'r/doomed/app');
  await button(page, 'Delete repository…').click();
  await dialog(page).getByText('All 2 tags').waitFor();
  const go = button(page, 'Delete the repository');
  expect(await go.isDisabled()).toBe(true);
  await page.getByLabel(/^Type doomed\/app/).fill('doomed/app');
  await look(page, 'delete-repository', [1440, 375]);
  await go.click();
  await told(page, 'doomed/app is deleted: 2 tags');
  await page.locator('.notice').getByRole('link', { name: 'Undelete' }).click();
  await page.waitForURL(at('console/r/doomed/app/-/deleted'));
  await button(page, /^Undelete doomed\/app@/)
    .first()
    .waitFor();
  expect(complaints).toEqual([]);
  await context.close();
});

test('why not: everybody about himself, administrators about anybody', async () => {
  const bob = await as('bob', 'access');
  expect(await bob.page.locator('#why-user').count()).toBe(0);
  await bob.page.locator('#why-repository').fill('team/app');
  await bob.page.locator('#why-tag').fill('v1');
  await button(bob.page, 'Explain').click();
  await bob.page.waitForURL(/repository=team%2Fapp/);
  await says(bob.page, 'bob may not push team/app:v1');
  expect(await bob.page.locator('main').innerText()).not.toContain('admin.toml');
  await look(bob.page, 'access-own', [1440, 375]);
  expect(bob.complaints).toEqual([]);
  await bob.context.close();

  const { page, context, complaints } = await as('alice', 'admin/users');
  await link(page, 'Why not? bob').click();
  await page.waitForURL(at('console/access?user=bob'));
  await page.getByLabel('Wants to').selectOption('pull');
  await page.locator('#why-repository').fill('team/app');
  await button(page, 'Explain').click();
  await says(page, 'bob may pull team/app');
  await says(page, /admin\.toml:\d+/);
  await look(page, 'access', [1440, 375]);
  await page.locator('#why-repository').fill('NO');
  await button(page, 'Explain').click();
  await page.locator('main').getByRole('alert').waitFor();
  expect(complaints).toEqual([]);
  await context.close();

  const nobody = await open(browser, at('console/access?repository=team/app'));
  await says(nobody.page, 'Sign in to see what you may do');
  await nobody.context.close();
});

// SPEC AD7, AD8
test('each page tells what is wrong where it cannot be shown', async () => {
  const { page, context } = await as('alice', 'admin/users');
  await page.route(/\/api\/v1\/(?!session)/, (route) =>
    route.fulfill({
      status: 503,
      headers: { 'Retry-After': '7' },
      json: { errors: [{ code: 'UNAVAILABLE', message: HARM }] },
    }),
  );
  for (const subject of SUBJECTS) {
    await page.goto(at(`console/admin/${subject}`));
    await says(page, 'The registry asks to wait for 7 s.');
    await look(page, `admin-failed-${subject}`, [375]);
  }
  await page.unroute(/\/api\/v1\/(?!session)/);
  await button(page, 'Try again').first().click();
  await says(page, 'group:dev');

  // A part of the console that cannot be loaded.
  await page.goto(at('console/'));
  await page.route('**/assets/pages-*', (route) => route.abort());
  await page.getByRole('banner').getByRole('link', { name: 'Administration' }).click();
  await says(page, 'The page cannot be loaded');
  await look(page, 'not-loaded', [375]);
  await context.close();
});

test('sign-in with other services, and why it did not work', async () => {
  const { page, context, complaints } = await open(browser, at('console/'));
  const session = (await (await fetch(at('api/v1/session'))).json()) as { sign_in: object };
  const oidc = [{ name: 'corp', title: `Corp ${HARM}` }];
  await page.route('**/api/v1/session', (route) =>
    route.fulfill({ json: { ...session, sign_in: { password: true, oidc } } }),
  );
  await page.goto(at('console/sign-in?to=/console/r/team/app?q=v'));
  const corp = link(page, /^Sign in with Corp/);
  expect(await corp.getAttribute('href')).toBe(
    `/api/v1/session/oidc/corp?${new URLSearchParams({ to: '/console/r/team/app?q=v' })}`,
  );
  await look(page, 'sign-in-oidc', [1440, 375]);
  for (const [code, why] of [
    ['denied', 'did not let you in'],
    ['expired', 'took too long'],
    ['provider', 'did not answer'],
    ['not-allowed', 'may not use this registry'],
    ['busy', 'Too many sign-ins'],
    ['failed', 'Its log says why'],
  ] as const) {
    await page.goto(at(`console/signed-out?error=${code}`));
    await says(page, why);
  }
  await page.goto(at(`console/signed-out?error=${encodeURIComponent(HARM)}`));
  await says(page, 'You are not signed in');
  expect(complaints).toEqual([]);
  await context.close();
});

// SPEC AD5
test('a server that is read-only offers nothing that changes', async () => {
  const { page, context, complaints } = await as('alice', '');
  const session = { user: 'alice', administrator: true, groups: [], csrf: 'none', expires: null, read_only: true };
  const more = { version: '0', sign_in: { password: true, oidc: [] }, playground: false, anonymous_pull: false };
  const csrf = await page.evaluate(
    async () => ((await (await fetch('/api/v1/session')).json()) as { csrf: string }).csrf,
  );
  await page.route('**/api/v1/session', (route) => route.fulfill({ json: { ...session, ...more, csrf } }));
  const offers = /^(Delete\b|Undelete|Purge|New mark|New token|Revoke|Remove|Run|Scrub|Recount|Fetch|Evict)/;
  for (const [path, shows] of [
    ['r/team/app', 'latest'],
    ['r/team/app/-/i/latest', 'APP_VERSION'],
    ['tokens', 'You have no token yet'],
    ['admin/usage', 'old/app'],
    ['admin/storage', 'Garbage collection'],
    ['admin/deleted', 'team/back'],
    ['admin/protected', 'Nothing is protected'],
    ['admin/retention?repository=old/many', 'old/many'],
    ['admin/mirrors', 'Mirrors'],
    ['admin/syncs', 'base'],
  ] as const) {
    await page.goto(at(`console/${path}`));
    await says(page, shows);
    await page.getByRole('region', { name: 'Read-only' }).getByText('nothing can be changed').waitFor();
    expect(await button(page, offers).count(), path).toBe(0);
  }
  await look(page, 'read-only', [1440, 375]);
  expect(complaints).toEqual([]);
  await context.close();
});
