"""One video in one form: whether it fits what a model takes, and what has to be done for it. Pure.

A form may fit as it is, or after work on the file, or only stretch by stretch. An option that it
cannot honour is told with it, never left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from telecine.errors import Problem
from telecine.media import budget
from telecine.media.budget import Share
from telecine.media.links import watch
from telecine.models import Capabilities, Form, LinkPart, MediaName, Video, View

_SLACK_SECONDS = 0.5  # what durations are off by, from one program to the next
_USUAL_FPS = 30.0
_USUAL_SIZE = budget.Size(1280, 720)
_PLAIN_CODECS = ("h264", "mpeg1video", "mpeg2video", "mpeg4", "mjpeg", "prores")
_LEAST_STRETCH = 0.001  # what times are rounded to
_LEAST_SECONDS = 1.0  # a stretch that is shorter is not worth a call


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """What is done to a file here; whatever it is, an mp4 comes out. None: that stays as it is.

    Pictures are taken at `fps` from `start` on, no side is longer than `max_side` pixels, and the
    file is not larger than `max_bytes`.
    """

    start: float | None = None
    end: float | None = None
    fps: float | None = None
    max_side: int | None = None
    without_audio: bool = False
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """The stills that are taken: their times in the clip, the longest side and the most bytes of
    one, and how many there are a second. `with_words`: what is said goes with them."""

    times: tuple[float, ...]
    max_side: int
    fps: float
    with_words: bool
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A video of the request, and the stretch of it that is asked about. `end`: None where nobody
    knows how long it is."""

    name: MediaName
    start: float
    end: float | None
    video: Video | None = None
    link: LinkPart | None = None

    @property
    def seconds(self) -> float | None:
        return None if self.end is None else self.end - self.start

    @property
    def has_audio(self) -> bool:
        return self.video is None or self.video.has_audio


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a video is to be fitted to. `is_stretch`: it is one of several of a long video."""

    capabilities: Capabilities
    view: View
    share: Share
    model: str
    is_stretch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A form that does. `work`: 0 none, 1 on the file, 2 in stretches of `stretch` seconds at most.

    `unheeded`: why, by the option that it cannot honour.
    """

    form: Form
    view: View = field(default_factory=View)
    transform: Transform | None = None
    sampling: Sampling | None = None
    tokens: int | None = None
    work: int = 0
    stretch: float | None = None
    unheeded: dict[str, str] = field(default_factory=dict)
    why: tuple[str, ...] = ()


def range_problems(clip: Clip, view: View) -> list[Problem]:
    """What is wrong with the stretch that was asked for."""
    start, end = clip.start, view.end
    seconds = clip.video.seconds if clip.video else None
    if seconds is not None and start > 0 and start > seconds - _LEAST_STRETCH:
        says = f"The video lasts {seconds:g} s: start before that, not at {start:g} s"
        return [Problem(("body", "start"), says, "value_error", {"duration": seconds}, start)]
    if end is not None and end < start + _LEAST_STRETCH:
        says = f"The end must come after the start: {end:g} s is not after {start:g} s"
        return [Problem(("body", "end"), says, "value_error", {"start": start}, end)]
    if seconds is not None and end is not None and end > seconds + _SLACK_SECONDS:
        says = f"The video lasts {seconds:g} s: end by then, not at {end:g} s, or leave the end out"
        return [Problem(("body", "end"), says, "value_error", {"duration": seconds}, end)]
    return []


def fit(form: Form, clip: Clip, target: Target) -> Choice | Problem:
    """`clip` in that form, or what keeps it from being sent so."""
    match form:
        case "link":
            return _as_link(clip, target)
        case "url":
            return _as_url(clip, target)
        case "file":
            return _as_file(clip, target)
        case "frames":
            return _as_stills(clip, target)
        case "decoded":
            return _decoded(clip, target)


# ---------------------------------------------------------------- in the upstream's own words


def natively(view: View, options: frozenset[str]) -> View:
    """That part of a view that a route honours itself."""
    cuts = all(getattr(view, name) is None or name in options for name in ("start", "end"))
    return View(
        fps=view.fps if "fps" in options else None,
        start=view.start if cuts else None,
        end=view.end if cuts else None,
        max_frames=view.max_frames if "max_frames" in options else None,
        resolution=view.resolution if "resolution" in options else None,
        audio=view.audio if "audio" in options else None,
    )


