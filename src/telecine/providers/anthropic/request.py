"""A question in the words of the Messages API. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from telecine.errors import FormRefused, InputError
from telecine.models import Call, Effort, FramesPart, ImagePart, Part, PdfPart
from telecine.providers import frames
from telecine.providers.body import Base64, loc

# Of so many images none may be larger than this on a side, in pixels.
MANY_IMAGES, SIDE_OF_MANY = 20, 2000
LEAST_BUDGET, MOST_BUDGET = 1024, 128_000
# Where neither the caller nor any list says how long an answer may be.
_MAX_TOKENS = 8192
# What share of an answer may be thought, as OpenRouter has it.
_SHARE: Mapping[Effort, float] = {
    "minimal": 0.1,
    "low": 0.2,
    "medium": 0.5,
    "high": 0.8,
    "xhigh": 0.95,
    "max": 0.95,
}


@dataclass(frozen=True, slots=True)
class Thinking:
    """How a model is told to think: with a budget (older ones), or as hard as `effort` says."""

    has_budget: bool = True


@dataclass(frozen=True, slots=True)
class Question:
    """The body, and what of the call is not in it."""

    document: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


def question(call: Call, *, most_tokens: int | None, thinking: Thinking) -> Question:
    """Raises InputError for a part that is not taken."""
    _check_sides(call)
    max_tokens = call.max_tokens or most_tokens or _MAX_TOKENS
    effort: Effort | None = call.effort or ("medium" if call.reasoning else None)
    thought, warnings = _thinking(effort, max_tokens, thinking)
    asked = {
        "model": call.model,
        "max_tokens": max_tokens,
        "stream": True,
        "system": call.system_prompt or None,
        "messages": [{"role": "user", "content": _content(call)}],
        "stop_sequences": list(call.stop) or None,
        "temperature": call.temperature,
        **thought,
    }
    thinks = thought.get("thinking", {}).get("type") in ("enabled", "adaptive")
    if thinks and call.temperature is not None:
        # While it thinks, no other temperature is allowed than 1.
        del asked["temperature"]
        if call.temperature != 1:
            warnings = (*warnings, "temperature is left out: it can not be set while it thinks")
    return Question({name: each for name, each in asked.items() if each is not None}, warnings)


def _thinking(
    effort: Effort | None, max_tokens: int, thinking: Thinking
) -> tuple[dict[str, Any], tuple[str, ...]]:
    if effort is None:
        return {}, ()
    if effort == "none":
        return {"thinking": {"type": "disabled"}}, ()
    if not thinking.has_budget:
        level = "low" if effort == "minimal" else effort
        how = {"type": "adaptive", "display": "summarized"}
        return {"thinking": how, "output_config": {"effort": level}}, ()
    if max_tokens <= LEAST_BUDGET:
        return {}, (f"It is not asked to think: that takes more than {LEAST_BUDGET} max_tokens",)
    budget = min(max(int(max_tokens * _SHARE[effort]), LEAST_BUDGET), MOST_BUDGET, max_tokens - 1)
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}, ()


def _content(call: Call) -> str | list[dict[str, Any]]:
    """Media first, as Anthropic advises, each where there are several with its name."""
    if not call.parts:
        return call.prompt
    blocks = [block for part in call.parts for block in _blocks(part, call)]
    return [*blocks, {"type": "text", "text": call.prompt}]


def _blocks(part: Part, call: Call) -> Iterator[dict[str, Any]]:
    match part:
        case FramesPart():
            yield from _stills(part, call)
        case ImagePart(image):
            if name := _name(part, call):
                yield {"type": "text", "text": f"{name}:"}
            yield _image(Base64(image.path), image.mime)
        case PdfPart(pdf):
            data = {"type": "base64", "media_type": "application/pdf", "data": Base64(pdf.path)}
            yield {"type": "document", "source": data, "title": f"document-{pdf.index + 1}.pdf"}
        case _:
            raise InputError("This model takes images, documents and stills only", loc=loc(part))


def _stills(part: FramesPart, call: Call) -> Iterator[dict[str, Any]]:
    """Each after its time; what is said, after the stills of its time."""
    told = [frames.heading(part, call)]
    for item in frames.timeline(part):
        if isinstance(item, str):
            told.append(item)
            continue
        yield {"type": "text", "text": "\n".join(told)}
        yield _image(Base64(item.path), "image/jpeg")
        told = []
    if told:
        yield {"type": "text", "text": "\n".join(told)}


def _image(data: Base64, mime: str) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": mime, "data": data}}


def _name(part: ImagePart, call: Call) -> str:
    images = [each for each in call.parts if isinstance(each, ImagePart)]
    return f"Image {images.index(part) + 1}" if len(images) > 1 else ""


def _check_sides(call: Call) -> None:
    """Raises FormRefused where there are many images, and one of them is too large for that."""
    sides = [(part, side) for part in call.parts for side in _sides(part)]
    if len(sides) <= MANY_IMAGES:
        return
    for part, side in sides:
        if side > SIDE_OF_MANY:
            raise FormRefused(
                f"{side} pixels on a side: of more than {MANY_IMAGES} images in a request, none "
                f"may have more than {SIDE_OF_MANY}",
                loc=loc(part),
                type="image_too_large",
            )


def _sides(part: Part) -> list[int]:
    match part:
        case ImagePart(image):
            return [max(image.width, image.height)]
        case FramesPart():
            return [max(still.width, still.height) for still in part.stills]
    return []
