/** What the tests put on disk lies in one directory, which goes when they have ended. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export default function (): () => void {
  const directory = mkdtempSync(join(tmpdir(), 'orlop-e2e-'));
  process.env['TMPDIR'] = directory;
  return () => rmSync(directory, { recursive: true, force: true });
}
