// The form of an endpoint comes from its own document: fields, order, defaults, limits, examples.
import { get } from "./api";

export type FieldSchema = {
  name: string;
  title: string;
  description: string;
  kind: "text" | "long" | "number" | "integer" | "boolean" | "choice" | "list" | "json";
  required: boolean;
  default: unknown;
  choices: string[];
  minimum: number | null;
  maximum: number | null;
  examples: unknown[];
};

type Raw = {
  type?: string;
  title?: string;
  description?: string;
  default?: unknown;
  enum?: string[];
  minimum?: number;
  maximum?: number;
  exclusiveMaximum?: number;
  exclusiveMinimum?: number;
  examples?: unknown[];
  items?: { type?: string };
  anyOf?: Raw[];
  "ui"?: { important?: boolean };
};

type Document = { components: { schemas: Record<string, { properties?: Record<string, Raw>; required?: string[]; "x-fal-order-properties"?: string[] }> } };

export async function inputOf(endpoint: string, signal?: AbortSignal): Promise<FieldSchema[]> {
  const path = `/api/openapi/queue/openapi.json?endpoint_id=${encodeURIComponent(endpoint)}`;
  const document = await get<Document>(path, signal);
  const [, schema] = Object.entries(document.components.schemas).find(([name]) => name.endsWith("Input")) ?? [];
  if (!schema) throw new Error(`${endpoint} has no input`);
  const order = schema["x-fal-order-properties"] ?? [];
  const names = Object.keys(schema.properties ?? {});
  const place = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length + names.indexOf(name));
  return names
    .sort((a, b) => place(a) - place(b))
    .map((name) => read(name, schema.properties?.[name] ?? {}, schema.required?.includes(name) ?? false));
}

function read(name: string, given: Raw, required: boolean): FieldSchema {
  const inner = given.anyOf?.find((each) => each.type !== "null") ?? {};
  const raw = { ...inner, ...given };
  return {
    name,
    title: raw.title ?? name,
    description: raw.description ?? "",
    kind: kindOf(name, raw),
    required,
    default: raw.default ?? null,
    choices: raw.enum ?? [],
    minimum: raw.minimum ?? raw.exclusiveMinimum ?? null,
    maximum: raw.maximum ?? raw.exclusiveMaximum ?? null,
    examples: raw.examples ?? [],
  };
}

function kindOf(name: string, raw: Raw): FieldSchema["kind"] {
  if (raw.enum) return "choice";
  if (raw.type === "array") return "list";
  if (raw.type === "object") return "json";
  if (raw.type === "boolean" || raw.type === "number" || raw.type === "integer") return raw.type;
  return name.includes("prompt") ? "long" : "text";
}
