import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressClass, isAllowed } from './address-class.ts';

test('treats every spelling of an embedded address as that address', () => {
  const cases: Record<string, string> = {
    '127.0.0.1': 'loopback',
    '127.255.0.9': 'loopback',
    '::1': 'loopback',
    '::ffff:127.0.0.1': 'loopback',
    '::ffff:7f00:1': 'loopback',
    '64:ff9b::127.0.0.1': 'loopback',
    '2002:7f00:1::': 'loopback',
    '169.254.169.254': 'link-local',
    '::ffff:169.254.169.254': 'link-local',
    '64:ff9b::a9fe:a9fe': 'link-local',
    '2002:a9fe:a9fe::1': 'link-local',
    'fe80::1': 'link-local',
    '10.1.2.3': 'private',
    '172.16.0.1': 'private',
    '172.32.0.1': 'public',
    '192.168.1.1': 'private',
    '100.64.0.1': 'private',
    'fd00::1': 'private',
    'fec0::1': 'private',
    '224.0.0.1': 'multicast',
    'ff02::1': 'multicast',
    '0.0.0.0': 'reserved',
    '::': 'reserved',
    '2001::1': 'reserved',
    '64:ff9b:1::1': 'reserved',
    '2001:0:7f00:1:0:0:5601:5601': 'link-local',
    '2001:0:808:808::f7f7:f7f7': 'reserved',
    '64:ff9b:1::a9fe:a9fe': 'link-local',
    '64:ff9b:1::808:808': 'reserved',
    '::169.254.169.254': 'link-local',
    '::127.0.0.1': 'loopback',
    '::8.8.8.8': 'public',
    'fd00:ec2::254': 'metadata',
    '100.100.100.200': 'metadata',
    '::ffff:100.100.100.200': 'metadata',
    '192.0.0.192': 'metadata',
    '8.8.8.8': 'public',
    '2606:4700::1111': 'public',
    'example.com': 'not-an-address',
  };
  for (const [address, expected] of Object.entries(cases)) assert.equal(addressClass(address), expected, address);
});

// finding: SR-L8
test('refuses metadata addresses under every rule, and loopback only under public', () => {
  for (const address of ['fd00:ec2::254', '100.100.100.200', '::169.254.169.254', '64:ff9b:1::a9fe:a9fe'])
    assert.equal(isAllowed(address, 'any'), false, address);
  assert.equal(isAllowed('169.254.169.254', 'any'), false);
  assert.equal(isAllowed('169.254.169.254', 'public'), false);
  assert.equal(isAllowed('127.0.0.1', 'any'), true);
  assert.equal(isAllowed('127.0.0.1', 'public'), false);
  assert.equal(isAllowed('8.8.8.8', 'public'), true);
});
