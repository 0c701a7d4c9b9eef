// The documented APIs of this very server: /telecine/v1/, fal's /v1/ and the rest, by the session.

export type Problem = { loc?: (string | number)[]; msg: string; type?: string };

/** An answer that is no success: `message` is for people, `problems` name the fields at fault. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly problems: Problem[] = [],
    readonly requestId: string | null = null,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

/** Set by the session's owner: called when the server no longer knows who this is, or is not to. */
export const signedOut: { tell: (isWanted?: boolean) => void } = { tell: () => {} };

export function problemsOf(body: unknown): Problem[] {
  const detail = (body as { detail?: unknown } | null)?.detail;
  return Array.isArray(detail) ? (detail as Problem[]) : [];
}

export function messageOf(body: unknown, status: number): string {
  const { detail, error, message } = (body ?? {}) as Record<string, unknown>;
  if (typeof detail === "string") return detail;
  if (Array.isArray(detail) && detail.length) {
    return (detail as Problem[]).map((problem) => problem.msg).join("; ");
  }
  const inner = (error as { message?: unknown } | undefined)?.message;
  if (typeof inner === "string") return inner;
  if (typeof message === "string") return message;
  return status >= 500 ? `The server failed (${status})` : `The server refused this (${status})`;
}

async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      signal: signal ?? null,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
  } catch (error) {
    if ((error as Error).name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer. Is telecine serve still running?");
  }
  const text = await answer.text();
  let parsed: unknown = null;
  try {
    parsed = text ? JSON.parse(text) : null;
  } catch {
    parsed = { detail: text.slice(0, 300) };
  }
  if (!answer.ok) {
    if (answer.status === 401) signedOut.tell();
    throw new ApiError(
      answer.status,
      messageOf(parsed, answer.status),
      problemsOf(parsed),
      answer.headers.get("x-fal-request-id"),
    );
  }
  return parsed as T;
}

export const get = <T>(path: string, signal?: AbortSignal) => call<T>("GET", path, undefined, signal);
export const post = <T>(path: string, body: unknown = {}, signal?: AbortSignal) =>
  call<T>("POST", path, body, signal);
export const put = <T>(path: string, body: unknown = {}) => call<T>("PUT", path, body);
export const patch = <T>(path: string, body: unknown = {}) => call<T>("PATCH", path, body);
export const del = <T>(path: string) => call<T>("DELETE", path);
