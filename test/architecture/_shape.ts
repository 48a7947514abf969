/**
 * Conventions the other rules rely on: how a file looks, who may print, how failures are named, and no time limit whose
 * 0 means never.
 */
import { placeOf, type SourceFile } from './_tree.ts';

export interface Rule {
  readonly name: string;
  /** What is wrong, with its place. */
  readonly find: (file: SourceFile) => readonly string[];
}

const MAX_LINES = 300;
const NEVER = String.raw`(?:Infinity|Number\.POSITIVE_INFINITY|Number\.MAX_SAFE_INTEGER|Number\.MAX_VALUE)`;
/** Libraries read 0 as never: `headersTimeout: 0`, `timeoutMs ?? 0`. */
const TIMEOUT_OF_ZERO = new RegExp(String.raw`\b\w*[tT]imeout\w*\s*(?::|=(?!=)|\?\?)\s*(?:0\b(?![.\w])|${NEVER})`, 'g');
/** Lengths and instants of waits in our own words. */
const LIMIT_WITHOUT_END = new RegExp(
  String.raw`\b(?:\w*Ms|\w*[dD]eadline)\s*(?::|=(?!=)|\?\?)\s*${NEVER}|\b(?:silence|total|wait|max|limit|grace|connect)Ms\s*(?::|=(?!=)|\?\?)\s*0\b(?![.\w])`,
  'g',
);

/** A rule by pattern in code without strings and comments; `where` narrows the files. */
function pattern(name: string, regex: RegExp, where: (file: SourceFile) => boolean = () => true): Rule {
  return {
    name,
    find: (file) =>
      where(file)
        ? [...file.bare.matchAll(regex)].map((match) => `${placeOf(file, match.index)} ${name}: ${match[0].trim()}`)
        : [],
  };
}

const outside =
  (...rooms: readonly string[]) =>
  (file: SourceFile): boolean =>
    !rooms.includes(file.room);

export const RULES: readonly Rule[] = [
  {
    name: 'a file begins with a comment that says what it is for',
    find: (file) => (/^(#![^\n]*\n)?\/\*\*/.test(file.text) ? [] : [`${file.path} has no header`]),
  },
  {
    name: 'a file has at most 300 lines',
    find: (file) =>
      file.text.trimEnd().split('\n').length > MAX_LINES ? [`${file.path} has more than ${MAX_LINES} lines`] : [],
  },
  pattern(
    'only cli and telemetry print',
    /(?<![.#\w$])(?:console\s*\.|process\s*\.\s*std(?:out|err)\b)/g,
    outside('cli', 'operator', 'bridge', 'chaos', 'telemetry'),
  ),
  // What a server says must not reach a terminal as it is.
  pattern(
    'the command prints through output.ts',
    /(?<![.#\w$])(?:console\s*\.|process\s*\.\s*std(?:out|err)\s*\.\s*(?:write|end)\b|writeSync\b)/g,
    (file) =>
      !['telemetry', 'process'].includes(file.room) &&
      !['operator/output.ts', 'bridge/bridge.ts', 'chaos/fault-server.ts'].includes(file.path),
  ),
  pattern('no any', /(?:[:<,|&([]|=>|\bas|\bextends)\s*any\b(?=\s*(?:[,;)>|&=\]}]|\[\]|$))/gm),
  pattern('no default export', /\bexport\s+default\b/g),
  // It only keeps several members on one line: write each on its own.
  pattern('no spread of a literal', /\.\.\.\s*\{/g),
  pattern('no barrel', /\bexport\s+\*\s+from\b/g),
  {
    name: 'no compiler checks switched off',
    find: (file) =>
      [...file.text.matchAll(/@ts-(?:ignore|nocheck|expect-error)/g)].map(
        (match) => `${placeOf(file, match.index)} ${match[0]}`,
      ),
  },
  // Law 1: a wait has an end.
  pattern('no time limit of 0 or for ever', TIMEOUT_OF_ZERO),
  pattern('no time limit of 0 or for ever', LIMIT_WITHOUT_END),
  pattern('no time limit of 0 or for ever', /\.\s*setTimeout\s*\(\s*(?:0|Infinity)\b/g),
  pattern('no race instead of a wait', /\bPromise\s*\.\s*(?:race|any)\b/g),
  // Law 6: a failure has a name.
  pattern('faults are HubErrors', /\bthrow\s+new\s+(?:Error|TypeError|RangeError)\b/g, outside('supervisor')),
  pattern(
    'no decision by the text of a message',
    /\.message\s*(?:\.\s*(?:includes|match|startsWith|endsWith|indexOf|test)\b|[!=]==)/g,
  ),
  // Words.
  {
    name: 'no file called manager, helper, util, data or info',
    find: (file) =>
      /(?:^|[/_-])(?:managers?|helpers?|utils?|data|info|common|misc)\.ts$/.test(file.path)
        ? [`${file.path} has a name that says nothing`]
        : [],
  },
];
