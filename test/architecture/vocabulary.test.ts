/**
 * All modules use the terms of the field: no identifier contains a word of the former private vocabulary, no
 * text that a user reads contains its idioms, and comments cite no document that is not in the repository. The message
 * names the replacement. Glossary: ARCHITECTURE.md, Words.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readTree, type SourceFile, snippet } from './_tree.ts';

/** Banned in all modules. Word of an identifier → what to use instead. */
const EVERYWHERE: Readonly<Record<string, string>> = {
  bury: 'applyTombstone',
  deaf: 'failed, closed',
  door: 'endpoint, dispatcher, authenticator, gate',
  ears: 'handlers',
  fleeting: 'ephemeral',
  goner: 'close callback',
  guard: 'supervisor',
  hear: 'receive',
  heard: 'received',
  heir: 'replacement worker',
  hopeless: 'fatal',
  hurry: 'retryNow',
  lane: 'session connection',
  manner: 'rules',
  park: 'retain, suspend',
  parked: 'retained, suspended',
  picked: 'selected',
  said: 'sent, line',
  say: 'send',
  shelf: 'index',
  shelves: 'indexes',
  speaker: 'newest process',
  stillborn: 'rejected',
  stranger: 'unmatched, unknown',
  tell: 'send, notify, show',
  told: 'sent, notified',
  track: 'stream, resumable stream',
  tracks: 'streams, resumable streams',
  verdict: 'liveness policy, result',
  wish: 'request, preferences, subscription',
  wishes: 'requests, preferences, subscriptions',
  world: 'snapshot, state, configuration',
};

/** Module → words that are banned there in addition; elsewhere they are ordinary words. */
const MODULES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  admission: { given: 'released', greedy: 'above the fair share' },
  catalog: { beginning: 'prefix', mark: 'record' },
  control: { mark: 'record', marks: 'records', unkept: 'unsaved, unstored' },
  relay: { life: 'process instance', mark: 'record', marks: 'records', word: 'message' },
  seal: { statement: 'token' },
  session: { mark: 'record', marks: 'records', note: 'preferences', notes: 'preferences', statement: 'session token' },
  store: { mark: 'record', marks: 'records' },
  supervisor: { ground: 'host', member: 'managed process', sight: 'probe', voice: 'supervisor log' },
};

/** `module word` → why the word stays. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
  'call park': 'member of sealed states, which a worker of another version may read',
  'call parked': 'names of the limits parked and parkedPerKey',
  'config guard': 'guardBackoffMs, the name of a limit',
  'config lane': 'laneIdleMs, the name of a limit',
  'config parked': 'names of the limits parked and parkedPerKey',
  'control wishes': 'member of session records on the relay',
  'doctor guard': 'member of the output of `doctor --json`',
  'downstream guard': 'guardCallback and guardEmitter: the ordinary word, for protected callbacks',
  'process wishes': 'member of session records on the relay',
  'relay life': 'member of the message hello',
  'relay marks': 'member of the message marks',
  'relay wishes': 'member of session records on the relay',
  'store marks': 'the table session_marks',
  'store wishes': 'column of the table session_marks',
  'supervisor guard': 'guardBackoffMs, the name of a limit',
  'upstream guard': 'guardedEvents: the ordinary word, for protected callbacks',
  'upstream lane': 'laneIdleMs, the name of a limit',
};

/** `module word` that is still to be renamed. */
const PENDING: ReadonlySet<string> = new Set([
  'admin told',
  'downstream tell',
  'process said',
  'subprocess said',
  'upstream deaf',
  'upstream hear',
  'upstream heard',
  'upstream said',
  'upstream say',
  'upstream tell',
  'upstream told',
  'upstream verdict',
  'upstream wishes',
]);

/** Idioms that no string of any module contains → what to write instead. Ordinary words are not listed. */
const PHRASES: readonly (readonly [phrase: RegExp, instead: string])[] = [
  [/\bsigns? of life\b/i, 'a response, progress'],
  [/\b(?:is|are|was|were) (?:cut|pressed|calm|gone)\b/i, 'closed, disconnected, exited; resource pressure'],
  [/\b(?:went|going|gone) away\b|\bis away\b/i, 'exited, closed, unavailable'],
  [/\bin mid-call\b/i, 'during the call'],
  [/\bgo(?:es)? on\b|\bwent on\b/i, 'continue'],
  [/\ball the same\b/i, 'still, nevertheless'],
  [/\bat rest\b|\bcomes? to rest\b/i, 'idle'],
  [/\bst(?:ands?|ood) (?:still|there|twice|behind)\b/i, 'is blocked, occurs'],
  [/\b(?:some|no|any)body\b/i, 'the actor: a user, a client, no process'],
  [/\b(?:served|spoken|known|allowed) here\b/i, 'supported, allowed'],
  [/\basked (?:again|anew)\b/i, 'retried, requested again'],
  [/\blook(?:s|ed)? at\b/i, 'check, poll, scan'],
  [/\bof (?:its|their|his) own\b/i, 'separate, own'],
  [/\bswitched o(?:n|ff)\b/i, 'enabled, disabled'],
  [/\bnext (?:try|question)\b/i, 'next attempt, next probe'],
  [
    /\b(?:it|they|server|hub|worker|process) (?:die[sd]?|rests?|hears?|wishes|wants|forgets|tells|says)\b/i,
    'exits, waits, receives …',
  ],
  [/\bcalls? inside\b/i, 'call in flight'],
  [/\b(?:is|are) no (?:JSON|object|message|name|web|part)\b/i, 'is not a …'],
  [/\btrouble\b|\bburns?\b/i, 'fault; uses'],
  [/\b(?:the|some|all) hubs\b|\bhub process(?:es)?\b/i, 'workers'],
  [/\bpromises? (?:held|was|were|is|are)\b/i, 'guarantee'],
  [/\banew\b/i, 'again'],
];