def _told(clip: Clip, target: Target) -> View:
    """As `natively`; a number of frames is told as a rate where only that can be told."""
    options = target.capabilities.options
    view = natively(target.view, options)
    most, seconds = target.view.max_frames, clip.seconds
    if most is not None and view.max_frames is None and _is_counted(clip, target) and seconds:
        usual, rate = target.view.fps or target.capabilities.fps, _rate(most, seconds)
        view = replace(view, fps=rate) if rate < usual else view
    return view


def _is_counted(clip: Clip, target: Target) -> bool:
    """Whether the upstream can be told a number of frames, be it as a rate."""
    options = target.capabilities.options
    return "max_frames" in options or ("fps" in options and bool(clip.seconds))


def _rate(frames: int, seconds: float) -> float:
    """Frames a second, rounded down: never one more than that."""
    rate = min(frames / seconds, 1e6)
    return math.floor(rate * 1e6) / 1e6 or rate


def _not_told(clip: Clip, target: Target, told: View) -> dict[str, str]:
    """The options that are left, of a form in which nothing can be done to the video here."""
    wanted, model = target.view, target.model
    left = {
        name: f"{model} can not be asked for it, and the video is not here to be worked on"
        for name in ("fps", "start", "end", "max_frames", "resolution")
        if getattr(wanted, name) is not None and getattr(told, name) is None
    }
    if _is_counted(clip, target):
        left.pop("max_frames", None)
    if told.start is not None and wanted.start is None:
        left.pop("start", None)
    if reason := _unheard(clip, target, is_stripped=told.audio is not None):
        left["audio"] = reason
    if told.fps is not None and (reason := _sparse(clip, target, told)):
        left["fps"] = reason
    return left


def _unheard(clip: Clip, target: Target, *, is_stripped: bool) -> str | None:
    """Why a wish about the sound can not be met."""
    wanted, capabilities = target.view.audio, target.capabilities
    if wanted is False and capabilities.hears and clip.has_audio and not is_stripped:
        return f"{target.model} can not be asked to leave the sound out"
    if wanted is True and not clip.has_audio:
        return "the video has no sound"
    if wanted is True and not capabilities.hears and "audio" not in capabilities.options:
        return f"{target.model} does not hear the sound of a video"
    return None


def _sparse(clip: Clip, target: Target, told: View) -> str | None:
    """That the model takes fewer pictures of so long a video than its rate, or the caller, says."""
    most, seconds = target.capabilities.max_sampled_frames, clip.seconds
    if most is None or seconds is None or (told.max_frames or math.inf) <= most:
        return None
    if seconds * (told.fps or target.capabilities.fps) <= most:
        return None
    return f"{target.model} looks at {most} pictures at most, here one every {seconds / most:.1f} s"


def _missed(clip: Clip, target: Target, told: View) -> tuple[str, ...]:
    """What the model will not notice of a video that is left as it is."""
    sparse = None if told.fps is not None else _sparse(clip, target, told)
    return (*((sparse,) if sparse else ()), *_deaf(clip, target))


def _deaf(clip: Clip, target: Target) -> tuple[str, ...]:
    if target.capabilities.hears or target.view.audio is not None:
        return ()
    if clip.video is None or not clip.video.has_audio:
        return ()
    return (f"{target.model} is not known to hear: the sound may stay unused",)


def _tokens(clip: Clip, target: Target, told: View) -> int | None:
    has_audio = clip.has_audio and target.view.audio is not False
    return budget.file_tokens(target.capabilities, told, clip.seconds, has_audio=has_audio)


def _as_link(clip: Clip, target: Target) -> Choice | Problem:
    if clip.link is None:
        says = f"{target.model} takes YouTube links only, no video files"
        return Problem(clip.name.loc, says, "feature_not_supported")
    told = clip.link.view
    return Choice(
        form="link",
        view=told,
        tokens=_tokens(clip, target, told),
        unheeded=_not_told(clip, target, told),
        why=("the link is passed on: the video was not looked at here",),
    )


