import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { HubError } from '../model/errors.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { bothFamilies, type DnsAnswer, type DnsAsker } from './_ask-dns.ts';
import { candidatesFor, createNameFiles, hostsFrom, type NameFiles, searchFrom } from './_name-files.ts';
import type { Address } from './address-class.ts';
import { createResolver, type Resolver } from './resolver.ts';

const missing = (code = 'ENOTFOUND'): Error => Object.assign(new Error('dns'), { code });
const answer = (address: string, ttlS = 60): DnsAnswer[] => [{ address, family: 4, ttlS }];

interface Rig {
  readonly frozen: ReturnType<typeof frozenRuntime>;
  readonly resolver: Resolver;
  readonly asked: string[];
  zone: (name: string) => Promise<readonly DnsAnswer[]>;
  hosts: Map<string, readonly Address[]>;
  ask(name: string): Promise<readonly Address[]>;
}

function rig(): Rig {
  const frozen = frozenRuntime();
  const asked: string[] = [];
  const dns: DnsAsker = {
    ask: (name) => {
      asked.push(name);
      return self.zone(name);
    },
    renew: () => {},
  };
  const files: NameFiles = {
    ready: () => Promise.resolve(),
    find: (name) => self.hosts.get(name),
    candidates: (name) => [name],
    generation: 0,
  };
  const resolver = createResolver({ runtime: frozen.runtime, dnsMs: () => 2000, dns, files });
  const self: Rig = {
    frozen,
    resolver,
    asked,
    zone: () => Promise.reject(missing()),
    hosts: new Map(),
    ask: (name) => resolver.resolve(name, frozen.runtime.deadline(10_000)),
  };
  return self;
}

test('addresses, localhost and the hosts file need no question', async () => {
  const one = rig();
  one.hosts.set('intern', [{ address: '10.0.0.7', family: 4 }]);
  assert.deepEqual(await one.ask('192.0.2.1'), [{ address: '192.0.2.1', family: 4 }]);
  assert.deepEqual(await one.ask('[::1]'), [{ address: '::1', family: 6 }]);
  assert.deepEqual(
    (await one.ask('localhost')).map((entry) => entry.address),
    ['127.0.0.1', '::1'],
  );
  assert.deepEqual(
    (await one.ask('Intern')).map((entry) => entry.address),
    ['10.0.0.7'],
  );
  assert.deepEqual(one.asked, []);
});

// row A8 · guards src/net/resolver.ts
test('A8: names that never answer end at dnsMs and keep nobody else waiting', async () => {
  const one = rig();
  one.zone = (name) => (name === 'good.example' ? Promise.resolve(answer('192.0.2.5')) : new Promise(() => {}));
  const dead = ['a.example', 'b.example', 'c.example'].map((name) =>
    assert.rejects(one.ask(name), { code: 'upstream-dns' }),
  );
  assert.equal((await one.ask('good.example'))[0]?.address, '192.0.2.5');
  assert.equal(one.frozen.runtime.waits.size > 0, true);
  await one.frozen.advanceAsync(2100);
  await Promise.all(dead);
  assert.equal(one.frozen.runtime.waits.size, 0);
});

test('a name is asked for once by many, and again only when its time to live is over', async () => {
  const one = rig();
  one.zone = () => Promise.resolve(answer('192.0.2.5', 1));
  await Promise.all([one.ask('x.example'), one.ask('x.example'), one.ask('x.example')]);
  assert.equal(one.asked.length, 1);
  await one.frozen.advanceAsync(29_000);
  await one.ask('x.example');
  assert.equal(one.asked.length, 1, 'a short time to live is lifted to 30 s');
  await one.frozen.advanceAsync(2000);
  await one.ask('x.example');
  assert.equal(one.asked.length, 2);
});

