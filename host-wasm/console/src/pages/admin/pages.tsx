/** The pages that are loaded later: see later.tsx. */
import type { Route } from '../../route.js';
import type { LaterRoute } from '../later.js';
import { Access } from './access.js';
import { Activity } from './activity.js';
import { Deleted, DeletedOf } from './deleted.js';
import { Frame } from './frame.js';
import { Mirrors } from './mirrors.js';
import { Protected } from './protected.js';
import { Retention } from './retention.js';
import { Rules } from './rules.js';
import { Storage } from './storage.js';
import { Syncs } from './syncs.js';
import { Usage } from './usage.js';
import { Users } from './users.js';

export function Page({ of }: { of: LaterRoute }) {
  switch (of.page) {
    case 'admin':
      return (
        <Frame of={of.of}>
          <Administration of={of} />
        </Frame>
      );
    case 'deleted':
      return <DeletedOf repository={of.repository} />;
    case 'activity':
      return <Activity of={of} />;
    case 'access':
      return <Access of={of.of} />;
  }
}

function Administration({ of }: { of: Extract<Route, { page: 'admin' }> }) {
  switch (of.of) {
    case 'usage':
      return <Usage sort={of.sort} />;
    case 'storage':
      return <Storage />;
    case 'deleted':
      return <Deleted repository={of.repository} />;
    case 'protected':
      return <Protected />;
    case 'retention':
      return <Retention repository={of.repository} />;
    case 'mirrors':
      return <Mirrors />;
    case 'syncs':
      return <Syncs />;
    case 'users':
      return <Users />;
    case 'rules':
      return <Rules />;
  }
}
