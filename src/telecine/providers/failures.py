"""What upstreams say when they refuse or break, in all their shapes, and which of our errors it is.

    upstream                                   ours
    400 403 422 501, other 4xx                 ProviderRejected at the field it names
    401 402 3xx, no permission                 ProviderFailed: the operator's settings are wrong
    moderation, content policy, refusal        ProviderRejected, content_policy_violation
    404, nothing serves the model              ProviderRejected at body.model
    413 415, a medium not taken as it was sent FormRefused at that medium
    context overflow                           TooLarge at the largest medium
    429 503 529 before the first delta         ProviderUnavailable, with Retry-After
    408 5xx, anything after the first delta    ProviderFailed

The upstream's words go along, without anything that looks like a key.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from telecine.errors import (
    FormRefused,
    Loc,
    ProviderFailed,
    ProviderRejected,
    ProviderUnavailable,
    TelecineError,
    TooLarge,
)
from telecine.models import (
    AudioPart,
    Call,
    FilePart,
    FramesPart,
    ImagePart,
    LinkPart,
    Part,
    PdfPart,
)
from telecine.providers.body import loc
from telecine.providers.values import items, mapping

_MAX_CHARACTERS = 600
_DAY = 86_400.0
_KEY = re.compile(r"\b[sp]k-[\w*.-]{6,}|\bAIza[\w-]{10,}|(?i:\bbearer\s+)[^\s\"',]+")
_DATA_URI = re.compile(r"(data:[\w/+.-]*;base64,)[\w+/=]+")
_TAG = re.compile(r"<(script|style)\b.*?</\1>|<[^<>]*>", re.DOTALL | re.IGNORECASE)

_READ_CHARACTERS = 8_000  # of an error page; its reason stands at its top

POLICY = {"content_policy_violation", "refusal", "content_filter", "moderation"}
_CONTEXT = {
    "context_length_exceeded",
    "token_limit_exceeded",
    "string_too_long",
    "exceed_context_size_error",
}
# vLLM and Anthropic have no word for it, only a sentence.
_CONTEXT_SENTENCE = re.compile(
    r"maximum (?:model|context) length|prompt is too long", re.IGNORECASE
)
_FORM = {
    "invalid_image",
    "image_too_large",
    "image_too_small",
    "unsupported_image_format",
    "image_not_found",
    "image_download_failed",
}
# No server has a word for what is wrong with a video; what they say of one that they do not take,
# cannot fetch or cannot read. Each was met with a status of 400, 422 or 501 and nothing billed.
_UNREADABLE = (
    r"(?:fail\w*|unable|could not|cannot|can't) (?:to )?(?:be )?"
    r"(?:fetch|download|load|decode|identify|read|process input)(?! (?:the )?model)"
)
_FORM_SENTENCES = (
    r"(?:at most|no more than|maximum of|up to) \d+ (?:video|image|audio)",
    _UNREADABLE,
    r"URL must be (?:either|from one of)",
    r"only base64 data URLs",
    r"unknown (?:part|content) type",
    r"unsupported (?:content|part|mime|media|video|image|file)",
    r"(?:video|image|audio|mime type|modality|multi-?modal)\S*(?: \w+){0,3} not support",
    r"not support\w* (?:\w+ ){0,3}(?:video|image|audio|mime)",
    r"(?:video|image|audio)\S* (?:\w+ ){0,3}(?:too (?:large|big|long)|exceed)",
    r"no endpoints found that support (?:\w+ )?(?:video|image|audio)",
    r"not a (?:multi-?modal|vision|video) model",
    r"file is not a pdf",
    r"\b(?:video_url|input_video|image_url)\b",
)
_FORM_SENTENCE = re.compile("|".join(_FORM_SENTENCES), re.IGNORECASE)
# llama.cpp says so with a 500, before it begins.
_NEVER_BEGUN = re.compile(r"\b(?:video|image|audio) input is not supported", re.IGNORECASE)
_FORM_STATUSES = {400, 404, 422, 501}
_PERMISSION = {"permission_denied", "permission_error"}
_UNAVAILABLE = {429, 503, 529}
_FIELDS = {
    "model",
    "temperature",
    "max_tokens",
    "prompt",
    "system_prompt",
    "reasoning",
    "seed",
    "stop",
    "response_format",
    "provider",
}

# For errors whose `code` is a word: inside streams there is no other status.
_STATUS_OF_KIND = {
    "invalid_request": 400,
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "BadRequestError": 400,
    "context_length_exceeded": 400,
    "token_limit_exceeded": 400,
    "exceed_context_size_error": 400,
    "authentication": 401,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "payment_required": 402,
    "insufficient_quota": 402,
    "billing_error": 402,
    "permission_denied": 403,
    "permission_error": 403,
    "content_policy_violation": 403,
    "refusal": 403,
    "moderation": 403,
    "not_found": 404,
    "not_found_error": 404,
    "NotFoundError": 404,
    "model_not_found": 404,
    "payload_too_large": 413,
    "request_too_large": 413,
    "unprocessable": 422,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "not_supported_error": 501,
    "provider_unavailable": 502,
    "provider_overloaded": 503,
    "overloaded_error": 529,
    "unavailable_error": 503,
    "ServiceUnavailableError": 503,
    "timeout": 504,
    "timeout_error": 504,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An upstream's refusal, read. `kind` is its own word for it, `message` its sentence."""

    status: int
    message: str = ""
    kind: str = ""
    param: str = ""
    retry_after_seconds: float | None = None
    is_final: bool = False


