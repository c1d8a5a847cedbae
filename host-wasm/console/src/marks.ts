/** Protect marks in words. */
import { short } from './words.js';

/** What a mark speaks of, in words. */
export function meaning(what: string): string {
  const [, repository = '', sign, reference = ''] = /^([^:@]*)([:@])?(.*)$/.exec(what.trim()) ?? [];
  const where = repository.includes('*') ? `the repositories ${repository}` : `the repository ${repository}`;
  if (sign === '@') return `the image ${short(reference)} in ${where}`;
  if (!reference || reference === '*') return `all tags of ${where}`;
  return reference.includes('*') ? `the tags ${reference} of ${where}` : `the tag ${reference} of ${where}`;
}

/** The mark that keeps something from being deleted, in what the server says of that. */
export function markIn(message: string): string | undefined {
  return /protected from being deleted by the mark `([^`]+)`/.exec(message)?.[1];
}