def _as_url(clip: Clip, target: Target) -> Choice | Problem:
    video, loc = clip.video, clip.name.loc
    if video is None:
        return _is_a_link(clip, target)
    if not _is_passed_on(clip.name.text, video):
        return Problem(loc, f"{target.model} takes addresses only", "feature_not_supported")
    told = _told(clip, target)
    if problem := _over(clip, target, told, video.bytes):
        return problem
    if video.container not in target.capabilities.containers:
        return _wrong_container(clip, target)
    return Choice(
        form="url",
        view=told,
        tokens=_tokens(clip, target, told),
        unheeded=_not_told(clip, target, told),
        why=("its address is passed on", *_missed(clip, target, told)),
    )


def _is_passed_on(text: str, video: Video) -> bool:
    """An address that others can use, and find the video itself at; a password in it is for this
    server alone."""
    if watch(text) is not None:
        return False
    if video.found != "url" or not text.strip().lower().startswith(("http://", "https://")):
        return False
    return "@" not in urlsplit(text.strip()).netloc


def _over(clip: Clip, target: Target, told: View, size: int) -> Problem | None:
    """A limit that the video is over, as it is."""
    capabilities, seconds = target.capabilities, clip.seconds
    if clip.video and told.start is None and told.end is None:
        seconds = clip.video.seconds
    longest = capabilities.max_seconds
    if longest is not None and seconds is not None and seconds > longest:
        return _too_long(clip, longest, seconds)
    largest = capabilities.max_bytes
    if largest is not None and size > largest:
        return _too_large(clip, largest)
    return None


# ---------------------------------------------------------------- as a file, as it is or worked on


def _as_file(clip: Clip, target: Target) -> Choice | Problem:
    video, capabilities = clip.video, target.capabilities
    if video is None:
        return _is_a_link(clip, target)
    wish = _Wish.of(clip, target)
    limits = (capabilities.max_bytes, target.share.bytes)
    limit = min((bytes_ for bytes_ in limits if bytes_ is not None), default=None)
    longest = capabilities.max_seconds
    is_long = longest is not None and clip.seconds is not None and clip.seconds > longest
    fits = limit is None or video.bytes <= limit
    is_taken = video.container in capabilities.containers
    if fits and is_taken and not is_long and wish.transform == Transform():
        why = ("it is sent as it is", *_missed(clip, target, wish.told))
        return _file(clip, target, wish, None, why=why)
    if "mp4" not in capabilities.containers:
        return _wrong_container(clip, target)
    # A file that is worked on anyway is cut as well: what is left out need not be sent.
    transform = wish.with_cut(clip)
    why = (*wish.why, *(() if is_taken else (f"{target.model} takes no {video.container}",)))
    if not fits:
        why = (*why, f"its {video.bytes} bytes are more than the {limit} that can be sent")
    seconds, stretch = clip.seconds, longest if is_long else None
    if limit is not None:
        most = budget.most_seconds(limit)
        if most < _LEAST_SECONDS or (seconds is None and not fits):
            return _too_large(clip, limit)
        transform = replace(transform, max_bytes=limit)
        if seconds is not None and seconds > most:
            stretch = min(stretch or most, most)
        elif seconds is not None and stretch is None:
            transform = _squeezed(clip, target, transform, limit)
    return _file(clip, target, wish, transform, why=why, stretch=stretch)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """The options of a view, by who sees to them: `told` the upstream, `transform` this server,
    `unheeded` nobody."""

    told: View
    transform: Transform
    unheeded: dict[str, str]
    why: tuple[str, ...]

    @classmethod
    def of(cls, clip: Clip, target: Target) -> _Wish:
        wanted, told = target.view, _told(clip, target)
        has_cut = told.start is None and told.end is None and _is_cut(clip)
        fps, unheeded = _fewer(clip, target, told)
        side = budget.SIDES[wanted.resolution] if wanted.resolution else None
        if told.resolution is not None or side is None or side >= _longest_side(clip):
            side = None
        is_stripped = wanted.audio is False and clip.has_audio and target.capabilities.hears
        if reason := _unheard(clip, target, is_stripped=True):
            unheeded["audio"] = reason
        if told.fps is not None and (reason := _sparse(clip, target, told)):
            unheeded["fps"] = reason
        transform = Transform(
            start=clip.start if has_cut else None,
            # A number of pictures is one up to an end that is known, not up to a guessed one.
            end=clip.end if has_cut or fps is not None else None,
            fps=fps,
            max_side=side,
            without_audio=is_stripped and told.audio is None,
        )
        why = (
            *(("it is cut",) if has_cut else ()),
            *((f"it is sampled at {fps:g} a second",) if fps is not None else ()),
            *((f"it is scaled to {side} pixels",) if side is not None else ()),
            *(("its sound is taken out",) if transform.without_audio else ()),
        )
        return cls(told=told, transform=transform, unheeded=unheeded, why=why)

    def with_cut(self, clip: Clip) -> Transform:
        if not _is_cut(clip):
            return self.transform
        return replace(self.transform, start=clip.start, end=clip.end)