def read(body: Any, *, status: int = 200, retry_after: str | None = None) -> Failure:
    """`body`: the parsed JSON, or the text, of an error answer or of an error inside a 200."""
    error = _find(body)
    metadata = mapping(error.get("metadata"))
    availability = mapping(error.get("availability"))
    code = error.get("code")
    reasons = _of_google(error)
    kind = next(_words(metadata.get("error_type"), code, error.get("type"), *reasons), "")
    if metadata.get("reasons") or metadata.get("flagged_input") or metadata.get("patterns"):
        kind = "content_policy_violation"
    seconds = availability.get("retry_after", _retry_delay(error))
    return Failure(
        status=_status(status, code, kind, error.get("type")),
        message=_sentence(error, metadata),
        kind=kind,
        param=next(_words(error.get("param")), ""),
        retry_after_seconds=_seconds(retry_after if seconds is None else str(seconds)),
        is_final=availability.get("retryable") is False,
    )


def _of_google(error: Mapping[str, Any]) -> Iterator[Any]:
    """Its words for what is wrong, the closest first."""
    yield from (mapping(detail).get("reason") for detail in items(error.get("details")))
    yield error.get("status")


def _retry_delay(error: Mapping[str, Any]) -> str | None:
    """Google's RetryInfo: `"retryDelay": "37s"`."""
    for detail in map(mapping, items(error.get("details"))):
        if isinstance(delay := detail.get("retryDelay"), str):
            return delay.removesuffix("s")
    return None


