import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HubError } from '../../../model/errors.ts';
import { SecretMask } from '../../../model/secret-mask.ts';
import type { ResponseHeaders } from '../../../net/egress.ts';
import { addressOf, httpFault } from './http-fault.ts';

const NOW = Date.parse('Wed, 21 Oct 2026 07:28:00 GMT');
const secrets = new SecretMask();
secrets.use(['a-secret-of-the-configuration']);
const HOST = { server: 's', runtime: { secrets, clock: { nowMs: () => 0, wallMs: () => NOW } } };

function fault(status: number, text: string | Buffer = '', headers: ResponseHeaders = {}): HubError {
  return httpFault(HOST, { status, headers, body: Buffer.from(text), asked: 'POST http://h/mcp' });
}

test('names request, status and the first words of the page, as one safe line', () => {
  const { message, detail } = fault(422, 'no such\r\n\u001b[31mdocument\u202e\u0000');
  assert.equal(message, 'The server answered HTTP 422 to POST http://h/mcp. Its response: no such [31mdocument.');
  assert.equal(detail.operator?.body, 'no such [31mdocument');
  assert.equal(fault(500).message, 'The server answered HTTP 500 to POST http://h/mcp.');
  assert.equal(fault(500, 'It broke...').message.endsWith('Its response: It broke.'), true);
  const long = fault(500, 'x'.repeat(60_000)).message;
  assert.equal(long.length < 600 && long.endsWith('x…'), true, `${long.length}`);
});

test('masks a secret before the text is cut', () => {
  const { message, detail } = fault(500, `${'x'.repeat(490)}a-secret-of-the-configuration ${'y'.repeat(4000)}`);
  assert.doesNotMatch(message, /a-sec/);
  assert.doesNotMatch(JSON.stringify(detail), /a-secret/);
});

test('tells a refused Host or Origin from refused credentials', () => {
  const bearer = { 'www-authenticate': 'Bearer error="invalid_token", error_description="expired"' };
  const cases: readonly (readonly [HubError, string, RegExp])[] = [
    [fault(401), 'upstream-auth', /refused the hub’s credentials.*HTTP 401 to POST.*"headers"/],
    [fault(401, 'x', bearer), 'upstream-auth', /WWW-Authenticate: error="invalid_token"/],
    [fault(403, 'organisation has disabled MCP'), 'upstream-auth', /or for another reason.*organisation has disabled/],
    [fault(403, 'Invalid Host: 127.0.0.1:80'), 'upstream-http', /"Host".*Credentials are not the reason/],
    [fault(403, '{"error":{"message":"Invalid Host header"}}'), 'upstream-http', /"Host"/],
    [fault(421, 'Misdirected'), 'upstream-http', /HTTP 421.*Misdirected.*"headers": \{"Host"/],
    [fault(403, 'Invalid Origin header: null'), 'upstream-http', /"Origin"/],
    [fault(403, '{"error":"insufficient_scope"}'), 'upstream-auth', /insufficient_scope/],
  ];
  for (const [{ code, message, detail }, expected, words] of cases) {
    assert.equal(code, expected, message);
    assert.match(message, words);
    assert.equal(detail.outcome, 'not-executed');
  }
  const challenge = { 'www-authenticate': 'Bearer error="insufficient_scope", scope="files:write"' };
  assert.match(fault(403, 'x', challenge).message, /lack a scope that the server requires \(scope "files:write"\)/);
});

test('reads Retry-After in seconds and as a date, against the Date of the answer', () => {
  const after = (headers: ResponseHeaders) => fault(503, '', headers).detail.retryAfterMs;
  assert.equal(after({ 'retry-after': '5' }), 5000);
  assert.equal(after({ 'retry-after': 'Wed, 21 Oct 2026 07:28:07 GMT' }), 7000);
  assert.equal(
    after({ 'retry-after': 'Wed, 21 Oct 2026 09:00:20 GMT', date: 'Wed, 21 Oct 2026 09:00:00 GMT' }),
    20_000,
    'the clock of the server counts',
  );
  for (const value of ['Wed, 21 Oct 2026 07:27:00 GMT', '-1', 'soon', '999999', '']) {
    assert.equal(after({ 'retry-after': value }), undefined, value);
  }
});

test('shows of an address neither login nor values of the query', () => {
  const url = new URL('https://me:pass@h.test:8443/messages?session_id=1&key=secret#x');
  assert.equal(addressOf(url), 'https://h.test:8443/messages?session_id=…&key=…');
});
