import { crashRun, crashPoints, killAt, killUnderLoad, killWhileRecovering, randomShape } from "../crash/crash-run.ts";
import { Dice, chooseSeed } from "../crash/dice.ts";
const seed = chooseSeed(); const dice = new Dice(seed);
const n = Number(process.argv[2] ?? 10);
const kills = Array.from({length:n}, () => { const c = dice.between(1,20); return c<=2?killWhileRecovering(dice): c<=7?killUnderLoad(dice): killAt(dice.pick(Object.keys(crashPoints) as any), dice); });
const shape = randomShape(dice); console.log(seed, JSON.stringify(shape));
const t0=performance.now();
try { console.log(await crashRun({dice: dice.fork(), shape, kills, askEvery: 5, progress: (l)=>console.log(((performance.now()-t0)/1000).toFixed(1), l)})); } catch (e) { console.log(e); process.exit(1) }
