"""What will be sent: from what a model takes, and what the videos are, to a call's parts. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from telecine.errors import InputError, Problem, TooLarge
from telecine.models import (
    Capabilities,
    DecodedPart,
    Decoder,
    FilePart,
    LinkPart,
    Part,
    Video,
    MediaName,
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
_LINK_TAKERS = "Google's Gemini models, for example google/gemini-2.5-flash"


def is_link(text: str) -> bool:
    """Whether `text` names a YouTube video, which is never downloaded: a model takes the link."""
    return _watch_url(text) is not None


def links(names: Sequence[MediaName], capabilities: Capabilities) -> list[LinkPart]:
    """The parts for those names that are links, in the form that providers read best.

    Says no before anything is fetched: InputError when there are more videos than the model takes,
    and at each link when it takes none.
    """
    _check_count(names, capabilities)
    found = [(name, url) for name in names if (url := _watch_url(name.text))]
    if found and "link" not in capabilities.delivery:
        raise InputError(
            "This model takes no YouTube links",
            problems=[
                Problem(
                    name.loc,
                    f"This model takes no YouTube links. {_LINK_TAKERS}, do; "
                    "or give the address of the video file itself, or upload it",
                    "feature_not_supported",
                    input=name.text,
                )
                for name, _ in found
            ],
        )
    return [LinkPart(url, name.loc) for name, url in found]


def parts(
    names: Sequence[MediaName],
    videos: Sequence[Video],
    links: Sequence[Part],
    capabilities: Capabilities,
    decoder: Decoder,
) -> list[Part]:
    """One part per name, in the order of `names`, none of them over a limit of the model.

    Raises InputError with every video that does not fit at its loc.
    """
    _check_count(names, capabilities)
    problems = [problem for video in videos for problem in _misfits(video, capabilities)]
    if problems:
        kind = InputError if problems[0].type == "feature_not_supported" else TooLarge
        raise kind(problems[0].msg, type=problems[0].type, problems=problems)
    made: dict[tuple[str | int, ...], Part] = {
        link.loc: link for link in links if isinstance(link, LinkPart)
    }
    for video in videos:
        made[video.loc] = (
            FilePart(video) if "file" in capabilities.delivery else DecodedPart(video, decoder)
        )
    return [made[name.loc] for name in names]


def describe(part: Part) -> dict[str, Any]:
    """What was sent of it, for the receipt."""
    match part:
        case LinkPart():
            return {"as": "link"}
        case FilePart(video):
            return {"as": "file", "bytes": video.bytes, "mime": video.mime}
        case DecodedPart(video):
            return {"as": "decoded", "audio": video.has_audio, "seconds": video.seconds}


def _check_count(names: Sequence[MediaName], capabilities: Capabilities) -> None:
    most = capabilities.max_videos
    if most is not None and len(names) > most:
        raise TooLarge(
            f"This model takes at most {most} video{'' if most == 1 else 's'} per request, "
            f"not {len(names)}",
            loc=("body", "video_urls"),
            type="sequence_too_long",
            ctx={"max_length": most, "actual_length": len(names)},
        )


def _misfits(video: Video, capabilities: Capabilities) -> list[Problem]:
    if not {"file", "decoded"} & set(capabilities.delivery):
        return [
            Problem(
                video.loc,
                "This model takes YouTube links only, no video files: choose another model, "
                "or give the link of the video on YouTube",
                "feature_not_supported",
            )
        ]
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
    if not text[:8].lower().startswith(("http://", "https://")):
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