const CITATION = /\b(?:architecture|cases|defaults|protocol|reliability|security-review|stack-and-ux)\.md\b/gi;

const whole = readTree();

/** Returns `place word → replacement` of each banned word in the identifiers of a file. */
function bannedWords(file: SourceFile): { readonly key: string; readonly message: string }[] {
  const bans = { ...EVERYWHERE, ...MODULES[file.room] };
  return file.bareLines.flatMap((line, at) =>
    [...line.matchAll(/[A-Za-z_$][\w$]*/g)].flatMap(([identifier]) =>
      wordsOf(identifier).flatMap((word) => {
        const instead = Object.hasOwn(bans, word) ? bans[word] : undefined;
        const message = `src/${file.path}:${at + 1} ${identifier}: use ${instead} instead of "${word}"`;
        return instead === undefined ? [] : [{ key: `${file.room} ${word}`, message }];
      }),
    ),
  );
}

/** Returns the lower-case words of a camelCase or snake_case identifier. */
function wordsOf(identifier: string): string[] {
  return (identifier.match(/[A-Z]?[a-z]+|[A-Z]+(?![a-z])/g) ?? []).map((word) => word.toLowerCase());
}

/** Returns the strings of a file by line: what the lexer blanks as a string, and keeps as code. */
function stringsOf({ lines, code, bareLines }: SourceFile): { readonly line: number; readonly text: string }[] {
  const codeLines = code.split('\n');
  return lines.flatMap((_, at) => {
    const bare = bareLines[at] ?? '';
    const kept = [...(codeLines[at] ?? '')].map((char, index) => (char === bare[index] && char !== ' ' ? '\n' : char));
    const texts = kept.join('').split('\n');
    return texts.filter((text) => text.trim().includes(' ')).map((text) => ({ line: at + 1, text: text.trim() }));
  });
}

function bannedPhrases(file: SourceFile): string[] {
  return stringsOf(file).flatMap(({ line, text }) =>
    PHRASES.filter(([phrase]) => phrase.test(text)).map(
      ([phrase, instead]) => `src/${file.path}:${line} "${phrase.exec(text)?.[0]}": use ${instead}`,
    ),
  );
}

function citations({ path, text, code }: SourceFile): string[] {
  const codeLines = code.split('\n');
  return text.split('\n').flatMap((line, at) => {
    const cited = line === codeLines[at] ? [] : [...line.matchAll(CITATION)];
    return cited.filter(({ index }) => line[index - 1] !== '/').map(([name]) => `src/${path}:${at + 1} cites ${name}`);
  });
}

test('identifiers contain no word of the former private vocabulary', () => {
  assert.ok(whole.length > 400, `${whole.length} files`);
  const found = whole.flatMap(bannedWords).filter(({ key }) => !Object.hasOwn(EXCEPTIONS, key) && !PENDING.has(key));
  assert.deepEqual(
    found.map(({ message }) => message),
    [],
  );
});

test('texts that users read contain no idiom of the former private vocabulary', () => {
  assert.ok(whole.length > 400, `${whole.length} files`);
  assert.deepEqual(whole.flatMap(bannedPhrases), []);
});

test('comments cite no document that is not in the repository', () => {
  assert.deepEqual(whole.flatMap(citations), []);
});

test('each exception is used', () => {
  const used = new Set(whole.flatMap(bannedWords).map(({ key }) => key));
  assert.deepEqual(
    [...Object.keys(EXCEPTIONS), ...PENDING].filter((key) => !used.has(key)),
    [],
  );
});

test('the rules find what they forbid, and nothing else', () => {
  const bad = snippet('/** See reliability.md. */\nconst serverShelf = relayEars;', 'catalog/x.ts');
  assert.deepEqual(
    bannedWords(bad).map(({ key }) => key),
    ['catalog shelf', 'catalog ears'],
  );
  assert.deepEqual(citations(bad), ['src/catalog/x.ts:1 cites reliability.md']);
  const idioms = snippet(
    "const a = `the hubs are calm; next try`; // no sign of life\nconst c = 'it said: ready';",
    'catalog/x.ts',
  );
  assert.equal(bannedPhrases(idioms).length, 3);
  const fine = snippet("/** See docs/protocol.md, told. */\nconst worldwide = { years: 'ears' };", 'catalog/x.ts');
  assert.deepEqual([...bannedWords(fine), ...bannedPhrases(fine), ...citations(fine)], []);
});
