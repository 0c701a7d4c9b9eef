"""What will be sent: from what a model takes, and what the media are, to a call's parts. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from telecine.errors import InputError, Problem, TooLarge, UnsupportedMedia
from telecine.models import (
    Audio,
    AudioPart,
    Capabilities,
    DecodedPart,
    Decoder,
    FilePart,
    FramesPart,
    Image,
    ImagePart,
    LinkPart,
    Media,
    MediaName,
    Part,
    Pdf,
    PdfPart,
    Video,
)

_HOSTS = frozenset(
    prefix + host
    for host in ("youtube.com", "youtube-nocookie.com")
    for prefix in ("", "www.", "m.", "music.")
)
_SHORT_HOSTS = frozenset(("youtu.be", "www.youtu.be"))
_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_FOLDERS = frozenset(("shorts", "embed", "live", "v", "e"))
_TIME = re.compile(r"\d+s?|(?:\d+h)?(?:\d+m)?(?:\d+s)?")
_OVER_A_LIMIT = ("video_duration_too_long", "file_too_large")
_LINK_TAKERS = "Google's Gemini models, for example google/gemini-2.5-flash"

_MAX_LINK = 8190  # longer ones are no links: what follows looks at every character


def is_link(text: str) -> bool:
    """Whether `text` names a YouTube video, which is never downloaded: a model takes the link."""
    return _watch_url(text) is not None


def links(
    names: Sequence[MediaName], capabilities: Capabilities, model: str = "This model"
) -> list[LinkPart]:
    """The parts for those names that are links, in the form that providers read best.

    Says no before anything is fetched: InputError when there are more videos than the model takes,
    and at each name of a kind that it does not take at all.
    """
    _check_count(names, capabilities)
    problems = [
        Problem(name.loc, told, "feature_not_supported", input=_shown(name.text))
        for name in names
        if (told := _untaken(name, capabilities, model))
    ]
    if problems:
        raise InputError(problems[0].msg, problems=problems)
    return [
        LinkPart(url, name.loc)
        for name in names
        if name.kind == "video" and (url := _watch_url(name.text))
    ]


def parts(
    names: Sequence[MediaName],
    media: Sequence[Media],
    links: Sequence[Part],
    capabilities: Capabilities,
    decoder: Decoder,
) -> list[Part]:
    """One part per name, in the order of `names`, none of them over a limit of the model.

    Raises InputError with every one that does not fit at its loc.
    """
    _check_count(names, capabilities)
    problems = [problem for medium in media for problem in _misfits(medium, capabilities)]
    if problems:
        kind = TooLarge if problems[0].type in _OVER_A_LIMIT else UnsupportedMedia
        raise kind(problems[0].msg, type=problems[0].type, problems=problems)
    made: dict[tuple[str | int, ...], Part] = {
        link.loc: link for link in links if isinstance(link, LinkPart)
    }
    for medium in media:
        made[medium.loc] = _part(medium, capabilities, decoder)
    return [made[name.loc] for name in names]


def describe(part: Part) -> dict[str, Any]:
    """What was sent of it, for the receipt."""
    match part:
        case LinkPart():
            return {"as": "link"}
        case AudioPart(audio) if audio.wav is not None:
            return {"as": "file", "bytes": audio.wav_bytes, "mime": "audio/wav"}
        case FilePart(media) | ImagePart(media) | AudioPart(media) | PdfPart(media):
            return {"as": "file", "bytes": media.bytes, "mime": media.mime}
        case FramesPart(stills=stills, words=words):
            return {"as": "frames", "frames": len(stills), "transcript": bool(words)}
        case DecodedPart():
            return {"as": "decoded"}


def _part(medium: Media, capabilities: Capabilities, decoder: Decoder) -> Part:
    match medium:
        case Pdf():
            return PdfPart(medium)
        case Video() | Image() | Audio() if capabilities.is_decoded:
            return DecodedPart(medium, decoder)
        case Image():
            return ImagePart(medium)
        case Audio():
            return AudioPart(medium)
        case Video():
            return FilePart(medium)
    raise TypeError(f"{type(medium).__name__} is no medium that is sent")


def _untaken(name: MediaName, capabilities: Capabilities, model: str) -> str | None:
    """Why a model has no use for a medium of that kind, whatever is in it; None: it may have."""
    match name.kind:
        case "image" if not capabilities.images:
            return f"{model} takes no images: choose a model that sees"
        case "audio" if not capabilities.audio:
            return f"{model} takes no sound files: choose a model that hears"
        case "pdf" if not capabilities.pdfs:
            return f"{model} takes no documents here: send the pages as images, or their text"
        case "video":
            return _untaken_video(name, capabilities, model)
    return None


def _untaken_video(name: MediaName, capabilities: Capabilities, model: str) -> str | None:
    is_file = not is_link(name.text)
    if not capabilities.delivery:
        return f"{model} takes no videos: choose a model that sees videos"
    if not is_file and "link" not in capabilities.delivery:
        return (
            f"{model} takes no YouTube links. {_LINK_TAKERS}, do; "
            "or give the address of the video file itself, or upload it"
        )
    if is_file and not {"file", "decoded"} & set(capabilities.delivery):
        return (
            f"{model} takes YouTube links only, no video files: choose another model, "
            "or give the link of the video on YouTube"
        )
    return None


def _check_count(names: Sequence[MediaName], capabilities: Capabilities) -> None:
    most, given = capabilities.max_videos, [name for name in names if name.kind == "video"]
    if most is not None and len(given) > most:
        raise TooLarge(
            f"This model takes at most {most} video{'' if most == 1 else 's'} per request, "
            f"not {len(given)}",
            loc=given[most].loc[:2],
            type="sequence_too_long",
            ctx={"max_length": most, "actual_length": len(given)},
        )


def _shown(text: str) -> str | None:
    """What an error repeats of a name: an address, but no data."""
    return text if text[:4].lower() == "http" else None


def _misfits(medium: Media, capabilities: Capabilities) -> list[Problem]:
    match medium:
        case Video():
            return _over_limits(medium, capabilities)
        case Image() if medium.format not in capabilities.images:
            taken = ", ".join(capabilities.images)
            return [
                Problem(
                    medium.loc,
                    f"This model takes no {medium.format} images, only {taken}: convert it",
                    "unsupported_image_format",
                    {"supported_formats": list(capabilities.images)},
                )
            ]
    return []


def _over_limits(video: Video, capabilities: Capabilities) -> list[Problem]:
    found = []
    seconds, longest = video.seconds, capabilities.max_seconds
    if longest is not None and seconds is not None and seconds > longest:
        found.append(
            Problem(
                video.loc,
                f"The video lasts {seconds:g} s; this model takes at most {longest:g} s: "
                "cut it, or choose another model",
                "video_duration_too_long",
                {"max_duration": longest, "provided_duration": seconds},
            )
        )
    largest = capabilities.max_bytes
    if largest is not None and video.bytes > largest:
        found.append(
            Problem(
                video.loc,
                f"The video has {video.bytes} bytes; this model takes at most {largest}: "
                "make it smaller, or choose another model",
                "file_too_large",
                {"max_size": largest},
            )
        )
    return found


def _watch_url(text: str) -> str | None:
    """The canonical watch link of a YouTube video with its time mark; None for anything else.

    Only the real hosts count, without user or port; what is not recognised here is fetched like
    any other address, and refused there when it turns out to be a page.
    """
    if len(text) > _MAX_LINK or not text[:8].lower().startswith(("http://", "https://")):
        return None
    try:
        url = urlsplit(text)
        if url.username is not None or url.password is not None:
            return None
        if url.port not in {None, 443 if url.scheme == "https" else 80}:
            return None
    except ValueError:
        return None
    query = parse_qs(url.query)
    segments = [segment for segment in url.path.split("/") if segment]
    host = (url.hostname or "").removesuffix(".")
    if host in _SHORT_HOSTS:
        video = segments[0] if len(segments) == 1 else ""
    elif host not in _HOSTS:
        return None
    elif segments == ["watch"]:
        video = query.get("v", [""])[0]
    else:
        video = segments[1] if len(segments) == 2 and segments[0] in _FOLDERS else ""
    if not _ID.fullmatch(video):
        return None
    return f"https://www.youtube.com/watch?v={video}" + _time_mark(query, url.fragment)


def _time_mark(query: dict[str, list[str]], fragment: str) -> str:
    marks = query.get("t") or query.get("start") or parse_qs(fragment).get("t") or [""]
    return f"&t={marks[0]}" if marks[0] and _TIME.fullmatch(marks[0]) else ""