def parse(text: str, *, status: int, retry_after: str | None) -> Failure:
    """The same for the body of an answer with an HTTP error status, whatever is in it."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = " ".join(_TAG.sub(" ", text[:_READ_CHARACTERS]).split())
    return read(body, status=status, retry_after=retry_after)


def error(
    failure: Failure,
    call: Call,
    *,
    provider: str,
    upstream_id: str | None = None,
    has_begun: bool = False,
    secrets: tuple[str, ...] = (),
) -> TelecineError:
    """Which of our errors it is. `has_begun`: a part of the answer was given already."""
    told = scrubbed(failure.message, secrets)
    about: dict[str, Any] = {
        "provider": provider,
        "upstream_status": failure.status,
        "upstream_id": upstream_id,
    }
    said = f"{provider} answered {failure.status}" + (f": {told}" if told else "")
    if failure.kind in POLICY:
        return ProviderRejected(
            f"{provider} refused this by its content policy" + (f": {told}" if told else ""),
            loc=call.text_loc,
            type="content_policy_violation",
            **about,
        )
    if failure.kind in _CONTEXT or _CONTEXT_SENTENCE.search(failure.message):
        return _too_large(
            f"{said} - more than model {call.model!r} takes at once: "
            "a shorter video or prompt, or a model with a larger context",
            call,
        )
    if has_begun:
        return ProviderFailed(f"{said} - in the middle of the answer", **about)
    if failure.status in (401, 402) or failure.kind in _PERMISSION or failure.status < 400:
        return ProviderFailed(operators(failure.status, provider), **about)
    if failure.status == 413:
        larger = f"{said} - the request is larger than {provider} takes: a shorter or smaller video"
        if not call.parts:
            return TooLarge(larger, loc=call.text_loc)
        return FormRefused(larger, loc=_largest(call), type="file_too_large", **about)
    if call.parts and _is_about_a_form(failure):
        return FormRefused(said, loc=_refused(failure, call), **about)
    if failure.status == 404 or failure.is_final:
        return ProviderRejected(f"{said} (model {call.model!r})", loc=("body", "model"), **about)
    if failure.status in _UNAVAILABLE:
        return ProviderUnavailable(said, retry_after_seconds=failure.retry_after_seconds, **about)
    if failure.status == 501 or (400 <= failure.status < 500 and failure.status != 408):
        return ProviderRejected(said, loc=_loc(failure, call), **about)
    return ProviderFailed(said, **about)


def scrubbed(text: str, secrets: tuple[str, ...] = ()) -> str:
    """`text` on one line, cut, without keys (ours, and what looks like one) and without data."""
    for secret in secrets:
        text = text.replace(secret, "[key]")
    text = _KEY.sub("[key]", _DATA_URI.sub(r"\1...", text))
    text = " ".join(text.split())
    return text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 3] + "..."


def operators(status: int, provider: str) -> str:
    """For a caller who can do nothing about it; no upstream words, which may quote the key."""
    if status == 402:
        return f"the operator's account at {provider} is out of credits (402)"
    if status in (401, 403):
        return (
            f"the operator's key for {provider} was refused ({status}); "
            f"to be mended in the settings, [providers.{provider}]"
        )
    return (
        f"{provider} is not where it is said to be ({status}, a redirect); "
        f"base_url of [providers.{provider}] is to be mended in the settings"
    )


def _is_about_a_form(failure: Failure) -> bool:
    if failure.status == 415 or failure.kind in _FORM or _NEVER_BEGUN.search(failure.message):
        return True
    said = f"{failure.param} {failure.message}"
    return failure.status in _FORM_STATUSES and _FORM_SENTENCE.search(said) is not None


def _too_large(message: str, call: Call) -> TooLarge:
    return TooLarge(message, loc=_largest(call))


def _largest(call: Call) -> Loc:
    """The medium with the most bytes; else a link; else the text."""
    files = [part.media for part in call.parts if not isinstance(part, LinkPart)]
    if files:
        return max(files, key=lambda media: media.bytes).loc
    return loc(call.parts[0]) if call.parts else call.text_loc


def _refused(failure: Failure, call: Call) -> Loc:
    """The medium that it is about, as far as the words tell. vLLM calls a video an image, too."""
    kinds: dict[str, tuple[type[Part], ...]] = {
        "audio": (AudioPart,),
        "pdf": (PdfPart,),
        "video": (FilePart, LinkPart, FramesPart),
        "image": (ImagePart, FilePart, LinkPart, FramesPart),
    }
    said = f"{failure.param} {failure.message}".lower()
    for word, kind in kinds.items():
        if word in said and (found := [part for part in call.parts if isinstance(part, kind)]):
            return loc(found[0])
    videos = [part for part in call.parts if isinstance(part, kinds["video"])]
    return loc((videos or call.parts)[0])


def _loc(failure: Failure, call: Call) -> Loc:
    field = re.split(r"[.\[]", failure.param)[0]
    if field in _FIELDS:
        return ("body", field)
    # Some models refuse a schema without naming the field.
    if call.response_format and re.search("response_format|json_schema", failure.message):
        return ("body", "response_format")
    return ("body",)


def _find(body: Any) -> Mapping[str, Any]:
    """The mapping with the message in it, of whichever shape; in a list too."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, Mapping):
        return {"message": body if isinstance(body, str) else ""}
    inner = body.get("error")
    if isinstance(inner, Mapping):
        return inner
    if isinstance(inner, str):
        return {**body, "message": inner}
    if "detail" in body and "message" not in body:
        return {"message": _text(body["detail"])}
    return body


def _sentence(error: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """OpenRouter's own message is often "Provider returned error"; the news is in the metadata."""
    message = _text(error.get("message"))
    raw = _text(metadata.get("raw"))
    host = _text(metadata.get("provider_name"))
    reasons = ", ".join(_words(*items(metadata.get("reasons"))))
    more = ": ".join(word for word in (host, raw or reasons) if word)
    return f"{message} ({more})" if more and message else message or more


def _status(status: int, code: Any, kind: str, type_: Any) -> int:
    if status >= 300:
        return status
    if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600:
        return code
    if isinstance(code, str) and re.fullmatch("[45][0-9][0-9]", code):
        return int(code)
    return _STATUS_OF_KIND.get(kind) or _STATUS_OF_KIND.get(_text(type_)) or 500


def _seconds(retry_after: str | None) -> float | None:
    """A Retry-After in seconds: it is a number, or the date until which to wait."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), _DAY) if math.isfinite(seconds) else None


def _words(*values: Any) -> Iterator[str]:
    return (value for value in values if isinstance(value, str) and value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, default=str)
