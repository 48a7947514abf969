/** Checks the environment variables for outgoing connections before anything is started. */
import { proxyRuleFrom } from './_proxy.ts';
import { readAuthorities } from './authorities.ts';

/** Checks the proxy variables and MCPHUB_CA_FILE. Throws `config-invalid` with a readable message. */
export function checkEgressEnvironment(env: Readonly<Record<string, string | undefined>>): void {
  proxyRuleFrom(env);
  if (env.MCPHUB_CA_FILE) readAuthorities(env.MCPHUB_CA_FILE);
}