test('what was known serves for an hour while DNS is down, but not when the name is gone', async () => {
  const one = rig();
  one.zone = () => Promise.resolve(answer('192.0.2.5'));
  await one.ask('x.example');
  one.zone = () => Promise.reject(missing('ESERVFAIL'));
  await one.frozen.advanceAsync(61_000);
  assert.equal((await one.ask('x.example'))[0]?.address, '192.0.2.5');
  one.zone = () => new Promise(() => {});
  await one.frozen.advanceAsync(3000);
  const slow = one.ask('x.example');
  await one.frozen.advanceAsync(300);
  assert.equal((await slow)[0]?.address, '192.0.2.5', 'within 250 ms');
  await one.frozen.advanceAsync(5000);
  one.zone = () => Promise.reject(missing('ENOTFOUND'));
  await assert.rejects(one.ask('x.example'), (fault) => fault instanceof HubError && fault.code === 'upstream-dns');
});

test('a name that does not exist is not asked for again for two seconds', async () => {
  const one = rig();
  await assert.rejects(one.ask('no.example'));
  await assert.rejects(one.ask('no.example'), { code: 'upstream-dns' });
  assert.equal(one.asked.length, 1);
  await one.frozen.advanceAsync(2100);
  await assert.rejects(one.ask('no.example'));
  assert.equal(one.asked.length, 2);
});

test('at most 256 questions are open; the next name is refused at once', async () => {
  const one = rig();
  one.zone = () => new Promise(() => {});
  const open = Array.from({ length: 256 }, (_, at) =>
    assert.rejects(one.ask(`n${at}.example`), { code: 'upstream-dns' }),
  );
  await new Promise<void>((resolve) => setImmediate(resolve));
  await assert.rejects(one.ask('one-more.example'), { code: 'overloaded' });
  await one.frozen.advanceAsync(2100);
  await Promise.all(open);
});

test('the first family with addresses waits 50 ms for the other', async () => {
  const { runtime, advanceAsync } = frozenRuntime();
  const late = bothFamilies(Promise.resolve(answer('192.0.2.5')), new Promise(() => {}), runtime.timers);
  await advanceAsync(60);
  assert.equal((await late).length, 1);
  await assert.rejects(
    bothFamilies(Promise.reject(missing('ENODATA')), Promise.reject(missing('ETIMEOUT')), runtime.timers),
    { code: 'ETIMEOUT' },
  );
});

test('hosts and resolv.conf are read as they are written', () => {
  const hosts = hostsFrom('127.0.0.1 localhost\n# 1.1.1.1 no\n::1 six Six2 # tail\nnonsense x\n10.0.0.1\tsix\n');
  assert.deepEqual(hosts.get('six'), [
    { address: '::1', family: 6 },
    { address: '10.0.0.1', family: 4 },
  ]);
  assert.equal(hosts.has('no'), false);
  const search = searchFrom(
    'nameserver 10.0.0.2\nsearch ns.svc.cluster.local svc.cluster.local\noptions ndots:2 timeout:1\n',
  );
  assert.deepEqual(candidatesFor('db', search), ['db.ns.svc.cluster.local', 'db.svc.cluster.local', 'db']);
  assert.deepEqual(candidatesFor('a.b.example', search)[0], 'a.b.example');
});

test('a changed hosts file is read again, at most every 30 s', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'names-'));
  const hosts = join(folder, 'hosts');
  await writeFile(hosts, '10.0.0.1 x\n');
  let nowMs = 1000;
  const real = createRuntime();
  const runtime = { ...real, clock: { nowMs: () => nowMs, wallMs: () => nowMs } };
  const files = createNameFiles(runtime, { hosts, resolvConf: join(folder, 'none') });
  await files.ready();
  assert.equal(files.find('x')?.[0]?.address, '10.0.0.1');
  await writeFile(hosts, '10.0.0.22 x\n');
  nowMs += 29_000;
  assert.equal(files.find('x')?.[0]?.address, '10.0.0.1');
  assert.deepEqual(runtime.scope.running, []);
  nowMs += 2000;
  files.find('x');
  while (runtime.scope.running.length > 0) await new Promise<void>((resolve) => setImmediate(resolve));
  assert.equal(files.find('x')?.[0]?.address, '10.0.0.22');
  await rm(folder, { recursive: true });
});
