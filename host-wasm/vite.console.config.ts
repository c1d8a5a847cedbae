import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: at('console'),
  // The server puts in where the parts are, as seen from the path that it was asked for.
  base: './',
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
