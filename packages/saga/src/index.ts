// saga: what spans entities step by step, and is undone step by step.
//
// Owns how a saga gets from step to step (progress.ts), its own history (`$saga/<id>`), and the sagas of a shard.
// P4: a saga takes effect once. P5: what has begun ends, over any crash, or is stuck and listed: nothing is compensated that
// may not have happened, and nothing that happened is forgotten.
// Not promised: isolation while one runs; transactions have it. That a stuck saga mends itself: an operator says what to do.

export type { SagaStats } from "./saga-runner.ts";
