/** Sign-in at a real identity provider (oidc-provider), as a person does it in a browser, over TLS. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { APIResponse, Browser, Page } from 'playwright-core';
import { Pusher } from './content.js';
import { look } from './look.js';
import { certified, directory, freePort, passwords, serve, settings, stopServers } from './orlop.js';
import { launch, open } from './site.js';

const PROVIDER = fileURLToPath(new URL('../../tests/clients/identity-provider.mjs', import.meta.url));
const TOOLS = process.env['ORLOP_TOOLS'] ?? fileURLToPath(new URL('../../target/tools', import.meta.url));
const PASSWORD = 'correct horse';
/** How long something may take on a slow machine. */
const SLOW = { timeout: 20_000 };
let browser: Browser;
let url: string;
let port: number;
let provider: ChildProcess | undefined;

/** Whom the provider has in the group `dev` may do all in `people`; nobody else may see it. */
const given = (issuer: string, users: string, secret: string) => `
auth-htpasswd = ${JSON.stringify(users)}
[[oidc]]
name = "corp"
title = "Example Inc."
issuer = "${issuer}"
client-id = "console"
client-secret-file = ${JSON.stringify(secret)}
scopes = ["profile"]
user = "{preferred_username}"
groups = ["{groups}"]
claims = { groups = ["staff"], sub = ["alice*", "bob*"] }
[[rule]]
who = ["group:corp:dev"]
allow = ["all"]
repositories = ["people/**"]
[[rule]]
who = ["user:local"]
allow = ["all"]
repositories = ["**"]
`;

async function startProvider(): Promise<void> {
  const env = { ...process.env, ORLOP_TOOLS: TOOLS, CALLBACK: `${url}api/v1/session/oidc/corp/callback` };
  const file = join(directory, 'provider-keys.json');
  provider = spawn(process.execPath, [PROVIDER, String(port), file], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface(provider.stdout!)) if (line === 'listening') break;
  provider.stdout!.resume();
}

async function stopProvider(): Promise<void> {
  const ended = new Promise((resolve) => provider!.once('exit', resolve));
  provider!.kill('SIGKILL');
  await ended;
  provider = undefined;
}

beforeAll(async () => {
  if (!existsSync(join(TOOLS, 'oidc-provider')))
    throw new Error('oidc-provider is not installed: run tests/clients/install oidc-provider');
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
  port = await freePort();
  const users = passwords('oidc.htpasswd', 'local', PASSWORD);
  const secret = settings('oidc-secret', 'console-secret\n');
  const text = given(`http://127.0.0.1:${port}`, users, secret) + certified();
  const addr = `127.0.0.1:${await freePort()}`;
  url = `https://${addr}/`;
  // First: a server that has found no provider looks for it again a while later.
  await startProvider();
  expect(await serve('oidc', '--addr', addr, '--config', settings('oidc.toml', text))).toBe(url);
  const pusher = new Pusher(url, `local:${PASSWORD}`);
  await pusher.image('people/box', 'v1', 'box');
  await pusher.image('others/box', 'v1', 'other');
  browser = await launch();
}, 120_000);
afterAll(async () => {
  await browser?.close();
  if (provider) await stopProvider();
  stopServers();
});

const at = (path: string) => new URL(path, url).href;
const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });
const link = (page: Page, name: string | RegExp) => page.getByRole('link', { name, exact: typeof name === 'string' });
const says = (page: Page, text: string | RegExp) => page.locator('main').getByText(text).first().waitFor();

/** A tab at the provider, which asks who it is: from a page that asks to sign in. */
async function asked() {
  const tab = await open(browser, at('console/r/people/box?q=v'), { ignoreHTTPSErrors: true });
  await says(tab.page, 'Sign in to see this repository');
  await tab.page.locator('main').getByRole('link', { name: 'Sign in' }).click();
  await link(tab.page, 'Sign in with Example Inc.').waitFor();
  return tab;
}

/** Says at the provider who it is, and agrees. */
async function answer(page: Page, name: string): Promise<void> {
  await page.locator('input[name=login]').fill(name);
  await page.locator('input[name=password]').fill('any');
  await page.locator('button[type=submit]').click();
  await page.getByRole('button', { name: 'Continue' }).click();
}

