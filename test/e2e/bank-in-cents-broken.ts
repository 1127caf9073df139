// An upcaster that throws at what nobody had thought of.
import { bankInCents } from "./bank-in-cents.ts";

export default bankInCents(({ amount, reference }) => {
  if (reference === "by hand") throw new Error("nobody knows what that was");
  return { cents: amount * 100 };
});
