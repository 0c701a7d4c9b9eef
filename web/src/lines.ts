// Browsers open six connections to a server and no more, for all of their tabs together. What waits for an
// answer holds one until it has ended: four may, so that everything else still finds a way.
const LINES = ["telecine.line.1", "telecine.line.2", "telecine.line.3", "telecine.line.4"];

export type Free = () => void;

/** A line to hold, given back by calling what comes; null: all of them are held. */
export async function line(): Promise<Free | null> {
  for (const name of LINES) {
    const free = await held(name);
    if (free) return free;
  }
  return null;
}

const here = new Set<string>();

/** Over all tabs, where the browser has locks: pages that came unencrypted from another machine know of
 * their own tab alone. */
function held(name: string): Promise<Free | null> {
  if (navigator.locks) {
    return new Promise((resolve) => {
      const wait = (lock: Lock | null) => (lock ? new Promise<void>((free) => resolve(free)) : resolve(null));
      navigator.locks.request(name, { ifAvailable: true }, wait).catch(() => resolve(null));
    });
  }
  if (here.has(name)) return Promise.resolve(null);
  here.add(name);
  return Promise.resolve(() => void here.delete(name));
}

/** Does one thing after the other, in the order in which they were asked for. */
export function turns(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const mine = last.then(work);
    last = mine.catch(() => {});
    return mine;
  };
}
