// For sibling packages and tests.

export {
  type AppendFields,
  type AppendView,
  appendFlags,
  newAppendView,
  readAppendBody,
  writeAppendBody,
} from "./append-body.ts";
export {
  readText,
  readU16,
  readU32,
  readU48,
  TextCache,
  u48Max,
  writeText,
  writeU16,
  writeU32,
  writeU48,
} from "./bytes.ts";
export { checkMsgpack } from "./check-msgpack.ts";
export { type CopyPort, EventCopy } from "./copy-events.ts";
export { copyHistory, type ForkRequest, type ForkResult } from "./copy-history.ts";
export { readErasureReceipt } from "./erasure-receipt.ts";
export { type ExportItem, ExportReader, ExportWriter, exportFormat } from "./export-format.ts";
export { fromTagged, toTagged } from "./export-values.ts";
export {
  FrameSplitter,
  frameOffset,
  innerKindMin,
  preface,
  replyKind,
  requestCall,
  requestFlags,
  requestHash,
  requestKind,
  writeRequestHeader,
} from "./frames.ts";
export { importEntities } from "./import-entities.ts";
export * from "./index.ts";
export {
  type DeleteFields,
  type GetAtFields,
  type ImportFields,
  importHeadBytes,
  type ListFields,
  type RestoreFields,
  readDeleteBody,
  readGetAtBody,
  readImportBody,
  readListBody,
  readRestoreBody,
  type WireListed,
  writeDeleteBody,
  writeGetAtBody,
  writeImportBody,
  writeListBody,
  writeRestoreBody,
} from "./lifecycle-requests.ts";
export { compareIds, type ListShard, listPage, listPages } from "./list-pages.ts";
export { decodeValue, encodeValue } from "./payload-codec.ts";
export {
  encodeErrorReply,
  encodeRejectionReply,
  encodeReply,
  type Reply,
  readReceipt,
  readReply,
  receiptFrameBytes,
  rejection,
  type WireEvent,
  writeReceiptFrame,
} from "./replies.ts";
export {
  type ExecuteFields,
  type ExecuteView,
  encodeHello,
  type GetFields,
  type Hello,
  type HistoryFields,
  helloBodyOffset,
  newExecuteView,
  readExecuteBody,
  readGetBody,
  readHello,
  readHistoryBody,
  type Welcome,
  writeExecuteBody,
  writeGetBody,
  writeHistoryBody,
} from "./requests.ts";
export { isSameValue } from "./same-value.ts";
export { sumTypes } from "./stored-types.ts";
export { isTombstone, systemAggregate, systemEvents } from "./system-events.ts";
