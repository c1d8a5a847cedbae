import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { json } from '@codemirror/lang-json';
import { HighlightStyle, bracketMatching, indentOnInput, syntaxHighlighting } from '@codemirror/language';
import { Compartment, EditorState } from '@codemirror/state';
import { EditorView, keymap, lineNumbers } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { useEffect, useRef } from 'preact/hooks';

const look = EditorView.theme({
  '&': { fontSize: '0.8125rem', backgroundColor: 'var(--field)', color: 'var(--text)', height: '100%' },
  '.cm-content': { fontFamily: 'var(--mono)', caretColor: 'var(--text)', padding: '0.5rem 0' },
  '.cm-gutters': { backgroundColor: 'transparent', color: 'var(--muted)', border: 'none' },
  '.cm-scroller': { overflow: 'auto', lineHeight: '1.5' },
  '&.cm-focused': { outline: 'none' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '.cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground': {
    backgroundColor: 'var(--selection)',
  },
});

const colours = HighlightStyle.define([
  { tag: tags.propertyName, color: 'var(--code-name)' },
  { tag: tags.string, color: 'var(--code-string)' },
  { tag: [tags.number, tags.bool, tags.null], color: 'var(--code-number)' },
]);

interface Props {
  label: string;
  /** What stands there at first, and again whenever `revision` changes: between, the text is the user's. */
  value: string;
  revision: number;
  onChange: (value: string) => void;
  /** Whether it is JSON, and coloured so. */
  isJson: boolean;
}

/**
 * A text editor. It lives in a shadow root: there its styles are adopted sheets, which the content security policy
 * allows, instead of style elements, which it does not.
 */
export function Editor({ label, value, revision, onChange, isJson }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(undefined);
  const change = useRef(onChange);
  const language = useRef(new Compartment());
  change.current = onChange;

  useEffect(() => {
    const root = place.current!.shadowRoot ?? place.current!.attachShadow({ mode: 'open' });
    const made = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        doc: value,
        extensions: [
          lineNumbers(),
          history(),
          indentOnInput(),
          bracketMatching(),
          EditorView.lineWrapping,
          keymap.of([...defaultKeymap, ...historyKeymap, indentWithTab]),
          look,
          syntaxHighlighting(colours),
          language.current.of(isJson ? json() : []),
          EditorView.contentAttributes.of({ 'aria-label': label, tabindex: '0' }),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) change.current(update.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = made;
    return () => made.destroy();
  }, []);

  useEffect(() => {
    const made = view.current!;
    const now = made.state.doc.toString();
    if (now !== value) made.dispatch({ changes: { from: 0, to: now.length, insert: value } });
  }, [revision]);

  useEffect(() => {
    view.current!.dispatch({ effects: language.current.reconfigure(isJson ? json() : []) });
  }, [isJson]);

  return <div class="editor" ref={place} />;
}

/** What is wrong with a text that should be JSON. */
export function jsonProblem(text: string): string | undefined {
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
