/**
 * Law 7: no arrow upward, no cycle, no cross import in layer 3, and each process loads its own plane only.
 * covers: L7
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forbiddenLoads, moduleCycles, roomCycles, wrongArrows } from './_layers.ts';
import { readTree, snippet } from './_tree.ts';

const tree = readTree();
const HUB_ROOT = 'process/worker-process.ts';
const CONTROL_ROOT = 'process/control-process.ts';
const NOT_IN_HUB = { rooms: ['store', 'control', 'admin'], packages: 'any' } as const;
const NOT_IN_CONTROL = { rooms: ['downstream', 'call', 'upstream'], packages: 'any' } as const;
const NODE_ONLY = { rooms: [], packages: 'none' } as const;

test('imports go only to a lower layer, and rooms of one layer do not know each other', () => {
  assert.deepEqual(wrongArrows(tree), []);
});

test('a wrong arrow is seen', () => {
  const bad = [
    snippet("import { a } from '../downstream/a.ts';", 'kernel/x.ts'),
    snippet("import type { A } from '../catalog/a.ts';", 'auth/x.ts'),
    snippet("export { a } from '../control/a.ts';", 'call/x.ts'),
    snippet("const a = await import('../cli/a.ts');", 'supervisor/x.ts'),
    snippet("import '../../test/x.ts';", 'call/x.ts'),
    snippet("import { a } from '../catalog/_members.ts';", 'call/x.ts'),
    snippet("import { a } from '../_a.ts';", 'upstream/link/x.ts'),
    snippet('', 'helpers/x.ts'),
    snippet('', 'loose.ts'),
  ];
  for (const file of bad) assert.equal(wrongArrows([file]).length, 1, file.path + file.text);
  const fine = [
    snippet("import {\n  type A,\n  b,\n} from '../runtime/a.ts';\nimport { c } from './_c.ts';", 'auth/x.ts'),
    snippet("import { a } from '../config/a.ts';", 'net/x.ts'),
    snippet("// import { a } from '../call/a.ts';\nconst text = \"import { a } from '../call/a.ts'\";", 'net/y.ts'),
  ];
  assert.deepEqual(wrongArrows(fine), []);
});

test('no modules load each other in a circle, and no rooms know each other in one', () => {
  assert.deepEqual(moduleCycles(tree), []);
  assert.deepEqual(roomCycles(tree), []);
});

test('a circle is seen, and an erased type makes none between modules', () => {
  const loads = [
    snippet("import { b } from './b.ts';", 'net/a.ts'),
    snippet("import { type A, a } from './a.ts';", 'net/b.ts'),
  ];
  assert.deepEqual(moduleCycles(loads), ['net/a.ts → net/b.ts → net/a.ts']);
  const types = [
    snippet("import { b } from '../seal/b.ts';", 'net/a.ts'),
    snippet("import type { A } from '../net/a.ts';", 'seal/b.ts'),
  ];
  assert.deepEqual(moduleCycles(types), []);
  assert.equal(roomCycles(types).length, 1);
});

/** It must stay small enough to be read at once (ADR 0011). */
const SUPERVISOR_FILES = 13;

test('the supervisor loads node’s own modules only, and stays small', () => {
  const roots = tree.filter((file) => file.room === 'supervisor').map((file) => file.path);
  assert.ok(roots.length > 0, 'there is no supervisor');
  assert.ok(roots.length <= SUPERVISOR_FILES, roots.join(', '));
  for (const root of roots) assert.deepEqual(forbiddenLoads(root, tree, NODE_ONLY), [], root);
});

test('a hub process loads no store, control or admin', () => {
  assert.ok(
    tree.some((file) => file.path === HUB_ROOT),
    `${HUB_ROOT} is missing`,
  );
  assert.deepEqual(forbiddenLoads(HUB_ROOT, tree, NOT_IN_HUB), []);
});

test('the control process loads no downstream, call or upstream', () => {
  assert.ok(
    tree.some((file) => file.path === CONTROL_ROOT),
    `${CONTROL_ROOT} is missing`,
  );
  assert.deepEqual(forbiddenLoads(CONTROL_ROOT, tree, NOT_IN_CONTROL), []);
});

test('a load through another file is seen, an erased one is not', () => {
  const files = [
    snippet("import { a } from './parts.ts';\nimport type { S } from '../store/s.ts';", HUB_ROOT),
    snippet("import { open } from '../store/open.ts';", 'process/parts.ts'),
    snippet("import { z } from 'zod';\nimport { x } from 'node:fs';", 'store/open.ts'),
  ];
  assert.deepEqual(forbiddenLoads(HUB_ROOT, files, NOT_IN_HUB), ['store/open.ts']);
  assert.deepEqual(forbiddenLoads(HUB_ROOT, files, NODE_ONLY), ['zod']);
});
