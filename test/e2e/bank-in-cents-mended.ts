// The same, mended.
import { bankInCents } from "./bank-in-cents.ts";

export default bankInCents(({ amount }) => ({ cents: amount * 100 }));
