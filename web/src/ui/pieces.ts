// Where a Markdown text can be cut while it grows: what stands before a cut means the same, whatever
// comes after it. Only definitions of links reach further; markdown.ts has them.

const PIECE = 1000;
/** From here on the beginning of a line tells which block it is: "12" may become "12. an item". */
const SURE = 12;

const ITEM = /^([-*+]|\d{1,9}[.)])(\s|$)/;
const BEGINS_A_BLOCK = /^[^\s>|<]/;
const FENCE = /^ {0,3}(`{3,}(?=[^`]*$)|~{3,})/;
const TAGS = /<!--|-->|<(\/?)([a-z][a-z0-9-]*)(?=[\s/>])[^<>]*>/gi;
const WITHOUT_END = /^(area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr)$/i;

/** In pieces of about PIECE characters. All of them together are the text; those that are `done` stay. */
export class Pieces {
  done: string[] = [];
  open = "";
  private text = "";
  private from = 0;
  private at = 0;
  private fence = "";
  private depth = 0;
  private isAfterBlank = true;
  private isInList = false;

  /** The text as it is now: what was there, and more. False when it is another: then all begins anew. */
  take(text: string): boolean {
    const isMore = text.startsWith(this.text);
    if (!isMore) Object.assign(this, new Pieces());
    this.text = text;
    for (;;) {
      const end = text.indexOf("\n", this.at) + 1;
      const line = text.slice(this.at, end || undefined);
      if (!end && line.length < SURE) break;
      if (this.mayCut(line)) {
        this.done.push(text.slice(this.from, this.at));
        this.from = this.at;
      }
      if (!end) break;
      this.read(line);
      this.at = end;
    }
    this.open = text.slice(this.from);
    return isMore;
  }

  /** Between blocks, and between the items of a list, which may be long: a list that is cut goes on as one. */
  private mayCut(line: string): boolean {
    if (this.fence || this.depth || this.at - this.from < PIECE) return false;
    return ITEM.test(line) ? this.isInList : this.isAfterBlank && BEGINS_A_BLOCK.test(line);
  }

  private read(line: string): void {
    if (ITEM.test(line)) this.isInList ||= this.isAfterBlank;
    else if (/^\S/.test(line)) this.isInList = false;
    this.isAfterBlank = line.trim() === "";
    const fence = FENCE.exec(line)?.[1] ?? "";
    if (!this.fence && !fence) this.depth = Math.max(0, this.depth + opened(line));
    else if (!this.fence) this.fence = fence;
    else if (fence.startsWith(this.fence) && line.trim() === fence) this.fence = "";
  }
}

/** How many more elements of HTML a line opens than it closes; one in code is none. */
function opened(line: string): number {
  let found = 0;
  for (const [tag, slash, name] of line.replace(/`[^`]*`/g, "").matchAll(TAGS)) {
    if (tag === "-->" || slash) found -= 1;
    else if (!name || !(WITHOUT_END.test(name) || tag.endsWith("/>"))) found += 1;
  }
  return found;
}
