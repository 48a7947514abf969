/**
 * Expands environment variables in texts of the configuration: `${NAME}`, `${NAME:-default}`, `${env:NAME}`; `$${` is a
 * literal `${`.
 * Guarantees: pure, linear, one pass (values are not expanded again); missing variables are reported by name, never by
 * value.
 */

import { isOrdinaryVariable } from '../model/secret-values.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Expanded {
  readonly text: string;
  /** Variables without a value and without a default. */
  readonly missing: readonly string[];
  /** Values from the environment that were inserted, except those of variables that are never secret (`PATH`). */
  readonly inserted: readonly string[];
  /** True when a `${` does not begin a variable. The text is not reported, because it may be part of a secret. */
  readonly malformed: boolean;
}

const NAME = /^(?:env:)?([A-Za-z_][A-Za-z0-9_]*)$/;
const MARK = '${';

/** Expands a text. Variables in `kept` stay as `${NAME}`: `PORT` of a launched server gets its value when it starts. */
export function expandVariables(text: string, env: Environment, kept: ReadonlySet<string> = new Set()): Expanded {
  const missing: string[] = [];
  const inserted: string[] = [];
  let malformed = false;
  let out = '';
  let at = 0;
  for (;;) {
    const open = text.indexOf(MARK, at);
    if (open < 0) return { text: out + text.slice(at), missing, inserted, malformed };
    if (open > at && text[open - 1] === '$') {
      out += `${text.slice(at, open - 1)}${MARK}`;
      at = open + MARK.length;
      continue;
    }
    const close = text.indexOf('}', open);
    out += text.slice(at, open);
    if (close < 0) {
      return { text: out + text.slice(open), missing, inserted, malformed: true };
    }
    const inner = text.slice(open + MARK.length, close);
    const written = text.slice(open, close + 1);
    const [reference = '', fallback] = splitDefault(inner);
    const name = NAME.exec(reference)?.[1];
    if (name === undefined) malformed = true;
    const value = name === undefined ? undefined : lookUp(name, fallback, env);
    if (name !== undefined && kept.has(name)) out += `${MARK}${name}}`;
    else if (value !== undefined) {
      out += value;
      if (name !== undefined && value === env[name] && !isOrdinaryVariable(name)) inserted.push(value);
    } else {
      if (name !== undefined) missing.push(name);
      out += written;
    }
    at = close + 1;
  }
}

function splitDefault(inner: string): [string, string | undefined] {
  const at = inner.indexOf(':-');
  return at < 0 ? [inner, undefined] : [inner.slice(0, at), inner.slice(at + 2)];
}

/** As in a shell: with `:-` an empty variable takes the default, without it an empty variable is empty. */
function lookUp(name: string, fallback: string | undefined, env: Environment): string | undefined {
  const value = Object.hasOwn(env, name) ? env[name] : undefined;
  return fallback !== undefined && (value === undefined || value === '') ? fallback : value;
}
