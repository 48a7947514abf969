/**
 * The published JSON Schema of the configuration file, for `mcphub config schema`, `docs/mcp_settings.schema.json` and
 * editors.
 * Guarantees: generated from the schema that the loader uses. Ranges that the loader checks separately are not part of
 * it.
 */
import { z } from 'zod';
import { fileSchema } from './schema.ts';

export function configJsonSchema(): object {
  return z.toJSONSchema(fileSchema, { io: 'input', target: 'draft-7', reused: 'inline' });
}
