// Every bound that Heddle puts on what comes from outside, in one place. Units come last in each name.

export const limits = {
  /** UTF-8 bytes of an entity id: leaves room for prefixes below LMDB's key limit of 1,978 bytes. */
  entityIdBytesMax: 512,
  /** UTF-8 bytes of the name of an aggregate, event type or command. */
  nameBytesMax: 128,
  /** UTF-8 bytes of an id that a caller gives to an append. */
  appendIdBytesMax: 200,
  /** Events in one append. */
  appendEventsMax: 10_000,
  /** Bytes of one frame on the wire, and so of one append. */
  frameBytesMax: 16 * 1024 * 1024,
  /** Bytes of an HTTP body. */
  httpBodyBytesMax: 16 * 1024 * 1024,
  /** Levels of arrays and maps inside a payload. */
  payloadDepthMax: 64,
  /** Calls that one client session may have unanswered; also the width of its idempotency window, in call numbers. */
  sessionCallsMax: 8_192,
  /** Items in one `appendMany`. */
  appendManyItemsMax: 10_000,
  /** Events in one page of history. */
  historyEventsMax: 10_000,
  /** Entities in one page of a list. */
  listEntitiesMax: 10_000,
  /** UTF-8 bytes of a saga's id: ids of its steps are made of it, and must fit into an append id. */
  sagaIdBytesMax: 160,
  /** Steps of one saga. */
  sagaStepsMax: 100,
  /** Bytes of one saga: its steps, forward and back. */
  sagaBytesMax: 1024 * 1024,
  /** Operations of one transaction. */
  transactionOperationsMax: 10_000,
  /** Reminders that one entity may have pending. */
  remindersPerEntityMax: 1_000,
  /** UTF-8 bytes of a reminder's name. */
  reminderNameBytesMax: 128,
  /** Levels of arrays and maps inside any msgpack that arrives: a page of events holds payloads, a reply holds a page. */
  valueDepthMax: 512,
  /** Arrays and maps inside any msgpack that arrives: each takes some 60 bytes once decoded, however small it was. */
  valueContainersMax: 4_000_000,
} as const;
