// What copying events needs of a node, by way of this client's sessions.
import { hashEntity, parseEntityId } from "@heddle/kernel";
import { type CopyPort, requestKind, writeHistoryBody, writeImportBody } from "@heddle/protocol/internal";
import type { CallOptions } from "./session.ts";
import type { Sessions } from "./sessions.ts";
import { readEvents } from "./wire-values.ts";

/** `options` hold for each request. */
export function copyPort(sessions: Sessions, options: CallOptions | undefined): CopyPort {
  const hashOf = (entity: string) => hashEntity(parseEntityId(entity));
  return {
    history(fields) {
      const hash = hashOf(fields.entity);
      return sessions.of(hash).request(requestKind.history, hash, writeHistoryBody, fields, options, readEvents);
    },
    import(fields) {
      const hash = hashOf(fields.entity);
      return sessions.of(hash).request(requestKind.import, hash, writeImportBody, fields, options);
    },
  };
}
