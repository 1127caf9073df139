// AlarmSource: what a kind of Heddle's own entities wants of alarms (alarms.ts).

/** The alarm of an entity that is to be listed, and never to be rung. */
export const alarmNever = 2 ** 48 - 1;

/** What a kind of Heddle's own entities wants of alarms. */
export interface AlarmSource {
  /** The aggregate whose state says when. */
  readonly aggregate: string;
  /** Milliseconds since 1970, `alarmNever`, or undefined for no alarm: so for the initial state. Pure. */
  alarmOf(state: unknown): number | undefined;
  /** Whether the time counts: it is called when it has come. */
  readonly timed: boolean;
  /**
   * Kinds that are not timed: called for every entity with an alarm that is there when the shard opens, in slices over turns.
   * May be called for one that began since. `due` is its alarm.
   */
  onOpen?(entity: string, due: number): void;
  /**
   * Timed kinds: called when an alarm has come, in a turn in which the shard is at nothing else; again only after the entity
   * has been written to, the alarm was put back, or the shard was opened again. `state` is that of the aggregate.
   */
  onAlarm?(entity: string, due: number, state: unknown): void;
  /**
   * Timed kinds: how many alarms are taken now. After it has said none, nothing is called before `ring`. Left out: as many as
   * there are.
   */
  room?(): number;
}
