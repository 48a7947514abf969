import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { CLIENT_ADDRESS_HEADER, clientAddress, dropUnprovenAddress } from './client-address.ts';

function requestFrom(remoteAddress: string | undefined, headers: Record<string, string>): IncomingMessage {
  return { headers: { ...headers }, socket: { remoteAddress } } as unknown as IncomingMessage;
}

test('believes the address that another worker names only over a unix socket and beside the token', () => {
  const named = { [CLIENT_ADDRESS_HEADER]: '10.0.0.1' };
  const proven = { ...named, 'x-mcphub-worker': 'token' };
  const addressAfter = (request: IncomingMessage, token: string | undefined): string => {
    dropUnprovenAddress(request, () => token);
    return clientAddress(request);
  };
  assert.equal(addressAfter(requestFrom(undefined, proven), 'token'), '10.0.0.1');
  assert.equal(addressAfter(requestFrom(undefined, proven), 'other'), '');
  assert.equal(addressAfter(requestFrom(undefined, proven), undefined), '');
  assert.equal(addressAfter(requestFrom(undefined, named), 'token'), '');
  assert.equal(addressAfter(requestFrom('10.0.0.9', proven), 'token'), '10.0.0.9');
  assert.equal(addressAfter(requestFrom('127.0.0.1', {}), 'token'), '127.0.0.1');
});
