/** The classes of requests and responses of a process. */
import type { Limits } from '../config/limits.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { guardedClasses, type HttpClasses } from './guarded-http.ts';
import { createResponseClass } from './http-response.ts';
import type { RefusalTraces } from './refusal-trace.ts';
import type { SlowReaders } from './slow-reader.ts';

/**
 * Creates the classes of requests and responses, once for a process: with classes for each listener, all code that
 * handles requests would see several hidden classes and be slower.
 */
export function createHttpClasses({
  runtime,
  limits,
  slowReaders,
  traces,
}: {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly slowReaders: SlowReaders;
  /** Absent when refused requests are not recorded. */
  readonly traces?: RefusalTraces | undefined;
}): HttpClasses {
  const Response = createResponseClass({ runtime, limits });
  return guardedClasses(runtime, Response, (response) => slowReaders.watch(response), traces?.refused);
}
