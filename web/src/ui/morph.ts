// Makes one tree of elements like another by the fewest changes. What stays the same is left alone: a
// selection in it holds, and it is not laid out again.

export function morph(shown: Node, wanted: Node): void {
  let here = shown.firstChild;
  for (let next = wanted.firstChild; next; ) {
    const [after, rest] = [here?.nextSibling ?? null, next.nextSibling];
    if (!here) shown.appendChild(next);
    else if (here instanceof Text && next instanceof Text) rewrite(here, next.data);
    else if (isAlike(here, next)) morph(here, next);
    else shown.replaceChild(next, here);
    [here, next] = [after, rest];
  }
  while (here) {
    const after: ChildNode | null = here.nextSibling;
    here.remove();
    here = after;
  }
}

function rewrite(text: Text, data: string): void {
  if (data === text.data) return;
  if (data.startsWith(text.data)) text.appendData(data.slice(text.data.length));
  else text.data = data;
}

function isAlike(one: Node, other: Node): boolean {
  if (!(one instanceof Element && other instanceof Element) || one.tagName !== other.tagName) return false;
  const [mine, its] = [one.attributes, other.attributes];
  return mine.length === its.length && [...mine].every(({ name, value }) => other.getAttribute(name) === value);
}
