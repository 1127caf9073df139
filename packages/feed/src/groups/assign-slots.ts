// Which member is to have which slots of a group: evenly, and as little moved as can be.

/**
 * `has` says by slot who has it now, or is to have it; members stand in the order in which they joined. Gives the same for what
 * is to be: counts differ by at most one, and a slot moves only where that makes them even.
 */
export function assignSlots<M>(has: readonly (M | undefined)[], members: readonly M[]): (M | undefined)[] {
  if (members.length === 0) return has.map(() => undefined);
  const counts = new Map<M, number>(members.map((member) => [member, 0]));
  for (const owner of has) if (owner !== undefined && counts.has(owner)) counts.set(owner, counts.get(owner)! + 1);
  const least = Math.floor(has.length / members.length);
  let withOneMore = has.length - least * members.length;
  // Who has most keeps one more; the sort is stable, so that elders come first among equals.
  const quotas = new Map<M, number>();
  for (const member of [...members].sort((a, b) => counts.get(b)! - counts.get(a)!)) {
    quotas.set(member, withOneMore-- > 0 ? least + 1 : least);
  }
  const next = has.map((owner) => {
    const left = owner === undefined ? undefined : quotas.get(owner);
    if (left === undefined || left === 0) return undefined;
    quotas.set(owner!, left - 1);
    return owner;
  });
  const wanting = members.flatMap((member) => new Array<M>(quotas.get(member)!).fill(member));
  return next.map((owner) => owner ?? wanting.shift());
}
