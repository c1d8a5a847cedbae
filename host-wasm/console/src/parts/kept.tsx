/** What is told where a protect mark keeps something from being deleted. */
import { markIn } from '../marks.js';
import { to } from '../route.js';
import { session } from '../session.js';

/** Who can remove a mark, and where. */
export function Lifting() {
  return session.value?.administrator ? (
    <>
      You can remove the mark under <a href={to.admin('protected')}>Protected</a>.
    </>
  ) : (
    <>An administrator can remove the mark.</>
  );
}

/** Why the server has not deleted something, by what it says. */
export function Refused({ why }: { why: string }) {
  const mark = markIn(why);
  if (mark === undefined) return <>{why}.</>;
  return (
    <>
      the mark <code>{mark}</code> protects it. <Lifting />
    </>
  );
}
