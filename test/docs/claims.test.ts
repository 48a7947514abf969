/**
 * No document claims what is not built. The words below may stand only where they are denied: in a sentence, point or
 * row that says so, or as a point in a section about what is absent.
 * Does not: understand prose. A new thing that is built leaves this list in the same commit.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DOCUMENTS, type Document, documentFrom, readDocument } from './_documents.ts';

/** Not in this round at all. */
const NEVER = [
  /\boauth\b/i,
  /\bopenapi\b/i,
  /\$smart\b/,
  /smart search|스마트 검색/i,
  /\bmarket(place)?\b|마켓/i,
  /\b(dxt|mcpb)\b/i,
  /tasks extension/i,
];
/** Not in this step. */
const NOT_YET = [
  /\bredis\b/i,
  /\bpostgres(ql)?\b/i,
  /\bprometheus\b|\bopentelemetry\b|`\/metrics`/i,
  /\bdashboard\b|대시보드/i,
  /\balerts?\b|알림/i,
  /\bslack\b|\bwebhooks?\b/i,
  /\bdocker (image|hub)\b|\bdockerfile\b|\bkubernetes\b|\bhelm\b/i,
  /`mcphub (watch|top)/,
];

const DENIAL = /\b(not|no|never|without|later|until|yet|absent|instead of|404|cannot|none)\b|n’t\b|없|않|아직/i;
const ABSENT = /\bnot\b|absent|아직|안 되는/i;

/** Decisions speak of what was weighed; they are held to the first list only. */
const HISTORICAL = /^docs\/adr\//;

function claims(document: Document): string[] {
  const words = HISTORICAL.test(document.path) ? NEVER : [...NEVER, ...NOT_YET];
  let section = '';
  const found: string[] = [];
  for (const passage of passagesOf(document)) {
    if (/^#{1,6} /.test(passage)) section = passage;
    const isPointOfAbsence = ABSENT.test(section) && /^- /.test(passage);
    if (isPointOfAbsence || DENIAL.test(passage)) continue;
    for (const word of words) if (word.test(passage)) found.push(`${document.path}: ${passage}`);
  }
  return found;
}

/** Headings, sentences of paragraphs, points and rows, each in one line. */
function passagesOf({ lines }: Document): string[] {
  const passages: string[] = [];
  let held = '';
  const flush = (): void => {
    passages.push(...held.split(/(?<=[.!?]) (?=\p{Lu}|[*`[]|\p{Script=Hangul})/u).filter((part) => part !== ''));
    held = '';
  };
  for (const line of lines) {
    if (/^\s*$|^#{1,6} |^\s*[-*] |^\s*\d+\. |^\|/.test(line)) flush();
    held = held === '' ? line.trim() : `${held} ${line.trim()}`;
    if (/^#{1,6} |^\|/.test(line)) {
      passages.push(held);
      held = '';
    }
  }
  flush();
  return passages;
}

for (const path of DOCUMENTS) {
  test(`${path} claims nothing that is not built`, () => {
    assert.deepEqual(claims(readDocument(path)), []);
  });
}

test('a claim is seen, and a denial is none', () => {
  const bad = [
    'It speaks OAuth to servers.',
    '| `/metrics` | for Prometheus |',
    '- A dashboard shows it.',
    '## Alerts\n\nThey go to Slack.',
    'There is no hurry. OpenAPI servers are served.',
    '대시보드가 있습니다.',
    '## What is there, and what is not\n\nThere now: OAuth.\n\n- Redis',
  ];
  for (const text of bad) assert.ok(claims(documentFrom('x.md', text)).length > 0, text);
  const fine = [
    'There is no OAuth.',
    '## Not there yet\n\n- Redis',
    'A dashboard does not exist.',
    '```text\nOAuth\n```',
    '대시보드는 아직 없습니다.',
  ];
  for (const text of fine) assert.deepEqual(claims(documentFrom('x.md', text)), [], text);
});

test('the README says what is not there, point by point', () => {
  const { text } = readDocument('README.md');
  const [, list = ''] = text.split('Not there yet:');
  for (const word of ['OAuth', 'dashboard', 'Redis', 'PostgreSQL', 'Linux']) {
    assert.ok(list.split('\n## ')[0]?.includes(word), word);
  }
});
