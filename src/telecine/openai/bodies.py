"""What stands in a body of OpenAI's API: its media, and what of it is plain text.

Nothing is judged here beyond what is looked for: the rest goes to the provider as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from telecine.errors import InputError
from telecine.models import Api, Kind, MediaName

# The part's type, its kind, and the member that has the name: in an object of the type's own name
# or right in the part, as chat and responses have it.
_PARTS: Mapping[str, tuple[Kind, str]] = {
    "image_url": ("image", "url"),
    "video_url": ("video", "url"),
    "input_video": ("video", "video_url"),
    "input_image": ("image", "image_url"),
    "audio_url": ("audio", "url"),
    "input_audio": ("audio", "data"),
}
_TEXTS = ("text", "input_text", "output_text")
_SYSTEM = ("system", "developer")
_DATA = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_FORMAT = re.compile(r"[A-Za-z0-9.+-]{1,20}")

# What a provider that is asked in plain text is told, or has no need to be.
_ALWAYS_SAID = frozenset(
    {"model", "stream", "stream_options", "temperature", "reasoning", "models", "provider"}
)
_SAID: Mapping[Api, frozenset[str]] = {
    "chat": _ALWAYS_SAID
    | {"messages", "max_tokens", "max_completion_tokens", "reasoning_effort"}
    | {"seed", "stop", "response_format"},
    "responses": _ALWAYS_SAID | {"input", "instructions", "max_output_tokens"},
    "embeddings": frozenset(),
}
_ABOUT_THE_CALLER = frozenset(
    {"user", "metadata", "store", "safety_identifier", "prompt_cache_key", "service_tier"}
)
# As good as not given.
_DEFAULTS: tuple[tuple[str, Any], ...] = (
    ("n", 1),
    ("top_p", 1),
    ("frequency_penalty", 0),
    ("presence_penalty", 0),
    ("logprobs", False),
    ("background", False),
    ("parallel_tool_calls", True),
    ("tool_choice", "auto"),
    ("tool_choice", "none"),
    ("truncation", "disabled"),
    ("modalities", ["text"]),
)


class Place(NamedTuple):
    """A part of a message's content, and the path to it from the top of the body."""

    path: tuple[str | int, ...]
    part: Mapping[str, Any]


class Plain(NamedTuple):
    """A body as one question. `unsaid` names what is not in it."""

    prompt: str
    system_prompt: str | None
    unsaid: tuple[str, ...]


def media(api: Api, body: Mapping[str, Any]) -> tuple[MediaName, ...]:
    """The media in the messages, in order; each one's loc is that of its part.

    Raises InputError for a part that names nothing.
    """
    found: list[MediaName] = []
    counts: dict[Kind, int] = {}
    for path, part in _parts(api, body):
        kind, text = _medium(path, part)
        if kind is not None:
            index = counts.get(kind, 0)
            counts[kind] = index + 1
            found.append(MediaName(text, ("body", *path), kind, index))
    return tuple(found)


def plain(api: Api, body: Mapping[str, Any]) -> Plain:
    """The last question, and the instructions, for a model that takes no conversation."""
    system = [text] if isinstance(text := body.get("instructions"), str) else []
    prompt, left_out = "", 0
    for message in _messages(api, body):
        text = _text(message.get("content"))
        role = message.get("role")
        if role in _SYSTEM:
            system.append(text)
        else:
            left_out += bool(prompt) or role != "user"
            prompt = text if role == "user" else prompt
    unsaid = [name for name, value in body.items() if _is_unsaid(api, name, value)]
    unsaid += [f"{left_out} earlier message{'' if left_out == 1 else 's'}"] if left_out else []
    unsaid += _odd_parts(api, body)
    return Plain(prompt, "\n\n".join(filter(None, system)) or None, tuple(unsaid))


def wants_reasoning(body: Mapping[str, Any]) -> bool:
    asked = body.get("reasoning")
    word = body.get("reasoning_effort")
    if isinstance(asked, Mapping):
        if asked.get("exclude") is True or asked.get("enabled") is False:
            return False
        word = asked.get("effort", "medium")
    return isinstance(word, str) and word != "none"


