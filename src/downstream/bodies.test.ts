import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { limitsFrom } from '../config/limits.ts';
import { Bodies } from './bodies.ts';

function rig() {
  const { runtime } = frozenRuntime();
  const limits = { ...limitsFrom({}), bodiesBytes: 1000, bodiesBytesPerKey: 400, openBodies: 4, openBodiesPerKey: 2 };
  const bodies = new Bodies({ runtime, limits });
  const held = () => Object.fromEntries(runtime.ceilings.table().map(({ name, size }) => [name, size]));
  const one = (owner: string) => {
    const response = Object.assign(new EventEmitter(), { closed: false });
    const count = bodies.count(owner, response as unknown as ServerResponse);
    const close = (): void => {
      response.closed = true;
      response.emit('close');
    };
    return { count, close };
  };
  return { one, held };
}

test('refuses a key above its share of bytes with the name of the setting, and another key has room', () => {
  const { one } = rig();
  assert.equal(one('a').count.holds(400), undefined);
  const refused = one('a').count.holds(1);
  assert.deepEqual([refused?.code, refused?.detail.setting], ['key-busy', 'bodiesBytesPerKey']);
  assert.equal(one('b').count.holds(400), undefined);
});

test('gives bytes back when the response is closed, once', () => {
  const { one, held } = rig();
  const { count, close } = one('a');
  count.holds(100);
  count.holds(300);
  assert.equal(held()['downstream.body-bytes'], 300);
  close();
  close();
  assert.equal(held()['downstream.body-bytes'], 0);
});

test('gives bytes back that are counted after the response was closed', () => {
  const { one, held } = rig();
  const { count, close } = one('a');
  close();
  count.begin();
  count.holds(300);
  count.end();
  assert.deepEqual([held()['downstream.bodies'], held()['downstream.body-bytes']], [0, 0]);
});

test('a body that outlives its response is given back by its user', () => {
  const { one, held } = rig();
  const { count, close } = one('a');
  count.holds(300);
  const release = count.keep();
  close();
  assert.equal(held()['downstream.body-bytes'], 300);
  release();
  release();
  assert.equal(held()['downstream.body-bytes'], 0);
});

test('refuses a key above its share of bodies that are arriving', () => {
  const { one, held } = rig();
  const first = one('a').count;
  assert.deepEqual([first.begin(), first.begin(), one('a').count.begin()], [undefined, undefined, undefined]);
  assert.equal(one('a').count.begin()?.detail.setting, 'openBodiesPerKey');
  assert.equal(one('b').count.begin(), undefined);
  first.end();
  first.end();
  assert.equal(held()['downstream.bodies'], 2);
});
