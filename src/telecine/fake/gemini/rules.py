"""What Google refuses: names that it does not know, and options of another generation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_TOP = {
    "contents",
    "systemInstruction",
    "generationConfig",
    "safetySettings",
    "tools",
    "toolConfig",
    "cachedContent",
    "labels",
}
_CONFIG = {
    "temperature",
    "topP",
    "topK",
    "candidateCount",
    "maxOutputTokens",
    "stopSequences",
    "seed",
    "presencePenalty",
    "frequencyPenalty",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "mediaResolution",
    "thinkingConfig",
}
_PART = {"text", "inlineData", "fileData", "videoMetadata", "mediaResolution", "mediaProcessing"}
_MIMES = re.compile(
    r"(?:video/(?:mp4|mpeg|mov|quicktime|avi|x-flv|mpg|webm|wmv|3gpp)|"
    r"image/(?:png|jpeg|webp|heic|heif)|"
    r"audio/(?:wav|mp3|mpeg|aiff|aac|ogg|flac)|application/pdf|text/plain)"
)
_YOUTUBE = re.compile(r"https?://(?:(?:www\.|m\.)?youtube\.com|youtu\.be)/", re.IGNORECASE)
_MUSIC = re.compile(r"https?://music\.youtube\.com/", re.IGNORECASE)
_OFFSET = re.compile(r"\d+(?:\.\d{1,9})?s")
_NUMBER = re.compile(r"gemini-(\d+)(?:\.(\d+))?")


def generation(model: str) -> tuple[int, int]:
    found = _NUMBER.match(model)
    return (int(found[1]), int(found[2] or 0)) if found else (2, 5)


def camel(value: Any) -> Any:
    """The document with all names in camel case; both are taken. A schema is left alone."""
    if isinstance(value, list):
        return [camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for name, inner in value.items():
        whole = re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
        made[whole] = inner if whole in ("responseJsonSchema", "responseSchema") else camel(inner)
    return made


def parts(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    contents = document.get("contents")
    for content in contents if isinstance(contents, list) else []:
        given = content.get("parts") if isinstance(content, dict) else None
        for part in given if isinstance(given, list) else []:
            if isinstance(part, dict):
                yield part


def is_youtube(uri: str) -> bool:
    return _YOUTUBE.match(uri) is not None


def mistakes(document: Mapping[str, Any], model: str) -> Iterator[str]:
    """Everything that is wrong with a request; `document` in camel case."""
    yield from _unknown(document, _TOP, "")
    config = document.get("generationConfig") or {}
    yield from _unknown(config, _CONFIG, " at 'generation_config'")
    given = list(parts(document))
    if not given:
        yield "* GenerateContentRequest.contents: contents is not specified"
    for part in given:
        yield from _unknown(part, _PART, " at 'contents[0].parts[0]'")
        yield from _in_part(part, generation(model))
    if len(config.get("stopSequences", ())) > 5:
        yield "stop_sequences: at most 5 are supported"
    yield from _in_thinking(config.get("thinkingConfig") or {}, model)
    links = [uri for part in given if is_youtube(uri := _uri(part))]
    if len(links) > (10 if generation(model) >= (2, 5) else 1):
        yield "Too many YouTube URLs in the request"


def _unknown(given: Mapping[str, Any], known: set[str], where: str) -> Iterator[str]:
    for name in given:
        if name not in known:
            yield f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.'


def _in_part(part: Mapping[str, Any], number: tuple[int, int]) -> Iterator[str]:
    mime = (part.get("inlineData") or part.get("fileData") or {}).get("mimeType")
    if ("inlineData" in part and not mime) or (mime and not _MIMES.fullmatch(mime)):
        yield f"Unsupported MIME type: {mime}"
    if _MUSIC.match(_uri(part)):
        yield "Request contains an invalid argument."
    if "mediaResolution" in part and number < (3, 0):
        yield "Media resolution of a part is not supported for this model"
    seen = part.get("videoMetadata") or {}
    if "fps" in seen and not 0 < seen["fps"] <= 24:
        yield "fps must be above 0 and at most 24"
    for name in ("startOffset", "endOffset"):
        if name in seen and not _OFFSET.fullmatch(seen[name]):
            yield f"Invalid value at 'video_metadata.{name}' (type.googleapis.com/Duration)"


def _in_thinking(config: Mapping[str, Any], model: str) -> Iterator[str]:
    number = generation(model)
    if config and number < (2, 5):
        yield "Thinking is not supported by this model"
    if "thinkingLevel" in config and number < (3, 0):
        yield "Thinking level is not supported for this model."
    if "thinkingBudget" in config and "thinkingLevel" in config:
        yield "You can only set only one of thinking budget and thinking level."
    budget = config.get("thinkingBudget")
    if budget == 0 and config.get("includeThoughts"):
        yield "Thoughts can only be included when thinking is enabled."
    if budget == 0 and "pro" in model:
        yield "Budget 0 is invalid. This model only works in thinking mode."
    if budget is not None and budget > (32_768 if "pro" in model else 24_576):
        yield "The thinking budget is larger than this model takes"


def _uri(part: Mapping[str, Any]) -> str:
    return str((part.get("fileData") or {}).get("fileUri", ""))
