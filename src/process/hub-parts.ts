/**
 * The rooms of one hub, made in start order and handed to each other: the data plane's composition, without a process around it.
 * Promises: nothing runs before `start`; `stop` ends everything in reverse by its deadline; a test can have one with `await using`.
 * Does not: load store, control or admin (law 7), read the command line, or end the process (`hub-process.ts`).
 */

import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { createAdmission } from '../admission/gate.ts';
import { createKeyDoor } from '../auth/keys.ts';
import { createLine } from '../call/line.ts';
import { createCatalog } from '../catalog/catalog.ts';
import type { LimitName, Limits } from '../config/limits.ts';
import { limitsFrom } from '../config/limits.ts';
import { createEndpoint } from '../downstream/endpoint.ts';
import { createForward } from '../downstream/forward.ts';
import { createListener, type Listener } from '../downstream/listener.ts';
import { createPrivateDoor } from '../downstream/private-door.ts';
import { createRouter } from '../downstream/router.ts';
import { createStreams } from '../downstream/streams.ts';
import { createHealth, type Health } from '../health/health.ts';
import type { Deadline } from '../kernel/deadline.ts';
import { createKernel, type Kernel } from '../kernel/kernel.ts';
import { SnapshotHolder } from '../kernel/snapshot.ts';
