import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal } from '../model/outcome.ts';
import { refuseParamHeaders } from './era-2026/param-headers.ts';
import { readRequestMeta, refuseVersionHeader } from './era-2026/request-meta.ts';
import { everyMemberMatches, listMembers, onlyMember } from './header-list.ts';
import { clientScan, scanEnvelope } from './scan.ts';

const LIMITS = { depth: 64, idBytes: 256, uriBytes: 8192, nameBytes: 1024, cursorBytes: 4096 } as never;
const META = { 'io.modelcontextprotocol/clientCapabilities': {} };

function envelope(method: string, claimed: string | undefined, isNotification = false) {
  const date = claimed === undefined ? {} : { _meta: { ...META, 'io.modelcontextprotocol/protocolVersion': claimed } };
  const id = isNotification ? {} : { id: 1 };
  const scanned = scanEnvelope(
    Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...id, method, params: date })),
    clientScan(LIMITS),
  );
  if (isRefusal(scanned)) throw new Error(scanned.code);
  return scanned;
}

/** Returns `2026`, `2025`, or the code with which the message is refused. */
function judged(method: string, version: string, claimed?: string, isNotification = false): string {
  const message = envelope(method, claimed, isNotification);
  const claim = readRequestMeta(message, { version, method, name: undefined });
  if (isRefusal(claim)) return claim.code;
  if (claim) return '2026';
  return refuseVersionHeader(message, version)?.code ?? '2025';
}

test('splits a list at commas outside quoted strings and drops empty members', () => {
  assert.deepEqual(listMembers(' a ,, b\t,c,'), ['a', 'b', 'c']);
  assert.deepEqual(listMembers('a;x="1,\\",2", b'), ['a;x="1,\\",2"', 'b']);
  assert.deepEqual(listMembers(','), []);
  assert.deepEqual(listMembers(''), []);
});

test('counts equal members once and returns no value for different ones', () => {
  for (const list of ['a', 'a, a', 'a,', ' a ,a , ', ',a']) assert.equal(onlyMember(list), 'a', list);
  for (const list of ['a, b', 'a,A', 'a,a,b']) assert.equal(onlyMember(list), undefined, list);
  assert.equal(onlyMember(','), '');
});

test('accepts a repeated Mcp-Name, also of a name with commas, plain or in Base64', () => {
  const accepts = (name: string) => (text: string) => text === name;
  const same: readonly [string, string][] = [
    ['echo', 'echo'],
    ['echo, echo', 'echo'],
    ['echo,', 'echo'],
    ['a,b', 'a,b'],
    ['a,b, a,b', 'a,b'],
    ['=?base64?ZWNobw==?=, echo', 'echo'],
    ['=?base64?YSxi?=, =?base64?YSxi?=', 'a,b'],
  ];
  for (const [header, name] of same) assert.ok(everyMemberMatches(header, name, accepts(name)), header);
  const other: readonly [string, string][] = [
    ['echo, other', 'echo'],
    ['a,b, a', 'a,b'],
    ['a,b', 'a'],
    ['', 'a'],
    [',', 'a'],
    ['a,ba,b', 'a,b'],
  ];
  for (const [header, name] of other) assert.ok(!everyMemberMatches(header, name, accepts(name)), header);
});

// case: CL1
test('accepts a repeated Mcp-Param header that equals the argument, and no other', () => {
  const declared = [{ name: 'City', path: ['city'] }];
  const judge = (value: unknown, header: string) =>
    refuseParamHeaders(declared, value === undefined ? {} : { city: value }, () => header);
  const same: readonly [unknown, string][] = [
    ['Paris', 'Paris, Paris'],
    ['Paris', 'Paris,'],
    ['Paris, France', 'Paris, France'],
    ['Paris, France', 'Paris, France, Paris, France'],
    [42, '42, 42.0'],
    [true, 'true,true'],
    [undefined, ''],
  ];
  for (const [value, header] of same) assert.equal(judge(value, header), undefined, header);
  const other: readonly [unknown, string][] = [
    ['Paris', 'Paris, Rome'],
    ['Paris', ''],
    ['Paris, France', 'Paris'],
    [42, '42, 43'],
    [undefined, 'Paris'],
  ];
  for (const [value, header] of other) assert.equal(judge(value, header)?.code, 'header-mismatch', header);
});

// case: CL1
test('takes the first known date of MCP-Protocol-Version, and refuses only a list without one', () => {
  const fine = [
    '2025-06-18',
    '2025-11-25, 2025-06-18',
    '2025-11-25, 2025-11-25',
    '2025-06-18,',
    ' 2025-06-18 ',
    '1999-01-01, 2025-06-18',
    '2026-07-28, 2025-11-25',
    ',',
  ];
  for (const header of fine) assert.equal(judged('tools/list', header), '2025', header);
  for (const header of ['1999-01-01', '1999-01-01, draft', 'x,'])
    assert.equal(judged('tools/list', header), 'invalid-request', header);
});

// case: CL1
test('selects 2026-07-28 when the header lists the date at least once', () => {
  const lists = [
    '2026-07-28',
    '2026-07-28, 2026-07-28',
    '2026-07-28, 2025-11-25',
    '2025-11-25, 2026-07-28',
    '2026-07-28,',
  ];
  for (const header of lists) assert.equal(judged('tools/list', header, '2026-07-28'), '2026', header);
  for (const header of ['2025-11-25', '2025-11-25, 2025-06-18', '1999-01-01'])
    assert.equal(judged('tools/list', header, '2026-07-28'), 'header-mismatch', header);
});

// case: CL2
test('lets the body of initialize and of notifications decide when the header alone says 2026-07-28', () => {
  assert.equal(judged('initialize', '2026-07-28'), '2025');
  assert.equal(judged('initialize', '2026-07-28, 2026-07-28'), '2025');
  assert.equal(judged('notifications/initialized', '2026-07-28', undefined, true), '2025');
  for (const method of ['tools/list', 'ping', 'server/discover'])
    assert.equal(judged(method, '2026-07-28'), 'envelope-invalid', method);
});

// case: CL2
test('does not refuse a date in the body that the refusal would list as supported', () => {
  for (const header of ['2025-11-25', '2026-07-28', '2025-06-18, 2026-07-28'])
    assert.equal(judged('initialize', header, '2025-11-25'), '2025', header);
  assert.equal(judged('tools/list', '2025-11-25', '2025-11-25'), '2025');
  assert.equal(judged('tools/list', '2026-07-28', '2025-11-25'), 'header-mismatch');
  assert.equal(judged('initialize', '1999-01-01', '1999-01-01'), 'version-unsupported');
});