// SPEC AC16 to AC18, AB1
test('the button leads to the provider and back to the page asked for, as what the claims allow', async () => {
  const { page, context, complaints } = await asked();
  await look(page, 'sign-in-provider', [1440, 375]);
  await link(page, 'Sign in with Example Inc.').click();
  await page.waitForURL(/\/interaction\//);
  await answer(page, 'alice');
  await page.waitForURL(at('console/r/people/box?q=v'));
  await link(page, 'v1').waitFor();
  await page.getByText('corp:alice').first().waitFor();
  const cookies = (await context.cookies(url)).filter(({ name }) => name.startsWith('__Host-'));
  expect(cookies).toHaveLength(1);
  expect(cookies[0]).toMatchObject({ name: '__Host-orlop-session', httpOnly: true, secure: true, sameSite: 'Strict' });
  expect((await button(page, 'Delete repository…').count()) + (await page.getByLabel('Select v1').count())).toBe(1);
  await page.goto(at('console/?view=all'));
  await link(page, 'people/box').waitFor();
  expect(await page.locator('tbody th .name').allInnerTexts()).toEqual(['people/box']);
  await page.goto(at('console/r/others/box'));
  await says(page, 'corp:alice may not see');
  // Neither the code nor what belongs to it stays in the history.
  expect(await page.evaluate(() => document.referrer + location.href)).not.toMatch(/code=|state=/);

  await page.locator('.menu summary').click();
  await button(page, 'Sign out').click();
  await page.getByText('You are signed out').waitFor();
  expect((await context.cookies(url)).filter(({ name }) => name.startsWith('__Host-'))).toEqual([]);
  await page.goto(at('console/r/people/box'));
  await says(page, 'Sign in to see this repository');
  expect(complaints).toEqual([]);
  await context.close();
});

// SPEC AC2, AC19
test('who says no at the provider, or is not let in by the settings, is told so', async () => {
  const refused = await asked();
  await link(refused.page, 'Sign in with Example Inc.').click();
  await refused.page.getByRole('link', { name: 'Cancel' }).click();
  await refused.page.waitForURL(at('console/signed-out?error=denied'));
  await says(refused.page, 'The service did not let you in.');
  await look(refused.page, 'provider-denied', [1440, 375]);
  // From there one can try again.
  await refused.page.locator('main').getByRole('link', { name: 'Sign in' }).click();
  await link(refused.page, 'Sign in with Example Inc.').click();
  await refused.page.waitForURL(/\/interaction\//);
  await answer(refused.page, 'mallory');
  await refused.page.waitForURL(at('console/signed-out?error=not-allowed'));
  await says(refused.page, 'The service knows you, but you may not use this registry.');
  await refused.page.goto(at('console/?view=all'));
  await says(refused.page, 'Sign in to see');
  await refused.context.close();
});

// SPEC AC19
test('a provider that is down is told, before and after one has been there, and passwords work on', async () => {
  const { page, context } = await asked();
  await link(page, 'Sign in with Example Inc.').click();
  await page.waitForURL(/\/interaction\//);
  const inside = await open(browser, at('console/'), { ignoreHTTPSErrors: true });
  await inside.page.getByRole('banner').getByRole('link', { name: 'Sign in' }).click();
  await link(inside.page, 'Sign in with Example Inc.').click();
  await inside.page.waitForURL(/\/interaction\//);
  await answer(inside.page, 'bob');
  await inside.page.waitForURL(at('console/'));
  await link(inside.page, 'people').waitFor();

  // What the provider sends the browser back with comes when it does not run any more.
  await page.locator('input[name=login]').fill('alice');
  await page.locator('input[name=password]').fill('any');
  await page.locator('button[type=submit]').click();
  await page.getByRole('button', { name: 'Continue' }).waitFor();
  const action = await page.locator('form').getAttribute('action');
  const leads = (answer: APIResponse) => answer.headers()['location']!;
  const agreed = await context.request.post(action!, { form: { prompt: 'consent' }, maxRedirects: 0 });
  const callback = leads(await context.request.get(leads(agreed), { maxRedirects: 0 }));
  expect(callback).toContain('code=');
  await stopProvider();
  await page.goto(callback);
  await page.waitForURL(at('console/signed-out?error=provider'));
  await says(page, 'The service did not answer, or not as it should. Try again in a moment.');
  await look(page, 'provider-down', [1440, 375]);

  // Who is signed in stays so; who has a password signs in.
  await inside.page.reload();
  await link(inside.page, 'people').waitFor();
  await page.locator('main').getByRole('link', { name: 'Sign in' }).click();
  await page.getByLabel('User name').fill('local');
  await page.getByLabel('Password').fill(PASSWORD);
  await page.locator('form button[type=submit]', { hasText: 'Sign in' }).click();
  await link(page, 'others').waitFor();
  await page.locator('.menu summary').click();
  await button(page, 'Sign out').click();

  // When it is there again, it can be used again.
  await startProvider();
  await page.goto(at('console/sign-in?to=/console/r/people/box'));
  await link(page, 'Sign in with Example Inc.').click();
  await page.waitForURL(/\/interaction\//, SLOW);
  await answer(page, 'alice');
  await page.waitForURL(at('console/r/people/box'));
  await context.close();
  await inside.context.close();
});