def _is_cut(clip: Clip) -> bool:
    assert clip.video
    if clip.start > 0 or clip.end is None:
        return clip.start > 0
    return clip.video.seconds is None or clip.end < clip.video.seconds


def _longest_side(clip: Clip) -> int:
    assert clip.video
    return max(clip.video.width or 0, clip.video.height or 0) or 10**9


def _fewer(clip: Clip, target: Target, told: View) -> tuple[float | None, dict[str, str]]:
    """At which rate the file gets its pictures, so that no more of them can be looked at; and what
    of the wish for a rate or a number that does not meet."""
    wanted, usual = target.view, target.capabilities.fps
    own = clip.video.fps if clip.video else None
    unheeded: dict[str, str] = {}
    rates: list[float] = []
    if wanted.fps is not None and told.fps is None:
        if wanted.fps <= usual:
            rates.append(wanted.fps)
        elif own is None or own > usual:
            unheeded["fps"] = (
                f"{target.model} looks at {usual:g} a second by itself, and can not be asked for "
                f"{wanted.fps:g}"
            )
    if wanted.max_frames is not None and not _is_counted(clip, target):
        if clip.seconds:
            rates.append(_rate(wanted.max_frames, clip.seconds))
        else:
            unheeded["max_frames"] = "nobody knows how long the video is"
    rate = min(rates, default=None)
    needed = rate is not None and rate < usual and (own is None or rate < own)
    return (rate if needed else None), unheeded


def _squeezed(clip: Clip, target: Target, transform: Transform, limit: int) -> Transform:
    """With as small a picture and as few of them as the bytes want."""
    video, seconds = clip.video, clip.seconds
    assert video
    assert seconds
    own = transform.fps or video.fps or _USUAL_FPS
    footage = budget.Footage(
        size=budget.scaled(video.width, video.height, transform.max_side or _longest_side(clip))
        if video.width
        else _USUAL_SIZE,
        fps=own,
        seconds=seconds,
        bits=8 * video.bytes / max(video.seconds or seconds, seconds),
        is_dense=video.video_codec not in _PLAIN_CODECS,
        has_audio=video.has_audio and not transform.without_audio,
    )
    sampled = max(target.view.fps or 0.0, target.capabilities.fps)
    found = budget.squeeze(footage, limit, sampled_fps=sampled)
    return replace(
        transform,
        fps=found.fps if found.fps is not None and found.fps < own else transform.fps,
        max_side=found.max_side or transform.max_side,
        max_bytes=limit,
    )


def _file(
    clip: Clip,
    target: Target,
    wish: _Wish,
    transform: Transform | None,
    *,
    why: tuple[str, ...],
    stretch: float | None = None,
) -> Choice:
    told = wish.told
    if transform is not None and (transform.start is not None or transform.end is not None):
        told = replace(told, start=None, end=None)
    work = 2 if stretch is not None else 0 if transform is None else 1
    if stretch is not None:
        why = (*why, f"{target.model} takes {stretch:.0f} s of it at a time")
    return Choice(
        form="file",
        view=told,
        transform=transform,
        tokens=_tokens(clip, target, told),
        work=work,
        stretch=stretch,
        unheeded=wish.unheeded,
        why=why,
    )


# ---------------------------------------------------------------- as stills, or opened here


