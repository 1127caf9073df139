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
export {
  FrameSplitter,
  frameOffset,
  preface,
  replyKind,
  requestCall,
  requestFlags,
  requestHash,
  requestKind,
  writeRequestHeader,
} from "./frames.ts";
export * from "./index.ts";
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
