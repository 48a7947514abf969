/**
 * The event store of one session: what its streams have sent, so that a client may resume one of them.
 * Promises: an event's id says its stream; what is replayed belongs to that stream and came later; the oldest go first
 * at `MAX_EVENTS`.
 */
import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';

const MAX_EVENTS = 1000;

interface Stored {
  readonly id: string;
  readonly streamId: string;
  readonly message: JSONRPCMessage;
}

export function createEventStore(): EventStore {
  // bounded by: MAX_EVENTS
  const events: Stored[] = [];
  let next = 1;
  const find = (id: string) => events.findIndex((event) => event.id === id);

  return {
    storeEvent: async (streamId, message) => {
      const id = `${streamId}#${next}`;
      next += 1;
      events.push({ id, streamId, message });
      if (events.length > MAX_EVENTS) events.shift();
      return id;
    },
    getStreamIdForEventId: async (id) => events[find(id)]?.streamId,
    replayEventsAfter: async (lastId, { send }) => {
      const at = find(lastId);
      const streamId = events[at]?.streamId ?? '';
      const missed = events.slice(at + 1).filter((event) => at >= 0 && event.streamId === streamId);
      // The event that opens a stream carries no message.
      for (const { id, message } of missed) if ('jsonrpc' in message) await send(id, message);
      return streamId;
    },
  };
}
