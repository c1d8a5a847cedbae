/** The benchmark page: how large the modules are, and how long a manifest takes. */
import sizes from '../pkg/sizes.json';
import { connect } from './remote.js';
import { size } from './words.js';

/** What is promised: bytes after gzip, and microseconds. */
const LIMITS = { bytes: sizes.limit, us: 100 };

const put = (id: string, text: string) => (document.getElementById(id)!.textContent = text);

put('size', `${size(sizes.registry.gzip)} (at most ${size(LIMITS.bytes)})`);
put('tester', size(sizes.tester.gzip));
const api = connect((why) => put('status', why));
api.benchmark().then(
  ({ us, rounds }) => {
    put('get', `${us.toFixed(1)} µs, the best of three times ${rounds} (at most ${LIMITS.us} µs)`);
    put('status', us <= LIMITS.us && sizes.registry.gzip <= LIMITS.bytes ? 'As promised.' : 'Not as promised.');
  },
  (error: unknown) => put('status', `It could not be measured: ${String(error)}`),
);
