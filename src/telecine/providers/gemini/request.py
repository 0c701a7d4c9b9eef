"""A Call as the document that asks Gemini, and which media are too large to go in it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from telecine.errors import FormRefused, InputError, Loc
from telecine.models import (
    AudioPart,
    Call,
    FilePart,
    FramesPart,
    ImagePart,
    LinkPart,
    Part,
    PdfPart,
    Resolution,
)
from telecine.providers import frames
from telecine.providers.body import Base64, loc
from telecine.providers.gemini.generations import Generation

# Of all media and texts together: base64 makes 20 MB of it, which is what a request may have.
MAX_INLINE_BYTES = 15_000_000
_MAX_FETCH_BYTES = 100_000_000  # what Google fetches from an address
_MAX_FPS = 24.0
_DEFAULT_FPS = 1.0

_LEVELS: Mapping[Resolution, str] = {
    "low": "MEDIA_RESOLUTION_LOW",
    "medium": "MEDIA_RESOLUTION_MEDIUM",
    "high": "MEDIA_RESOLUTION_HIGH",
}
_RANK: Sequence[Resolution] = ("low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Source:
    """A file that a model is given, whichever way. `label`: what a log calls it (`video 1/2`)."""

    label: str
    path: Path
    bytes: int
    sha256: str
    mime: str
    loc: Loc


Uris = Mapping[tuple[str, str], str]


def key(source: Source) -> tuple[str, str]:
    """What tells one upload from another: content, and what it is said to be."""
    return source.sha256, source.mime


def uploads(call: Call) -> list[Source]:
    """Those that do not fit into one request with the rest, the largest first."""
    sources = [source for part in call.parts if (source := _source(part, call))]
    left = sum(source.bytes for source in sources) + sum(
        still.bytes for part in call.parts if isinstance(part, FramesPart) for still in part.stills
    )
    left += len(call.prompt.encode()) + len((call.system_prompt or "").encode())
    large = []
    for source in sorted(sources, key=lambda source: source.bytes, reverse=True):
        if left <= MAX_INLINE_BYTES:
            break
        large.append(source)
        left -= source.bytes
    return large


def check(call: Call, generation: Generation) -> None:
    """Raises InputError at the part that this model cannot take, FormRefused for a form of it."""
    links = [p for p in call.parts if isinstance(p, LinkPart) and p.video is None]
    if len(links) > generation.max_links:
        most = "one YouTube link" if generation.max_links == 1 else "10 YouTube links"
        raise InputError(
            f"{call.model} takes {most} in a request", loc=links[generation.max_links].loc
        )
    takes = generation.capabilities(None, None)
    for part in call.parts:
        match part:
            case FilePart() | LinkPart(video=None) if not takes.delivery:
                raise InputError(f"{call.model} takes no videos", loc=loc(part))
            case LinkPart(video=video) if video is not None:
                if "url" not in takes.delivery or video.bytes > _MAX_FETCH_BYTES:
                    raise FormRefused(
                        f"{call.model} fetches no address of a file like this itself",
                        loc=part.loc,
                    )


def document(call: Call, generation: Generation, uris: Uris) -> dict[str, Any]:
    """The request. `uris`: of those files that were uploaded, by `key`."""
    parts = [piece for part in call.parts for piece in _pieces(part, call, generation, uris)]
    asked: dict[str, Any] = {
        "contents": [{"role": "user", "parts": [*parts, {"text": call.prompt}]}],
    }
    if call.system_prompt:
        asked["systemInstruction"] = {"parts": [{"text": call.system_prompt}]}
    if config := _config(call, generation):
        asked["generationConfig"] = config
    return asked


def warnings(call: Call, generation: Generation) -> list[str]:
    """What of the call Gemini cannot do as it was asked."""
    found = []
    views = [part.view for part in call.parts if isinstance(part, FilePart | LinkPart)]
    if any((view.fps or 0) > _MAX_FPS for view in views):
        found.append(f"{call.model} samples {_MAX_FPS:g} frames per second at most")
    if any(
        part.view.max_frames is not None and _duration(part) is None
        for part in call.parts
        if isinstance(part, FilePart | LinkPart)
    ):
        found.append("max_frames is ignored for a video whose length is not known here")
    if call.effort == "none" and generation.always_thinks:
        found.append(f"{call.model} cannot be told not to think: it thinks as little as it can")
    return found


# ---------------------------------------------------------------- media


def _source(part: Part, call: Call) -> Source | None:
    """The part as a file of its own; None for those that are none, or many."""
    alike = [other for other in call.parts if type(other) is type(part)]
    place = f"{alike.index(part) + 1}/{len(alike)}"
    match part:
        case FilePart():
            return Source(
                f"video {place}", part.path, part.bytes, part.sha256, part.mime, loc(part)
            )
        case AudioPart(audio):
            mime = f"audio/{part.format}"
            size, sha256 = audio.bytes, audio.sha256
            if audio.wav:
                size, sha256 = audio.wav_bytes, f"{audio.sha256}-wav"
            return Source(f"sound {place}", part.path, size, sha256, mime, loc(part))
        case ImagePart(medium) | PdfPart(medium):
            kind = "image" if isinstance(part, ImagePart) else "document"
            return Source(
                f"{kind} {place}", medium.path, medium.bytes, medium.sha256, medium.mime, medium.loc
            )
    return None


def _pieces(
    part: Part, call: Call, generation: Generation, uris: Uris
) -> Iterator[Mapping[str, Any]]:
    if isinstance(part, FramesPart):
        yield from _frames(part, call)
        return
    if isinstance(part, LinkPart):
        file = {"fileUri": part.url, **({"mimeType": part.video.mime} if part.video else {})}
        yield {"fileData": file, **_metadata(part, generation)}
        return
    source = _source(part, call)
    if source is None:
        raise InputError(f"{call.model} takes media as files only", loc=loc(part))
    more = _metadata(part, generation) if isinstance(part, FilePart) else {}
    uri = uris.get(key(source))
    if uri is not None:
        yield {"fileData": {"fileUri": uri, "mimeType": source.mime}, **more}
    else:
        yield {"inlineData": {"mimeType": source.mime, "data": Base64(source.path)}, **more}


def _frames(part: FramesPart, call: Call) -> Iterator[Mapping[str, Any]]:
    """Each still after its time, and what is said between them."""
    yield {"text": frames.heading(part, call)}
    for item in frames.timeline(part):
        if isinstance(item, str):
            yield {"text": item}
        else:
            yield {"inlineData": {"mimeType": "image/jpeg", "data": Base64(item.path)}}


def _metadata(part: FilePart | LinkPart, generation: Generation) -> dict[str, Any]:
    view = part.view
    told = {
        "startOffset": None if view.start is None else _seconds(view.start),
        "endOffset": None if view.end is None else _seconds(view.end),
        "fps": _fps(part),
    }
    said = {name: value for name, value in told.items() if value is not None}
    found: dict[str, Any] = {"videoMetadata": said} if said else {}
    if view.resolution and generation.has_levels:
        found["mediaResolution"] = {"level": _LEVELS[view.resolution]}
    return found


def _fps(part: FilePart | LinkPart) -> float | None:
    """None: as Gemini does by itself, once a second."""
    fps, most = part.view.fps, part.view.max_frames
    duration = _duration(part)
    if fps is not None:
        fps = min(fps, _MAX_FPS)
    if most is None or not duration:
        return fps
    sparse = most / duration
    if sparse >= (fps or _DEFAULT_FPS):
        return fps
    # Rounded down, so that it is no frame too many.
    digits = 10 ** (3 - math.floor(math.log10(sparse)))
    return float(math.floor(sparse * digits) / digits)


def _duration(part: FilePart | LinkPart) -> float | None:
    """Seconds that are looked at."""
    view, whole = part.view, _whole(part)
    end = view.end if whole is None else min(whole, view.end or whole)
    return None if end is None else max(end - (view.start or 0.0), 0.0)


def _whole(part: FilePart | LinkPart) -> float | None:
    if isinstance(part, FilePart):
        return part.seconds
    return part.video.seconds if part.video else None


def _seconds(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") + "s"


# ---------------------------------------------------------------- options


def _config(call: Call, generation: Generation) -> dict[str, Any]:
    told: dict[str, Any] = {
        "temperature": call.temperature,
        "maxOutputTokens": call.max_tokens,
        "stopSequences": list(call.stop) or None,
        "seed": call.seed,
        "mediaResolution": None if generation.has_levels else _resolution(call),
        "thinkingConfig": _thinking(call, generation) or None,
        **_format(call.response_format),
    }
    return {name: value for name, value in told.items() if value is not None}


def _resolution(call: Call) -> str | None:
    """One for all videos: the highest that is asked for any."""
    views = [part.view for part in call.parts if isinstance(part, FilePart | LinkPart)]
    wanted = [view.resolution for view in views if view.resolution]
    return _LEVELS[max(wanted, key=_RANK.index)] if wanted else None


def _thinking(call: Call, generation: Generation) -> dict[str, Any]:
    if not generation.thinks:
        return {}
    told = generation.thinking(call.effort) if call.effort else {}
    if call.reasoning and told.get("thinkingBudget") != 0:
        told["includeThoughts"] = True
    return told


def _format(wanted: Mapping[str, Any] | None) -> dict[str, Any]:
    match wanted:
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return {"responseMimeType": "application/json", "responseJsonSchema": schema}
        case {"type": "json_object" | "json_schema"}:
            return {"responseMimeType": "application/json"}
    return {}
