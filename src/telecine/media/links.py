"""What is a link of a YouTube video, and what it says. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

_HOSTS = frozenset(
    prefix + host
    for host in ("youtube.com", "youtube-nocookie.com")
    for prefix in ("", "www.", "m.", "music.")
)
_SHORT_HOSTS = frozenset(("youtu.be", "www.youtu.be"))
_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_FOLDERS = frozenset(("shorts", "embed", "live", "v", "e"))
_TIME = re.compile(r"(?:(\d{1,7})h)?(?:(\d{1,7})m)?(?:(\d{1,7})s?)?", re.ASCII)

_MAX_LINK = 8190  # longer ones are no links: what follows looks at every character


@dataclass(frozen=True, slots=True)
class Watch:
    """A video on YouTube in the one form that all understand. `mark` is its time mark as it stood
    there, `start` the same in seconds; both are empty when it has none."""

    url: str
    mark: str = ""
    start: float | None = None

    @property
    def marked_url(self) -> str:
        return f"{self.url}&t={self.mark}" if self.mark else self.url


def watch(text: str) -> Watch | None:
    """What `text` links to; None for anything but a video on YouTube.

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
    marks = query.get("t") or query.get("start") or parse_qs(url.fragment).get("t") or [""]
    return Watch(f"https://www.youtube.com/watch?v={video}", *_time(marks[0]))


def _time(mark: str) -> tuple[str, float | None]:
    """90, 90s, 1m30s or 1h2m3s; anything else is no time mark."""
    found = _TIME.fullmatch(mark)
    if not mark or not found:
        return "", None
    hours, minutes, seconds = (int(number or 0) for number in found.groups())
    return mark, float(3600 * hours + 60 * minutes + seconds)
