import { render } from 'preact';
import { App } from './app.js';
import { failure, reason, start } from './state.js';

render(<App />, document.getElementById('app')!);
start().catch((error: unknown) => (failure.value = reason(error)));