def _as_stills(clip: Clip, target: Target) -> Choice | Problem:
    video, capabilities, view = clip.video, target.capabilities, target.view
    if video is None:
        return _is_a_link(clip, target)
    seconds = clip.seconds
    if seconds is not None and seconds > budget.LONG_SECONDS and not target.is_stretch:
        wanted = budget.wanted_stills(capabilities, view, seconds, is_stretch=False)
        if view.max_frames is None or _fitting(clip, target)[0] < wanted:
            return replace(_long_in_stills(target), unheeded=_words_missing(clip, target))
    most, side = _fitting(clip, target)
    if most < 1:
        return _no_room(clip, target)
    unheeded = _words_missing(clip, target)
    if seconds is None or seconds <= 0:
        count, end = 1, clip.start + 1.0
    else:
        wanted = budget.wanted_stills(capabilities, view, seconds, is_stretch=target.is_stretch)
        count, end = min(wanted, most, _pictures(video, seconds)), clip.start + seconds
        if view.fps is not None and count < min(wanted, _pictures(video, seconds)):
            unheeded["fps"] = (
                f"{wanted} stills are more than the {most} that can be sent: there are "
                f"{count / seconds:.3g} a second"
            )
    with_words = view.audio is not False and video.has_audio
    spoken = budget.words_tokens(capabilities, seconds or 0.0) if with_words else 0
    size = budget.scaled(video.width, video.height, side)
    return Choice(
        form="frames",
        sampling=Sampling(
            times=budget.times(clip.start, end, count),
            max_side=side,
            fps=count / (end - clip.start),
            with_words=with_words,
            max_bytes=budget.still_bytes(capabilities, target.share, count),
        ),
        tokens=count * budget.still_tokens(capabilities.rates, size) + spoken,
        work=1,
        unheeded=unheeded,
        why=(f"it is shown in {count} still{'' if count == 1 else 's'}",),
    )


def _fitting(clip: Clip, target: Target) -> tuple[int, int]:
    """How many stills there is room for, and how large they are; smaller before none."""
    video, capabilities = clip.video, target.capabilities
    assert video
    side = budget.side(capabilities, target.view, is_stretch=target.is_stretch)
    share = target.share
    if share.tokens is not None and target.view.audio is not False and video.has_audio:
        spoken = budget.words_tokens(capabilities, clip.seconds or 0.0)
        share = replace(share, tokens=max(0, share.tokens - spoken))
    size = budget.scaled(video.width, video.height, side)
    return budget.most_stills(capabilities, share, size), side


def _long_in_stills(target: Target) -> Choice:
    return Choice(
        form="frames",
        work=2,
        stretch=math.inf,
        why=(f"{target.model} is shown stills, and is asked stretch by stretch",),
    )


def _words_missing(clip: Clip, target: Target) -> dict[str, str]:
    if target.view.audio is True and not clip.has_audio:
        return {"audio": "the video has no sound"}
    return {}


def _pictures(video: Video, seconds: float) -> int:
    """How many different ones there are at all."""
    return max(1, math.ceil(seconds * video.fps)) if video.fps else 10**9


def _decoded(clip: Clip, target: Target) -> Choice | Problem:
    if clip.video is None:
        return _is_a_link(clip, target)
    return Choice(
        form="decoded",
        view=target.view,
        unheeded=_words_missing(clip, target),
        why=("it is opened here: the model runs on this machine",),
    )


# ---------------------------------------------------------------- why not


def _is_a_link(clip: Clip, target: Target) -> Problem:
    says = f"{target.model} takes no YouTube links"
    return Problem(clip.name.loc, says, "feature_not_supported")


def _wrong_container(clip: Clip, target: Target) -> Problem:
    taken = target.capabilities.containers
    assert clip.video
    return Problem(
        clip.name.loc,
        f"{target.model} takes no {clip.video.container}, only {', '.join(taken)}: convert it",
        "unsupported_video_format",
        {"supported_formats": list(taken)},
    )


def _too_long(clip: Clip, longest: float, seconds: float) -> Problem:
    return Problem(
        clip.name.loc,
        f"The video lasts {seconds:g} s; this model takes at most {longest:g} s: "
        "cut it with start and end, or choose another model",
        "video_duration_too_long",
        {"max_duration": longest, "provided_duration": seconds},
    )


def _too_large(clip: Clip, largest: int) -> Problem:
    assert clip.video
    return Problem(
        clip.name.loc,
        f"The video has {clip.video.bytes} bytes; this model takes at most {largest}, and it can "
        "not be made as small as that: cut it with start and end, or choose another model",
        "file_too_large",
        {"max_size": largest},
    )


def _no_room(clip: Clip, target: Target) -> Problem:
    return Problem(
        clip.name.loc,
        f"Not one still of the video fits beside the rest of the request into what {target.model} "
        "takes: send less text or fewer media, or choose another model",
        "file_too_large",
        {"max_size": target.share.bytes or target.share.tokens or target.share.images or 0},
    )
