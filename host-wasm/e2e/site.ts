/** A file server as plain as any, and a browser on it. */
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { readFile } from 'node:fs/promises';
import { mkdirSync } from 'node:fs';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import type { Browser, BrowserContext, Page } from 'playwright-core';

const here = fileURLToPath(new URL('..', import.meta.url));
/** Where the built page is. */
export const PAGE = process.env['ORLOP_PAGE'] ?? join(here, 'page-dist', 'playground');
/** Where screenshots are kept. */
export const SHOTS = process.env['ORLOP_SHOTS'] ?? join(here, '..', 'target', 'playground');
/** Debian's. */
const CHROMIUM = process.env['ORLOP_CHROMIUM'] ?? '/usr/bin/chromium';

const TYPES: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

/** Serves the files of a directory, and knows nothing of registries. */
export async function serveFiles(directory = PAGE): Promise<{ url: string; server: Server }> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://x').pathname;
    const file = join(directory, normalize(path.endsWith('/') ? `${path}index.html` : path));
    readFile(file).then(
      (bytes) =>
        response.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream' }).end(bytes),
      () => response.writeHead(404).end('not here'),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return { url: `http://localhost:${port}/`, server };
}

export function launch(...more: string[]): Promise<Browser> {
  mkdirSync(SHOTS, { recursive: true });
  return chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-dev-shm-usage', ...more] });
}

/** A tab, and everything that it complained of. */
export interface Tab {
  context: BrowserContext;
  page: Page;
  complaints: string[];
  /** Addresses of other origins that were asked. */
  strangers: string[];
}

export async function open(
  browser: Browser,
  url: string,
  options: Parameters<Browser['newContext']>[0] = {},
): Promise<Tab> {
  return watched(
    await browser.newContext({ viewport: { width: 1280, height: 860 }, acceptDownloads: true, ...options }),
    url,
  );
}

/** A tab of a browser with a profile in that directory; `quotaSize` is how many bytes its origin may store. */
export async function openProfile(directory: string, url: string, quotaSize?: number): Promise<Tab> {
  const args = ['--no-sandbox', '--disable-dev-shm-usage'];
  const context = await chromium.launchPersistentContext(directory, { executablePath: CHROMIUM, args });
  return watched(context, url, async (page) => {
    if (quotaSize === undefined) return;
    // Before the page is there: what space it has is remembered from its first write on.
    const session = await context.newCDPSession(page);
    await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(url).origin, quotaSize });
  });
}

async function watched(context: BrowserContext, url: string, before?: (page: Page) => Promise<void>): Promise<Tab> {
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  const complaints: string[] = [];
  const strangers: string[] = [];
  page.on('console', (message) => {
    // A browser writes every answer of 4xx on the console; a registry that is not there is one of them.
    const refused = /Failed to load resource/.test(message.text());
    if (['error', 'warning'].includes(message.type()) && !refused) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  context.on('request', (request) => {
    const asked = new URL(request.url());
    if (/^https?:$/.test(asked.protocol) && asked.origin !== new URL(url).origin) strangers.push(request.url());
  });
  await before?.(page);
  await page.goto(url);
  return { context, page, complaints, strangers };
}

/** Goes to a panel and waits until it stands. */
export async function go(page: Page, hash: string): Promise<void> {
  await page.evaluate((to) => void (location.hash = to), hash);
  await page.waitForSelector('main h1');
  await page.waitForFunction(() => !document.body.textContent?.includes('Opening the registry'));
}
