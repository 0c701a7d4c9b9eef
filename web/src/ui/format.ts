// Figures as people read them. Money is a decimal text and never becomes a float on the way.

export function money(usd: string | number | null | undefined): string {
  if (usd === null || usd === undefined || usd === "") return "unknown";
  const text = typeof usd === "number" ? plain(usd) : usd;
  const match = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text);
  if (!match) return `$${text}`;
  const [, sign, whole, part = ""] = match;
  const digits = part.replace(/0+$/, "");
  if (whole !== "0" || digits === "") return `${sign}$${whole}.${digits.padEnd(2, "0").slice(0, 4)}`;
  const first = digits.search(/[1-9]/);
  return `${sign}$0.${digits.slice(0, Math.max(2, first + 3)).padEnd(2, "0")}`;
}

function plain(value: number): string {
  return value.toFixed(12).replace(/\.?0+$/, "");
}

export function bytes(count: number): string {
  if (count < 1000) return `${count} B`;
  for (const [unit, size] of [["KB", 1e3], ["MB", 1e6]] as const) {
    if (count < size * 1000) return `${(count / size).toFixed(count < size * 10 ? 1 : 0)} ${unit}`;
  }
  return `${(count / 1e9).toFixed(1)} GB`;
}

export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (value: number) => String(value).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${two(m)}:${two(s)}`;
}

export function span(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

export function when(iso: string): string {
  const time = new Date(iso);
  return Number.isNaN(time.getTime())
    ? iso
    : time.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

export const count = (value: number): string => value.toLocaleString("en-US");