def effort(body: Mapping[str, Any]) -> Any:
    """How much reasoning is wanted, in whatever word."""
    asked = body.get("reasoning")
    return asked.get("effort") if isinstance(asked, Mapping) else body.get("reasoning_effort")


def response_format(api: Api, body: Mapping[str, Any]) -> Any:
    """The form of the answer as a chat has it; the Responses API has it in one piece less."""
    if api == "chat":
        return body.get("response_format")
    text = body.get("text")
    form = text.get("format") if isinstance(text, Mapping) else None
    if not isinstance(form, Mapping) or form.get("type") != "json_schema":
        return form
    return {
        "type": "json_schema",
        "json_schema": {name: value for name, value in form.items() if name != "type"},
    }


def replaced(body: Mapping[str, Any], parts: Mapping[tuple[str | int, ...], Any]) -> dict[str, Any]:
    """`body` with other things at these paths; what it shares with the old one stays as it is."""
    made: dict[str, Any] = dict(body)
    for path, part in parts.items():
        here: Any = made
        for step in path[:-1]:
            here[step] = dict(here[step]) if isinstance(here[step], Mapping) else list(here[step])
            here = here[step]
        here[path[-1]] = part
    return made


def at(body: Mapping[str, Any], path: tuple[str | int, ...]) -> Any:
    """What stands at a path that is there."""
    here: Any = body
    for step in path:
        here = here[step]
    return here


def strings(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, str]]:
    """Every string in `value`, with its path."""
    waiting = [(path, value)]
    while waiting:
        path, value = waiting.pop()
        match value:
            case str():
                yield path, value
            case Mapping():
                waiting += [((*path, name), item) for name, item in value.items()]
            case list():
                waiting += [((*path, index), item) for index, item in enumerate(value)]


def _messages(api: Api, body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    match api:
        case "chat":
            given = body.get("messages")
        case "responses":
            given = body.get("input")
            if isinstance(given, str):
                return [{"role": "user", "content": given}]
        case _:
            given = None
    return [m for m in given if isinstance(m, Mapping)] if isinstance(given, list) else []


def _parts(api: Api, body: Mapping[str, Any]) -> Iterator[Place]:
    name = "messages" if api == "chat" else "input"
    messages = body.get(name)
    if api == "embeddings" or not isinstance(messages, list):
        return
    for index, message in enumerate(messages):
        # a tool may answer with pictures: what it says stands in `output`
        for member in ("content", "output"):
            content = message.get(member) if isinstance(message, Mapping) else None
            for place, part in enumerate(content if isinstance(content, list) else ()):
                if isinstance(part, Mapping):
                    yield Place((name, index, member, place), part)


def _medium(path: tuple[str | int, ...], part: Mapping[str, Any]) -> tuple[Kind | None, str]:
    """The kind of medium that a part is, and its name; None for any other part."""
    type_ = part.get("type")
    if not isinstance(type_, str) or type_ not in _PARTS:
        return None, ""
    kind, member = _PARTS[type_]
    inside = part.get(type_)
    holder = inside if isinstance(inside, Mapping) else part
    text = inside if isinstance(inside, str) else holder.get(member, holder.get("url"))
    if text is None and "file_id" in part:
        return None, ""  # of the provider's own files
    if not isinstance(text, str):
        raise InputError(
            f"A part of type {type_} needs a string at {member}", loc=("body", *path), input=part
        )
    if member == "data" and not _DATA.match(text):
        text = f"data:audio/{_format(holder)};base64,{text}"
    return kind, text


def _format(holder: Mapping[str, Any]) -> str:
    given = holder.get("format")
    return given if isinstance(given, str) and _FORMAT.fullmatch(given) else "wav"


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _is_unsaid(api: Api, name: str, value: Any) -> bool:
    if name in _SAID[api] or name in _ABOUT_THE_CALLER or value in (None, [], {}):
        return False
    if api == "responses" and name == "text" and isinstance(value, Mapping):
        return bool(value.keys() - {"format"})
    return (name, value) not in _DEFAULTS


def _odd_parts(api: Api, body: Mapping[str, Any]) -> list[str]:
    kinds = {str(part.get("type"))[:40] for _, part in _parts(api, body)}
    return [f"parts of type {kind}" for kind in sorted(kinds - {*_PARTS, *_TEXTS})]
