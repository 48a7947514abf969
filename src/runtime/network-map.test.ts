import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CappedMap, ContainerLimits } from './capped.ts';
import { NetworkMap } from './network-map.ts';

function rig(max = 10): NetworkMap<number> {
  let made = 0;
  const values = new CappedMap<string, number>('test.networks', max, 'drop-oldest', new ContainerLimits());
  return new NetworkMap(values, () => {
    made += 1;
    return made;
  });
}

test('an IPv4 address and an IPv6 network have one value each, whoever asks in between', () => {
  const networks = rig();
  const asked = ['192.0.2.1', '192.0.2.1', '2001:db8::1', '2001:db8::2', '192.0.2.1', '::ffff:192.0.2.1', '192.0.2.2'];
  assert.deepEqual(
    asked.map((address) => networks.of(address)),
    [1, 1, 2, 2, 1, 1, 3],
  );
});

test('a network that was pushed out gets a new value, and the one asked for last keeps its own', () => {
  const networks = rig(1);
  assert.deepEqual(
    ['192.0.2.1', '192.0.2.2', '192.0.2.2', '192.0.2.1'].map((address) => networks.of(address)),
    [1, 2, 2, 3],
  );
});
