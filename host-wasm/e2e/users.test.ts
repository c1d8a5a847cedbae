/** The console over TLS, for users of different rights: each sees what is his, and what others do meanwhile is told. */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { Pusher } from './content.js';
import { look } from './look.js';
import { ORLOP, certified, passwords, serve, settings, stopServers } from './orlop.js';
import { launch, open } from './site.js';

const PASSWORD = 'correct horse';
/** How long something may take on a slow machine. */
const SLOW = { timeout: 20_000 };
let browser: Browser;
let url: string;
let users: string;
let pusher: Pusher;

/** An administrator, one who may push in a folder, one who may pull one repository, and one who may do nothing. */
const RULES = `
administrators = ["user:ada"]
[[rule]]
who = ["user:ada"]
allow = ["all"]
repositories = ["**"]
[[rule]]
who = ["user:dev"]
allow = ["pull", "push", "delete", "list"]
repositories = ["team/*"]
[[rule]]
who = ["user:eve"]
allow = ["pull", "list"]
repositories = ["base/debian"]
`;

beforeAll(async () => {
  // Node asks as the browser does: whoever signed the certificate.
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
  for (const user of ['ada', 'dev', 'eve', 'nemo', 'gone']) users = passwords('users.htpasswd', user, PASSWORD);
  const text = `auth-htpasswd = ${JSON.stringify(users)}\n${RULES}\n${certified()}`;
  url = await serve('users', '--config', settings('users.toml', text));
  expect(url).toMatch(/^https:/);
  pusher = new Pusher(url, `ada:${PASSWORD}`);
  for (const repository of ['team/app', 'team/lib', 'base/debian', 'base/alpine', 'secret/plans'])
    for (const tag of ['v1', 'v2']) await pusher.image(repository, tag, `${repository} ${tag}`);
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

async function signIn(page: Page, user: string): Promise<void> {
  await page.getByLabel('User name').fill(user);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.locator('form button[type=submit]', { hasText: 'Sign in' }).click();
}

/** A tab in which that user is signed in, at that page. */
async function as(user: string, path: string) {
  const to = encodeURIComponent(`/console/${path}`);
  const tab = await open(browser, at(`console/sign-in?to=${to}`), { ignoreHTTPSErrors: true });
  await signIn(tab.page, user);
  await tab.page.waitForURL(at(`console/${path}`));
  return tab;
}

const SESSION = '__Host-orlop-session';
const sessionOf = async (context: BrowserContext) =>
  (await context.cookies(url)).filter(({ name }) => name.includes('session'));

test('the cookie of a session goes to this server alone, by TLS, and no script reads it', async () => {
  const { page, context, complaints } = await as('ada', '');
  await link(page, 'team').waitFor();
  const [cookie, ...more] = await sessionOf(context);
  expect(more).toEqual([]);
  expect(cookie).toMatchObject({
    name: SESSION,
    domain: '127.0.0.1',
    path: '/',
    secure: true,
    httpOnly: true,
    sameSite: 'Strict',
  });
  expect(await page.evaluate(() => document.cookie)).toBe('');
  // It counts together with what the page alone is told.
  const csrf = await page.evaluate(
    async () => ((await (await fetch('/api/v1/session')).json()) as { csrf: string }).csrf,
  );
  const usage = async (more: Record<string, string>) =>
    (await fetch(at('api/v1/usage'), { headers: { Cookie: `${SESSION}=${cookie!.value}`, ...more } })).status;
  expect(await usage({})).toBe(401);
  expect(await usage({ 'X-CSRF-Token': `${csrf}x` })).toBe(401);
  expect(await usage({ 'X-CSRF-Token': csrf })).toBe(200);

  await page.locator('.menu summary').click();
  await button(page, 'Sign out').click();
  await told(page, 'You are signed out');
  expect(await sessionOf(context)).toEqual([]);
  // The session itself is over, not the cookie alone.
  await context.addCookies([cookie!]);
  await page.goto(at('console/r/secret/plans'));
  await says(page, 'Sign in to see this repository');
  await page.getByRole('banner').getByRole('link', { name: 'Sign in' }).waitFor();
  await signIn(await followed(page), 'ada');
  await link(page, 'v1').waitFor();
  // Another one each time.
  expect((await sessionOf(context)).map(({ value }) => value)).not.toContain(cookie!.value);
  expect(complaints).toEqual([]);
  await context.close();
});

/** The page to which the link leads that offers to sign in. */
async function followed(page: Page): Promise<Page> {
  await page.getByRole('banner').getByRole('link', { name: 'Sign in' }).click();
  return page;
}

/** What a user sees, and what is offered to him. */
interface Sight {
  /** Repositories in the list. */
  repositories: string[];
  /** Folders, and how many repositories they have. */
  folders: string[];
  deletes: boolean;
  administers: boolean;
  /** A repository that is there and that he may not see. */
  hidden?: string;
}

test.each<[user: string, sees: Sight]>([
  [
    'ada',
    {
      repositories: ['base/alpine', 'base/debian', 'secret/plans', 'team/app', 'team/lib'],
      folders: ['base 2 repositories', 'secret 1 repository', 'team 2 repositories'],
      deletes: true,
      administers: true,
    },
  ],
  [
    'dev',
    {
      repositories: ['team/app', 'team/lib'],
      folders: ['team 2 repositories'],
      deletes: true,
      administers: false,
      hidden: 'base/debian',
    },
  ],
  [
    'eve',
    {
      repositories: ['base/debian'],
      folders: ['base 1 repository'],
      deletes: false,
      administers: false,
      hidden: 'base/alpine',
    },
  ],
  ['nemo', { repositories: [], folders: [], deletes: false, administers: false, hidden: 'team/app' }],
])('%s sees what the rules let him see, and is offered what they let him do', async (user, sees) => {
  const { page, context, complaints } = await as(user, '');
  const asked: string[] = [];
  page.on('response', (one) => void (one.status() === 403 && asked.push(one.url())));
  const rows = page.locator('tbody th .name');
  if (sees.repositories.length === 0) {
    await says(page, 'There is no repository that you may see');
    await look(page, 'nothing-to-see', [1440, 375]);
  } else {
    await expect
      .poll(async () => (await rows.allInnerTexts()).map((row) => row.replace(/\s+/g, ' ')), SLOW)
      .toEqual(sees.folders);
    await page.goto(at('console/?view=all'));
    await expect.poll(() => rows.allInnerTexts(), SLOW).toEqual(sees.repositories);
  }
  await page.goto(at('console/search?q=v1'));
  if (sees.repositories.length > 0) await link(page, `${sees.repositories[0]}:v1`).waitFor();
  else await says(page, 'Nothing');
  expect(await page.locator('main li a').allInnerTexts()).toEqual(sees.repositories.map((name) => `${name}:v1`));

  // By its URL.
  for (const path of sees.hidden ? [`r/${sees.hidden}`, `r/${sees.hidden}/-/i/v1`] : []) {
    await page.goto(at(`console/${path}`));
    await says(page, /There is no such|You may not see this/);
    expect(await page.locator('main').innerText()).not.toContain('sha256:');
  }
  const one = sees.repositories.at(-1);
  if (one) {
    await page.goto(at(`console/r/${one}`));
    await link(page, 'v1').waitFor();
    expect(await button(page, 'Delete repository…').count()).toBe(Number(sees.deletes));
    expect(await page.getByLabel('Select v1').count()).toBe(Number(sees.deletes));
    expect(await page.getByRole('navigation', { name: 'Pages of the repository' }).innerText()).toBe(
      sees.deletes ? 'Tags\nActivity\nDeleted' : 'Tags\nActivity',
    );
    await page.goto(at(`console/r/${one}/-/i/v1`));
    await link(page, /^Layers/).waitFor();
    expect(await button(page, 'Delete…').count()).toBe(Number(sees.deletes));
  }
  await page.goto(at('console/activity'));
  const places = page.locator('main tbody a', { hasText: /\// });
  const seen = async () => [...new Set((await places.allInnerTexts()).map((text) => text.split(/[:@]/)[0]))].sort();
  await expect.poll(seen, SLOW).toEqual(sees.repositories);
  expect(await link(page, 'Administration').count()).toBe(Number(sees.administers));
  await page.goto(at('console/admin/usage'));
  await says(page, sees.administers ? 'secret/plans' : 'Only administrators may see this page');
  // Nothing was asked for that is refused.
  expect(asked).toEqual([]);
  expect(complaints).toEqual([]);
  await context.close();
});

test('an API token may do what is said in it, never more than its user, and administers nothing', async () => {
  const made = async (user: string, repositories: string, actions: string[]) => {
    const { page, context, complaints } = await as(user, 'tokens');
    await button(page, 'New token…').click();
    await page.getByLabel('Name').fill(`of ${user}`);
    await page.getByLabel('In these repositories').fill(repositories);
    for (const action of ['pull', 'push', 'delete'])
      await page
        .locator('dialog')
        .getByRole('checkbox', { name: new RegExp(`^${action}`, 'i') })
        .setChecked(actions.includes(action));
    await button(page, 'Make the token').click();
    const secret = (await page.locator('dialog .command code').innerText()).trim();
    expect(complaints).toEqual([]);
    await context.close();
    return new Pusher(url, `${user}:${secret}`);
  };
  const status = (by: Pusher, method: string, path: string) =>
    by.send(method, path).then(
      ({ status }) => status,
      (error: Error) => Number(/: (\d{3}) /.exec(error.message)?.[1]),
    );
  const dev = await made('dev', '**', ['pull', 'push']);
  await dev.image('team/app', 'pushed', 'with a token');
  expect(await status(dev, 'DELETE', '/v2/team/app/manifests/pushed')).toBe(403);
  expect(await status(dev, 'POST', '/v2/base/debian/blobs/uploads/')).toBe(403);
  const ada = await made('ada', 'team/*', ['pull']);
  expect(await status(ada, 'GET', '/v2/team/app/tags/list')).toBe(200);
  expect(await status(ada, 'GET', '/v2/secret/plans/tags/list')).toBe(404);
  expect(await status(ada, 'GET', '/api/v1/usage')).toBe(403);
  expect(await status(ada, 'GET', '/api/v1/tokens')).toBe(403);
});

test('two delete the same tag, and one looks at a tag that another moves', async () => {
  for (const tag of ['once', 'twice', 'moves', 'moves-too']) await pusher.image('team/shared', tag, tag);
  const dev = await as('dev', 'r/team/shared');
  const ada = await as('ada', 'r/team/shared');
  for (const { page } of [dev, ada]) await page.getByLabel('Select once').check();
  const image = await as('ada', 'r/team/shared/-/i/twice');
  await button(image.page, 'Delete…').click();
  for (const { page } of [dev, ada]) {
    await button(page, 'Delete…').click();
    await button(page, 'Delete it').click();
    await told(page, '1 tag of team/shared deleted');
    await expect.poll(() => link(page, 'once').count(), SLOW).toBe(0);
  }
  await pusher.send('DELETE', '/v2/team/shared/manifests/twice');
  await image.page.locator('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await told(image.page, 'team/shared:twice was deleted in the meantime');
  await link(image.page, 'moves').waitFor();

  // Each has looked at what is not there any more.
  await link(image.page, 'moves').click();
  await button(image.page, 'Delete…').click();
  await dev.page.getByLabel('Select moves', { exact: true }).check();
  await dev.page.getByLabel('Select moves-too').check();
  const moved = await pusher.image('team/shared', 'moves', 'moved');
  await image.page.locator('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await image.page.getByText('It is not deleted: moves names another image by now.').waitFor();
  await look(image.page, 'delete-moved', [1440, 375]);
  await button(image.page, 'Show that one').click();
  await image.page.locator('.digest.whole').getByText(moved.digest).waitFor();
  await button(dev.page, 'Delete…').click();
  await dev.page.getByLabel(/^Type team\/shared/).fill('team/shared');
  await button(dev.page, 'Delete 2 tags').click();
  await dev.page.getByText('1 of 2 deleted, 1 refused').waitFor();
  await dev.page.locator('dialog').getByText('it names another image by now').waitFor();
  await dev.page.locator('dialog').getByRole('button', { name: 'Close' }).click();
  const left = (await (await pusher.send('GET', '/v2/team/shared/tags/list')).json()) as { tags: string[] };
  expect(left.tags).toEqual(['moves']);
  for (const { context, complaints } of [dev, ada, image]) {
    expect(complaints).toEqual([]);
    await context.close();
  }
});

test('who can lift a protect mark is said, and administrators are led there', async () => {
  await pusher.image('team/kept', 'v1', 'kept');
  const dev = await as('dev', 'r/team/kept/-/i/v1');
  const ada = await as('ada', 'r/team/kept/-/i/v1');
  for (const { page } of [dev, ada]) await button(page, 'Delete…').click();
  await pusher.send('POST', '/api/v1/protected', JSON.stringify({ what: 'team/kept:v*' }), 'application/json');
  for (const { page } of [dev, ada]) {
    await page.locator('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
    await page.getByText('It is not deleted: the mark team/kept:v* protects it.').waitFor();
  }
  await dev.page.locator('dialog').getByText('An administrator can remove the mark.').waitFor();
  await look(ada.page, 'delete-protected', [1440, 375]);
  await ada.page.locator('dialog').getByRole('link', { name: 'Protected' }).click();
  await ada.page.waitForURL(at('console/admin/protected'));
  await button(ada.page, 'Remove team/kept:v*').waitFor();
  for (const { context, complaints } of [dev, ada]) {
    expect(complaints).toEqual([]);
    await context.close();
  }
});

test('the session of a user who is removed is over, and the page says so', async () => {
  const { page, context } = await as('gone', 'tokens');
  await says(page, 'You have no token yet');
  execFileSync(ORLOP, ['user', 'remove', '--auth-htpasswd', users, 'gone']);
  const user = () =>
    page.evaluate(async () => ((await (await fetch('/api/v1/session')).json()) as { user: string | null }).user);
  await expect.poll(user, SLOW).toBe(null);
  // The page does not know that yet.
  await page.locator('.menu summary').click();
  await link(page, 'Why not?').click();
  await page.locator('#why-repository').fill('team/app');
  await button(page, 'Explain').click();
  await page.getByText('Your session is over.').waitFor();
  await page.getByRole('alert').getByRole('link', { name: 'Sign in again' }).click();
  await signIn(page, 'gone');
  await page.getByText('The user name or the password is wrong.').waitFor();
  await context.close();
});
