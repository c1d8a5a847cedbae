import { to } from '../route.js';

export function Missing() {
  return (
    <section class="state">
      <h1 tabIndex={-1}>There is no such page</h1>
      <p>The address leads nowhere: a letter may be wrong in it, or what it led to may have another name now.</p>
      <div class="actions">
        <a class="button" href={to.repositories()}>
          All repositories
        </a>
      </div>
    </section>
  );
}
