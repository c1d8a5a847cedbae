/** Who may do what, as the settings say. */
import type { Rules as Told } from '../../administration.js';
import { useAnswer } from '../../api.js';
import { Badge } from '../../parts/small.js';
import { Coming, Failed } from '../../parts/states.js';
import { to } from '../../route.js';
import { sentence } from '../../words.js';

export function Rules() {
  const { data, problem, again } = useAnswer<Told>('/api/v1/rules');
  if (!data)
    return problem ? <Failed why={problem} what="list of rules" again={again} /> : <Coming what="rules" rows={5} />;
  const { administrators, rules, groups, without_rules: otherwise } = data;
  return (
    <>
      <p class="lead">
        The rules are in the settings file. <a href={to.access()}>Why not?</a> tells which of them lets somebody do
        something, or does not.
      </p>
      <section class="part">
        <h2>Rules</h2>
        {rules.length > 0 && (
          <div class="panel">
            <table class="rows">
              <caption class="hidden">Rules</caption>
              <thead>
                <tr>
                  <th scope="col">Who</th>
                  <th scope="col">May</th>
                  <th scope="col" class="wide">
                    Where
                  </th>
                  <th scope="col" class="wider">
                    Written in
                  </th>
                </tr>
              </thead>
              <tbody>
                {rules.map(({ who, repositories, actions, tags, deny, place }, at) => (
                  <tr key={at}>
                    <th scope="row">
                      <Chips of={who} />
                      <span class="narrow muted small">
                        {[...repositories, ...(tags ?? []).map((tag) => `:${tag}`)].join(', ')}
                      </span>
                    </th>
                    <td>
                      {deny && <Badge kind="bad">may not</Badge>} {actions.join(', ')}
                    </td>
                    <td class="wide">
                      <Chips of={repositories} />
                      {tags && tags.length > 0 && (
                        <span class="small block">
                          tags <Chips of={tags} />
                        </span>
                      )}
                    </td>
                    <td class="wider">
                      {place ? <code class="break muted">{place}</code> : <span class="muted">–</span>}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
        <p class="muted after">{sentence(otherwise)}</p>
      </section>
      <section class="part">
        <h2>Administrators</h2>
        {administrators.length > 0 ? <Chips of={administrators} /> : <p class="muted">Nobody.</p>}
      </section>
      {groups.length > 0 && (
        <section class="part">
          <h2>Groups</h2>
          <ul class="panel list">
            {groups.map(({ name, members }) => (
              <li key={name}>
                <strong>{name}</strong>
                <Chips of={members} />
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  );
}

function Chips({ of }: { of: string[] }) {
  return (
    <span class="chips">
      {of.map((text) => (
        <code class="chip" key={text}>
          {text}
        </code>
      ))}
    </span>
  );
}
