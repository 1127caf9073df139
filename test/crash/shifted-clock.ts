// Preloaded into a node (`--import`): its wall clock is ahead by HEDDLE_CLOCK_AHEAD_MS, on every one of its threads, as if so much time
// had gone by while nobody was there. What waits for a while and does not look at the clock takes as long as ever.
//
// Not promised: that `new Date()` is ahead too. Heddle asks `Date.now` alone (kernel's systemClock).
const aheadMs = Number(process.env["HEDDLE_CLOCK_AHEAD_MS"]);
const now = Date.now;
Date.now = () => now() + aheadMs;
