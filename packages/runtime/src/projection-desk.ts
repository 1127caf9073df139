// ProjectionDesk: answers requests about projections: queries, lists, and what operators ask for.
//
// Every frame is answered once, also after its connection is gone: the answer gives back what the request counted for.
import { HeddleError } from "@heddle/kernel";
import { listedProjection, type Projections, type Queries, type Sink } from "@heddle/projection/internal";
import type { ListedProjection, ProjectionRebuilt } from "@heddle/protocol";
import {
  encodeErrorReply,
  encodeReply,
  frameOffset,
  frameReply,
  type ProjectionOperateFields,
  readProjectionListBody,
  readProjectionOperateBody,
  readQueryBody,
  replyKind,
  requestCall,
  requestKind,
} from "@heddle/protocol/internal";

export interface ProjectionDeskOptions {
  readonly projections: Pick<Projections, "list" | "tracksOf" | "rebuild" | "pause" | "resume" | "retry" | "skip">;
  readonly queries: Pick<Queries, "run">;
  readonly sinks: readonly Pick<Sink, "name" | "kind">[];
  readonly source: { end(shard: number): number };
  readonly replies: {
    frame(connection: number, requestBytes: number, frame: Uint8Array): void;
    forget(connection: number): void;
  };
}

interface Unanswered {
  readonly connection: number;
  readonly requestBytes: number;
  readonly call: number;
}

/** Requests that may wait for their answers: each holds its SQL and parameters. */
const underWayMax = 1_024;

export class ProjectionDesk {
  readonly #options: ProjectionDeskOptions;
  /** Unanswered requests by connection. */
  readonly #underWay = new Map<number, number>();
  readonly #closed = new Set<number>();
  readonly #unanswered = new Set<Unanswered>();
  #isClosed = false;

  constructor(options: ProjectionDeskOptions) {
    this.#options = options;
  }

  /** Takes a whole request frame, `bytes[from, to)`. Errors: `BAD_FRAME`, `INVALID_REQUEST`, `QUERY_REFUSED`, `OVERLOADED`. */
  receive(connection: number, bytes: Uint8Array, from: number, to: number): void {
    if (this.#isClosed) throw closed();
    const body = from + frameOffset.requestBody;
    const call = requestCall(bytes, from);
    switch (bytes[from + frameOffset.kind]) {
      case requestKind.query: {
        const fields = readQueryBody(bytes, body, to);
        if (this.#unanswered.size >= underWayMax) {
          const facts = { queue: "queries under way", depth: this.#unanswered.size, depthMax: underWayMax };
          throw new HeddleError("OVERLOADED", facts);
        }
        const frame = this.#options.queries.run(fields).then((rows) => frameReply(replyKind.value, call, rows));
        this.#answer(connection, to - from, call, frame);
        return;
      }
      case requestKind.projectionList: {
        const { projection } = readProjectionListBody(bytes, body, to);
        this.#answer(
          connection,
          to - from,
          call,
          this.#valued(call, () => this.list(projection)),
        );
        return;
      }
      case requestKind.projectionOperate: {
        const fields = readProjectionOperateBody(bytes, body, to);
        this.#answer(
          connection,
          to - from,
          call,
          this.#valued(call, () => this.#operate(fields)),
        );
        return;
      }
      default:
        throw new HeddleError("BAD_FRAME", {
          problem: `no request about projections: ${bytes[from + frameOffset.kind]}`,
        });
    }
  }

  connectionClosed(connection: number): void {
    if (this.#underWay.has(connection)) this.#closed.add(connection);
  }

  /** Those of one name; of all, for an empty one. Errors: `UNKNOWN_PROJECTION`. */
  list(projection = ""): ListedProjection[] {
    const { projections, source } = this.#options;
    if (projection !== "") projections.tracksOf(projection);
    return projections
      .list()
      .filter((status) => projection === "" || status.projection === projection)
      .map((status) => listedProjection(status, source));
  }

  /** Answers at once what still waits, such as for a projection. */
  close(): void {
    this.#isClosed = true;
    for (const one of this.#unanswered) this.#reply(one, encodeErrorReply(one.call, closed()));
  }

  async #operate({
    action,
    projection,
    sink,
    entity,
    reason,
    by,
  }: ProjectionOperateFields): Promise<ProjectionRebuilt[]> {
    const { projections } = this.#options;
    const sinks = this.#sinksOf(sink);
    const tracks = sinks.flatMap((name) => projections.tracksOf(projection, name));
    // A rebuild ends with rows of a later generation than those that are read now.
    const generations = tracks.map((track) => track.status().generation + (action === "rebuild" ? 1 : 0));
    const why = by === "" ? reason : `${reason} (${by})`;
    for (const name of sinks) {
      if (action === "retry") await projections.retry(projection, entity, name);
      else if (action === "skip") await projections.skip(projection, entity, why, name);
      else await projections[action](projection, name);
    }
    return tracks.map((track, i) => ({
      projection,
      sink: track.sink.name,
      generation: generations[i]!,
    }));
  }

  /** Names of sinks, by name or kind; undefined stands for all of them. */
  #sinksOf(wanted: string): readonly (string | undefined)[] {
    if (wanted === "") return [undefined];
    const { sinks } = this.#options;
    const found = sinks.filter(({ name, kind }) => name === wanted || kind === wanted).map(({ name }) => name);
    if (found.length > 0) return found;
    throw new HeddleError("NO_QUERY_SINK", { wanted, known: sinks.map(({ name }) => name) });
  }

  async #valued(call: number, give: () => unknown): Promise<Uint8Array> {
    return encodeReply(replyKind.value, call, await give());
  }

  #answer(connection: number, requestBytes: number, call: number, frame: Promise<Uint8Array>): void {
    const one: Unanswered = { connection, requestBytes, call };
    this.#unanswered.add(one);
    this.#underWay.set(connection, 1 + (this.#underWay.get(connection) ?? 0));
    frame.then(
      (bytes) => this.#reply(one, bytes),
      (thrown: unknown) => this.#reply(one, encodeErrorReply(call, asHeddleError(thrown))),
    );
  }

  // Once: what comes to an end after the desk was closed has been answered.
  #reply(one: Unanswered, frame: Uint8Array): void {
    if (!this.#unanswered.delete(one)) return;
    this.#options.replies.frame(one.connection, one.requestBytes, frame);
    this.#settle(one.connection);
  }

  #settle(connection: number): void {
    const left = this.#underWay.get(connection)! - 1;
    if (left > 0) this.#underWay.set(connection, left);
    else this.#underWay.delete(connection);
    if (left > 0 || !this.#closed.delete(connection)) return;
    // When the answer is on its way: the place that it was packed in is nobody's any more.
    setImmediate(() => this.#options.replies.forget(connection));
  }
}

function closed(): HeddleError {
  return new HeddleError("CLOSED", { what: "the node" });
}

function asHeddleError(thrown: unknown): HeddleError {
  if (thrown instanceof HeddleError) return thrown;
  return new HeddleError("OUTCOME_UNKNOWN", { problem: `the projection thread failed at it: ${String(thrown)}` });
}
