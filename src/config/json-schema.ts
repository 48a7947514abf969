/**
 * The published JSON Schema of the configuration file: `mcphub config schema`, `docs/mcp_settings.schema.json`, editors.
 * Promises: made from the very schema that the loader checks with. Does not: know ranges that the loader checks by itself.
 */
import { z } from 'zod';
import { fileSchema } from './schema.ts';

export function configJsonSchema(): object {
  return z.toJSONSchema(fileSchema, { io: 'input', target: 'draft-7', reused: 'inline' });
}
