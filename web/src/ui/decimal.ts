// Sums of decimal text, exact: money is never a float on the way.

export function add(amounts: readonly (string | null)[]): string {
  const known = amounts.filter((each): each is string => each !== null);
  const places = Math.max(0, ...known.map((each) => each.split(".")[1]?.length ?? 0));
  const total = known.reduce((sum, each) => sum + scaled(each, places), 0n);
  const sign = total < 0n ? "-" : "";
  const digits = (total < 0n ? -total : total).toString().padStart(places + 1, "0");
  const whole = digits.slice(0, digits.length - places);
  const part = digits.slice(digits.length - places).replace(/0+$/, "");
  return sign + (part ? `${whole}.${part}` : whole);
}

function scaled(text: string, places: number): bigint {
  const [whole = "0", part = ""] = text.split(".");
  const value = BigInt(whole.replace("-", "") + part.padEnd(places, "0"));
  return text.startsWith("-") ? -value : value;
}

/** How much of `most` that is, from 0 to 1; for the length of a bar. */
export function share(amount: string, most: string): number {
  const [a, b] = [Number(amount), Number(most)];
  return b > 0 ? Math.min(1, Math.max(0, a / b)) : 0;
}
