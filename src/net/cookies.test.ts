import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CookieJar } from './_cookies.ts';

const DATE = 'Mon, 30 Nov 2026 12:00:00 GMT';
const soon = (seconds: number): string => new Date(Date.parse(DATE) + seconds * 1000).toUTCString();

function rig(wallMs = Date.parse(DATE)) {
  const clock = { nowMs: () => at.ms, wallMs: () => wallMs + at.ms };
  const at = { ms: 1000 };
  const jar = new CookieJar(new URL('http://docs.test/mcp'), clock);
  const take = (fields: string[], date = DATE) => jar.take(fields, '/mcp', date);
  return { at, jar, take };
}

// case: SV41
test('expires a cookie by Max-Age before Expires and keeps the others', () => {
  const { at, jar, take } = rig();
  take(['a=1; Max-Age=60', `b=2; Expires=${soon(120)}`, `c=3; Expires=${soon(1)}; Max-Age=180`, 'd=4']);
  const all = jar.header;
  assert.equal(all, 'a=1; b=2; c=3; d=4');
  at.ms += 59_999;
  assert.equal(jar.header, all);
  at.ms += 1;
  assert.equal(jar.header, 'b=2; c=3; d=4');
  at.ms += 60_000;
  assert.equal(jar.header, 'c=3; d=4');
  at.ms += 3_600_000;
  assert.equal(jar.header, 'd=4');
  take(['d=4; Max-Age=1']);
  at.ms += 1000;
  assert.equal(jar.header, undefined);
});

// case: SV41
test('reads Expires relative to the Date of the response, because the hub’s clock may be wrong', () => {
  const { at, jar, take } = rig(Date.parse('Sun, 01 Jan 2034 00:00:00 GMT'));
  take([`a=1; Expires=${soon(60)}`, `b=2; Expires=${soon(-60)}`]);
  assert.equal(jar.header, 'a=1');
  at.ms += 60_000;
  assert.equal(jar.header, undefined);
  take([`a=1; Expires=${soon(60)}`], '');
  assert.equal(jar.header, undefined, 'without a Date the own clock counts');
});

// case: SV41
test('removes a cookie with a past expiry, and keeps one whose expiry cannot be read', () => {
  const { at, jar, take } = rig();
  take(['a=1', 'b=2', 'c=3; Expires=soon', 'd=4; Max-Age=soon', `e=5; Max-Age=${'9'.repeat(400)}`]);
  take(['a=; Expires=Thu, 01-Jan-1970 00:00:00 GMT', 'b=; Max-Age=-1']);
  at.ms += 1e12;
  assert.equal(jar.header, 'c=3; d=4; e=5');
});
