// fal's own client, through this server's proxy route, as any page of a user's would have it.
import { createFalClient } from "@fal-ai/client";
import { messageOf } from "./api";
import { turns } from "./lines";

export const fal = createFalClient({ proxyUrl: { url: "/api/fal/proxy", when: "always" } });

type Watched = { onProgress: (share: number) => void; signal: AbortSignal };

const inTurn = turns();

/** A file to this server, by fal's own upload protocol. One at a time: many at once would keep everything
 * else of the page waiting, and be no sooner there. */
export const upload = (file: File, watched: Watched): Promise<string> => inTurn(() => sent(file, watched));

/** By XMLHttpRequest, since fetch tells no progress. */
async function sent(file: File, { onProgress, signal }: Watched): Promise<string> {
  signal.throwIfAborted();
  const begun = await fetch("/rest/storage/upload/initiate?storage_type=fal-cdn-v3", {
    method: "POST",
    signal,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ content_type: file.type || "application/octet-stream", file_name: file.name }),
  });
  const told: unknown = await begun.json().catch(() => null);
  if (!begun.ok) throw new Error(messageOf(told, begun.status));
  const { upload_url, file_url } = told as { upload_url: string; file_url: string };
  await new Promise<void>((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("PUT", new URL(upload_url, location.href).href);
    request.setRequestHeader("content-type", file.type || "application/octet-stream");
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () =>
      request.status < 300 ? done() : failed(new Error(messageOf(parsed(request.responseText), request.status)));
    request.onerror = () => failed(new Error("The upload broke off: the server does not answer"));
    request.onabort = () => failed(new DOMException("The upload was cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(file);
  });
  onProgress(1);
  return file_url;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
