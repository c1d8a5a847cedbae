/** Who is known to the registry. */
import type { User, Users as Told } from '../../administration.js';
import { usePages } from '../../api.js';
import { Badge } from '../../parts/small.js';
import { Empty } from '../../parts/states.js';
import { to } from '../../route.js';
import { count, some } from '../../words.js';
import { Listing } from './listing.js';

export function Users() {
  const list = usePages<Told, User>('/api/v1/users?n=100', ({ users }) => users);
  const { passwords, ldap, oidc = [] } = list.first ?? {};
  const ways = [passwords && 'a password of the password file', ldap && 'LDAP', ...oidc].filter(Boolean);
  return (
    <>
      {list.first && (
        <p class="lead">
          {ways.length > 0
            ? `Users sign in with ${ways.join(', or with ')}.`
            : 'Nobody can sign in: no password file and no identity provider is set.'}
          {' Listed are the users of the password file, and those that rules and groups name.'}
        </p>
      )}
      <Listing
        of={list}
        what="list of users"
        none={
          <Empty title="No user is known">
            <p>
              <code>orlop user add</code> adds one to the password file.
            </p>
          </Empty>
        }
      >
        <div class="panel">
          <table class="rows">
            <caption class="hidden">Users</caption>
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col" class="wide">
                  Groups
                </th>
                <th scope="col" class="number wide">
                  API tokens
                </th>
                <td />
              </tr>
            </thead>
            <tbody>
              {list.items.map(({ name, groups, administrator, tokens }) => (
                <tr key={name}>
                  <th scope="row">
                    <span class="name">
                      <span>{name}</span>
                      {administrator && <Badge kind="kind">administrator</Badge>}
                    </span>
                    <span class="narrow muted small">{[...groups, some(tokens, 'token')].join(' · ')}</span>
                  </th>
                  <td class="wide">
                    <span class="chips">
                      {groups.map((group) => (
                        <span class="chip" key={group}>
                          {group}
                        </span>
                      ))}
                      {groups.length === 0 && <span class="muted">–</span>}
                    </span>
                  </td>
                  <td class="number wide">{count(tokens)}</td>
                  <td class="act">
                    <a href={to.access({ user: name })} aria-label={`Why not? ${name}`}>
                      Why not?
                    </a>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Listing>
    </>
  );
}
