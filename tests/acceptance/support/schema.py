"""As much of JSON Schema as the published documents use."""

_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": int | float,
}


def problems(value, schema, document, path="$"):
    """Where `value` is not what `schema` says, one sentence each; `document` resolves its $refs."""
    if "$ref" in schema:
        node = document
        for name in schema["$ref"].removeprefix("#/").split("/"):
            node = node[name]
        return problems(value, node, document, path)
    kind = schema.get("type")
    if kind and not _is_a(value, kind):
        return [f"{path} is {value!r}, not of type {kind}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{path} is {value!r}, not one of {schema['enum']}")
    if "minimum" in schema and value < schema["minimum"]:
        found.append(f"{path} is {value}, below {schema['minimum']}")
    if "maximum" in schema and value > schema["maximum"]:
        found.append(f"{path} is {value}, above {schema['maximum']}")
    if kind == "array":
        for index, item in enumerate(value):
            found += problems(item, schema.get("items", {}), document, f"{path}[{index}]")
    if kind == "object":
        found += [
            f"{path} lacks {name}" for name in schema.get("required", ()) if name not in value
        ]
        known = schema.get("properties", {})
        for name in [name for name in known if name in value]:
            found += problems(value[name], known[name], document, f"{path}.{name}")
    return found


def _is_a(value, kind):
    # A bool is an int to Python only.
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
