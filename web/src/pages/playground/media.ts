// The media of a call: addresses as given, and files on their way up to this server.
import { useEffect, useRef, useState } from "preact/hooks";
import { upload } from "../../fal";
import type { MediaKind } from "./form";

export type Item = {
  key: number;
  name: string;
  /** What the call will say; empty while it is not there yet. */
  url: string;
  /** Where the page itself can show it from. */
  preview: string;
  isLink: boolean;
  bytes: number | null;
  share: number | null;
  problem: string | null;
};

export type Media = Readonly<Record<string, readonly Item[]>>;

export const ACCEPTED: Record<MediaKind, string> = {
  video: "video/*,.mp4,.mov,.webm,.mpeg,.mpg,.mkv",
  image: "image/png,image/jpeg,image/webp,image/gif",
  audio: "audio/*",
  pdf: "application/pdf,.pdf",
};

export const KIND_NAMES: Record<MediaKind, [one: string, several: string]> = {
  video: ["video", "videos"],
  image: ["image", "images"],
  audio: ["sound file", "sound files"],
  pdf: ["PDF document", "PDF documents"],
};

/** A page with a player, not a file: models that fetch those themselves get the link. */
export function isYouTube(url: string): boolean {
  try {
    const { hostname } = new URL(url);
    return /(^|\.)(youtube\.com|youtube-nocookie\.com|youtu\.be)$/.test(hostname);
  } catch {
    return false;
  }
}

/** The addresses in a text: one per line or between spaces. */
export function addresses(text: string): string[] {
  return text.split(/\s+/).filter((word) => /^(https?:\/\/[^/]|data:)/i.test(word));
}

export function nameOf(url: string): string {
  if (/^data:/i.test(url)) return `${url.slice(0, 40)}…`;
  try {
    const { hostname, pathname, search } = new URL(url);
    if (isYouTube(url)) return hostname + pathname + search;
    return decodeURIComponent(pathname.split("/").pop() ?? "") || hostname;
  } catch {
    return url;
  }
}

/** Whether a dropped or pasted file may be meant for a field of this kind. */
export function suits(file: File, kind: MediaKind): boolean {
  const type = file.type.toLowerCase();
  if (kind === "pdf") return type === "application/pdf" || /\.pdf$/i.test(file.name);
  if (type.startsWith(`${kind}/`)) return true;
  // What the browser has no type for is judged by the server, by content.
  return (type === "" || type === "application/octet-stream") && kind === "video";
}

let lastKey = 0;

const fromUrl = (url: string): Item => ({
  key: ++lastKey,
  name: nameOf(url),
  url,
  preview: isYouTube(url) ? "" : url,
  isLink: isYouTube(url),
  bytes: null,
  share: null,
  problem: null,
});

export type Shelf = {
  media: Media;
  isUploading: boolean;
  addFiles: (field: string, files: readonly File[], max: number) => void;
  addUrls: (field: string, urls: readonly string[], max: number) => void;
  remove: (field: string, key: number) => void;
  retry: (field: string, key: number) => void;
  move: (field: string, key: number, by: -1 | 1) => void;
  replace: (urls: Readonly<Record<string, readonly string[]>>) => void;
};

export function useMedia(): Shelf {
  const [media, setMedia] = useState<Media>({});
  const going = useRef(new Map<number, { file: File; abort: AbortController }>());
  useEffect(() => () => going.current.forEach(({ abort }) => abort.abort()), []);

  const change = (field: string, how: (items: readonly Item[]) => readonly Item[]) =>
    setMedia((known) => ({ ...known, [field]: how(known[field] ?? []) }));
  const update = (field: string, key: number, news: Partial<Item>) =>
    change(field, (items) => items.map((item) => (item.key === key ? { ...item, ...news } : item)));

  const send = async (field: string, key: number, file: File) => {
    const abort = new AbortController();
    going.current.set(key, { file, abort });
    try {
      const url = await upload(file, { onProgress: (share) => update(field, key, { share }), signal: abort.signal });
      going.current.delete(key);
      update(field, key, { url, share: null });
    } catch (error) {
      if (!abort.signal.aborted) update(field, key, { share: null, problem: (error as Error).message });
    }
  };
  const drop = (key: number, preview: string) => {
    going.current.get(key)?.abort.abort();
    going.current.delete(key);
    if (preview.startsWith("blob:")) URL.revokeObjectURL(preview);
  };
  const add = (field: string, more: readonly Item[], max: number) =>
    change(field, (items) => {
      const all = max === 1 ? more.slice(-1) : [...items, ...more];
      items.filter((item) => !all.includes(item)).forEach((item) => drop(item.key, item.preview));
      return all;
    });

  return {
    media,
    isUploading: Object.values(media).some((items) => items.some((item) => item.share !== null)),
    addFiles: (field, files, max) => {
      const chosen = max === 1 ? files.slice(-1) : files;
      const items = chosen.map((file) => ({
        ...fromUrl(""),
        name: file.name || "pasted file",
        preview: URL.createObjectURL(file),
        bytes: file.size,
        share: 0,
      }));
      add(field, items, max);
      chosen.forEach((file, index) => void send(field, items[index]?.key ?? 0, file));
    },
    addUrls: (field, urls, max) => add(field, urls.map(fromUrl), max),
    remove: (field, key) =>
      change(field, (items) =>
        items.filter((item) => {
          if (item.key === key) drop(key, item.preview);
          return item.key !== key;
        }),
      ),
    retry: (field, key) => {
      const file = going.current.get(key)?.file;
      if (!file) return;
      update(field, key, { share: 0, problem: null });
      void send(field, key, file);
    },
    move: (field, key, by) =>
      change(field, (items) => {
        const from = items.findIndex((item) => item.key === key);
        const to = from + by;
        if (from < 0 || to < 0 || to >= items.length) return items;
        const moved = [...items];
        moved.splice(to, 0, ...moved.splice(from, 1));
        return moved;
      }),
    replace: (urls) =>
      setMedia((known) => {
        Object.values(known).flat().forEach((item) => drop(item.key, item.preview));
        return Object.fromEntries(Object.entries(urls).map(([field, each]) => [field, each.map(fromUrl)]));
      }),
  };
}
