/** Small pictures. They say nothing that is not said in words beside them, so they are hidden from screen readers. */

const PATHS = {
  search:
    'M7 1.5a5.5 5.5 0 1 0 3.4 9.8l3.6 3.6.9-.9-3.6-3.6A5.5 5.5 0 0 0 7 1.5Zm0 1.3a4.2 4.2 0 1 1 0 8.4 4.2 4.2 0 0 1 0-8.4Z',
  folder: 'M1.5 3.5c0-.6.4-1 1-1h3.7l1.6 1.8h5.7c.6 0 1 .4 1 1v7.2c0 .6-.4 1-1 1h-11c-.6 0-1-.4-1-1v-9Z',
  box: 'M8 .9 14.5 4v8L8 15.1 1.5 12V4L8 .9Zm0 1.5L3.9 4.3 8 6.3l4.1-2L8 2.4Zm-5.2 3v5.8l4.5 2.1V7.5L2.8 5.4Zm5.9 7.9 4.5-2.1V5.4L8.7 7.5v5.8Z',
  tag: 'M1.5 2.5v5l6.7 6.7c.4.4 1 .4 1.4 0l4.6-4.6c.4-.4.4-1 0-1.4L7.5 1.5h-5c-.6 0-1 .4-1 1Zm3 .8a1.2 1.2 0 1 1 0 2.4 1.2 1.2 0 0 1 0-2.4Z',
  copy: 'M5 1.5h8c.6 0 1 .4 1 1v8c0 .6-.4 1-1 1h-1.5V13c0 .6-.4 1-1 1H3c-.6 0-1-.4-1-1V5.5c0-.6.4-1 1-1h1V2.5c0-.6.4-1 1-1Zm.3 1.3v1.7h5.2c.6 0 1 .4 1 1v4.7h1.2V2.8H5.3ZM3.3 5.8v6.9h6.9V5.8H3.3Z',
  terminal:
    'M2.5 2.5h11c.6 0 1 .4 1 1v9c0 .6-.4 1-1 1h-11c-.6 0-1-.4-1-1v-9c0-.6.4-1 1-1Zm.3 1.3v8.4h10.4V3.8H2.8Zm2 1.6.9-.9L8.8 7.6l-3.1 3.1-.9-.9L7 7.6 4.8 5.4Zm4 4.4h3v1.2h-3V9.8Z',
  check: 'M13.8 4.2 6.4 11.9 2.2 7.7l1-1 3.2 3.2 6.4-6.7 1 1Z',
  open: 'm5.6 3.2 4.8 4.8-4.8 4.8-.9-.9L8.6 8 4.7 4.1l.9-.9Z',
  shield: 'M8 1 13.5 3v4.5c0 3.4-2.3 6.2-5.5 7.5-3.2-1.3-5.5-4.1-5.5-7.5V3L8 1Z',
  warn: 'M8 1.5 15 14H1L8 1.5Zm-.7 4.7v4h1.4v-4H7.3Zm0 5v1.4h1.4v-1.4H7.3Z',
  sun: 'M7.3.8h1.4v2H7.3v-2ZM8 4.3a3.7 3.7 0 1 1 0 7.4 3.7 3.7 0 0 1 0-7.4Zm-.7 8.9h1.4v2H7.3v-2ZM.8 7.3h2v1.4h-2V7.3Zm12.4 0h2v1.4h-2V7.3ZM2.4 3.4l1-1L4.8 3.8l-1 1-1.4-1.4Zm8.8 8.8 1-1 1.4 1.4-1 1-1.4-1.4ZM3.4 13.6l-1-1 1.4-1.4 1 1-1.4 1.4Zm8.8-8.8-1-1 1.4-1.4 1 1-1.4 1.4Z',
  moon: 'M6.3 1.5a6.7 6.7 0 1 0 8.2 8.2A5.7 5.7 0 0 1 6.3 1.5Z',
  half: 'M8 1.3a6.7 6.7 0 1 1 0 13.4A6.7 6.7 0 0 1 8 1.3Zm0 1.3v10.8a5.4 5.4 0 0 0 0-10.8Z',
  person: 'M8 1.5a3.3 3.3 0 1 1 0 6.6 3.3 3.3 0 0 1 0-6.6Zm0 7.7c3.6 0 6.3 1.9 6.3 4.3v1H1.7v-1c0-2.4 2.7-4.3 6.3-4.3Z',
  up: 'm8 3.5 4.5 5h-3v4h-3v-4h-3L8 3.5Z',
  down: 'm8 12.5-4.5-5h3v-4h3v4h3L8 12.5Z',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg class={`i i-${name}`} width={size} height={size} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
