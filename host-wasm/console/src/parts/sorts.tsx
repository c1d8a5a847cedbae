/** The head of a column by which a table can be sorted: a link, since how it is sorted is in the URL. */
import type { Order } from '../route.js';
import { Icon } from './icons.js';

export function Sorts({
  title,
  kind,
  about,
  now,
  href,
}: {
  title: string;
  kind?: string | undefined;
  /** What stands in the column, in a sentence. */
  about?: string | undefined;
  /** How the table is sorted by it now, if it is. */
  now: Order | undefined;
  href: string | undefined;
}) {
  const sorted = now && (now === 'asc' ? 'ascending' : 'descending');
  return (
    <th scope="col" class={kind} aria-sort={sorted} title={about}>
      {href ? (
        <a class="sorts" href={href}>
          {title}
          {now && <Icon name={now === 'asc' ? 'up' : 'down'} size={12} />}
        </a>
      ) : (
        title
      )}
    </th>
  );
}
