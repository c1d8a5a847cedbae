/** How much of something is used, as a bar. The text beside it says the same. */

export function Bar({ used, of, soft, label }: { used: number; of: number; soft?: number | null; label: string }) {
  const part = (bytes: number) => Math.min(100, Math.max(0, of > 0 ? (bytes / of) * 100 : 100));
  const level = used >= of ? 'full' : soft != null && used >= soft ? 'near' : '';
  return (
    <svg class={`share ${level}`} viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label={label}>
      <rect class="ground" width="100" height="8" />
      <rect class="used" width={used > 0 ? Math.max(0.6, part(used)) : 0} height="8" />
      {soft != null && soft < of && <rect class="soft" x={part(soft) - 0.25} width="0.5" height="8" />}
    </svg>
  );
}

/** Parts of a hundred, without a fraction; `<1` for what is little. */
export function percent(used: number, of: number): string {
  if (of <= 0) return '100 %';
  const value = (used / of) * 100;
  return value > 0 && value < 1 ? '<1 %' : `${Math.floor(value).toLocaleString('en')} %`;
}
