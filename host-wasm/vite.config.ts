import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: at('page'),
  // The page runs from any directory of any file server.
  base: './',
  resolve: { alias: { crypto: at('page/shims/crypto.ts'), os: at('page/shims/os.ts') } },
  define: { 'process.versions.node': '"browser"' },
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    // Everything is a file of its own: the content security policy allows no data: and no inline scripts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1024,
    rollupOptions: {
      input: { index: at('page/index.html'), bench: at('page/bench.html'), sw: at('page/src/sw.ts') },
      output: {
        // A service worker is found by its name, at the place whose requests it answers.
        entryFileNames: (chunk) => (chunk.name === 'sw' ? 'sw.js' : 'assets/[name]-[hash].js'),
      },
    },
  },
});
