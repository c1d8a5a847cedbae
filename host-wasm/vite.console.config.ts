import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: at('console'),
  // Every path below it gives the page, so its parts have to be named from the root.
  base: '/console/',
  // The icon.
  publicDir: at('page/public'),
  build: {
    target: 'es2022',
    emptyOutDir: true,
    // Everything is a file of its own: the content security policy allows no inline scripts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
