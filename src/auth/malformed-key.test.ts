// case: CL33
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { holderOf, keyRecord, secretOf } from '../../test/support/small-worlds.ts';
import { limitsFrom } from '../config/limits.ts';
import { isRefusal } from '../model/outcome.ts';
import { KeyAuthenticator } from './key-authenticator.ts';

const KEY = secretOf('a');
const DIGITS = KEY.slice('mcphub_'.length);

/** Headers that users send by mistake, and the expected explanation. */
const FAULTS: readonly (readonly [header: string, fault: RegExp])[] = [
  ['', /has no key/],
  ['Bearer', /has no key/],
  ['Bearer   ', /has no key/],
  [KEY, /without the word "Bearer"/],
  [`Basic ${DIGITS}`, /does not begin with "Bearer"/],
  [`"Bearer ${KEY}"`, /quotation marks/],
  [`Bearer "${KEY}"`, /quotation marks/],
  [`Bearer '${KEY}'`, /quotation marks/],
  [`Bearer ${KEY}"`, /quotation marks/],
  [`Bearer Bearer ${KEY}`, /contains the word "Bearer" twice/],
  [`BearerBearer ${KEY}`, /contains the word "Bearer" twice/],
  [`Bearer ${KEY}, Bearer ${KEY}`, /several Authorization headers/],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: clients send it unfilled
  ['Bearer ${MCPHUB_KEY}', /placeholder/],
  ['Bearer $MCPHUB_KEY', /placeholder/],
  ['Bearer {{key}}', /placeholder/],
  ['Bearer <your key>', /placeholder/],
  ['Bearer mcphub_<64 hex digits>', /placeholder/],
  ['Bearer mcphub_...', /placeholder/],
  ['Bearer mcphub_…', /placeholder/],
  ['Bearer YOUR_API_KEY', /placeholder/],
  [`Bearer mcphub_${'x'.repeat(64)}`, /placeholder/],
  [`Bearer ${KEY.slice(0, -1)}`, /has 63 hex digits instead of 64/],
  [`Bearer ${KEY}0`, /has 65 hex digits instead of 64/],
  ['Bearer mcphub_', /has 0 hex digits instead of 64/],
  [`Bearer ${KEY.slice(0, -1)}g`, /not a hex digit/],
  [`Bearer ${KEY.slice(0, 20)} ${KEY.slice(20)}`, /white space/],
  [`Bearer ${DIGITS}`, /lacks its beginning "mcphub_"/],
  [`Bearer mcphub_${KEY}`, /key contains "mcphub_" twice/],
  ['Bearer sk-proj-0123456789', /another service/],
  [`Bearer ${'a'.repeat(300)}`, /longer than 256 characters/],
];

test('the refusal of a malformed key says what is wrong with it, and repeats no part of it', () => {
  const { runtime } = frozenRuntime();
  const snapshots = holderOf({ keys: [keyRecord('a')] });
  const door = new KeyAuthenticator({ runtime, limits: limitsFrom({}), snapshots });
  for (const [at, [header, fault]] of FAULTS.entries()) {
    const refusal = door.check(header, `10.0.${at}.1`);
    assert.ok(isRefusal(refusal), header);
    assert.equal(refusal.code, 'unauthorized', header);
    assert.match(refusal.message, fault, header);
    for (const part of [DIGITS.slice(0, 8), 'sk-proj', 'MCPHUB_KEY', 'aaaaaaaa'])
      assert.ok(!refusal.message.includes(part), refusal.message);
  }
});
