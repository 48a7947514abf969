/**
 * An nginx in front of a hub, on a port and in a directory of its own. `await using` ends it and removes the directory.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, statusOf, until } from './hub.ts';

export interface Nginx extends AsyncDisposable {
  readonly port: number;
}

/**
 * `directives` stand in the `location` beside `proxy_pass`; `prefix` is taken off. Returns when the hub answers through
 * it.
 */
export async function startNginx(hubPort: number, directives = '', prefix = '/'): Promise<Nginx> {
  const port = await freePort();
  const dir = mkdtempSync(join(tmpdir(), 'mcphub-nginx-'));
  writeFileSync(
    join(dir, 'nginx.conf'),
    `daemon off; pid ${dir}/pid; error_log ${dir}/error.log; events {}
http {
  access_log off; client_body_temp_path ${dir}/b; proxy_temp_path ${dir}/p; fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
  server { listen 127.0.0.1:${port}; location ${prefix} { proxy_pass http://127.0.0.1:${hubPort}${prefix === '/' ? '' : '/'}; ${directives} } }
}`,
  );
  const child = spawn('nginx', ['-c', join(dir, 'nginx.conf'), '-p', dir], {
    stdio: 'ignore',
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
  const exited = new Promise<void>((done) => child.once('exit', () => done()));
  const nginx: Nginx = {
    port,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await exited;
      rmSync(dir, { recursive: true, force: true });
    },
  };
  try {
    await until(async () => (await statusOf(`http://127.0.0.1:${port}${prefix}health`)) === 200, 10_000, 'the proxy');
  } catch (fault) {
    await nginx[Symbol.asyncDispose]();
    throw fault;
  }
  return nginx;
}
