import { defineConfig } from 'vitest/config';

// One browser after the other: the machine may be small.
export default defineConfig({
  test: {
    include: ['e2e/*.test.ts'],
    globalSetup: 'e2e/temporary.ts',
    testTimeout: 600_000,
    hookTimeout: 60_000,
    // A machine may be slow: what comes, comes within this.
    expect: { poll: { timeout: 20_000 } },
    fileParallelism: false,
  },
});
