"""What will be sent: from what a model takes, what the media are, and what is asked for. Pure.

    1  links(names)       before anything is fetched: what stays a link, and what is refused
    2  make(media)        how each video gets there, and in how many calls
    3  for_span, anchors  the plans of those calls, where one does not do

`forms` says of one video whether it fits in one form; this module chooses among the forms, shares
a request's limits out between its videos, and divides long ones. `prepare` does what a plan says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from telecine.errors import InputError, Problem, TooLarge, UnsupportedMedia
from telecine.media import budget, forms
from telecine.media.budget import Share
from telecine.media.forms import Choice, Clip, Sampling, Target, Transform
from telecine.media.links import Watch, watch
from telecine.models import (
    Audio,
    AudioPart,
    Capabilities,
    DecodedPart,
    FilePart,
    Form,
    FramesPart,
    Image,
    ImagePart,
    LinkPart,
    Media,
    MediaName,
    Part,
    PdfPart,
    Video,
    View,
)

__all__ = [
    "Plan",
    "Sampling",
    "Span",
    "Transform",
    "VideoPlan",
    "anchors",
    "describe",
    "for_span",
    "is_link",
    "links",
    "make",
    "shown",
]

_MOST_SPANS = 100  # of one request: each is a call that somebody pays for
_LEAST_SECONDS = 1.0  # a stretch that is shorter is not worth a call
_TOO_LARGE = ("video_duration_too_long", "file_too_large")
_LINK_TAKERS = "Google's Gemini models, for example google/gemini-2.5-flash"


@dataclass(frozen=True, slots=True)
class Span:
    """The stretch from `start` to `end`, in seconds, of video number `index`. `end` is infinite for
    a link of which nobody knows how long it is."""

    index: int
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPlan:
    """How one video gets there.

    `view`: what of it the upstream is told in its own words. `transform`: what is done to the file
    here, None: nothing. `sampling`: the stills of it, for the form "frames". `start`, `end`: the
    seconds of the clip that are looked at; `end` is None where nobody knows its length. `tokens`:
    what it comes to, estimated. `why`: reasons, for people.
    """

    loc: tuple[str | int, ...]
    index: int
    form: Form
    view: View = field(default_factory=View)
    transform: Transform | None = None
    sampling: Sampling | None = None
    start: float = 0.0
    end: float | None = None
    tokens: int | None = None
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a plan was made from, so that those of its stretches can be made. `stretch_of`: from
    where to where it goes of which this is a stretch; None: it is all that was asked about."""

    names: tuple[MediaName, ...]
    media: tuple[Media, ...]
    links: tuple[LinkPart, ...]
    capabilities: Capabilities
    view: View
    model: str
    prompt: str = ""
    max_tokens: int | None = None
    strict: bool = False
    refused: frozenset[Form] = frozenset()
    stretch_of: tuple[float, float | None] | None = None

    @property
    def is_stretch(self) -> bool:
        return self.stretch_of is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How everything gets there.

    `tokens`: estimated prompt tokens of all calls together, text included; None: not known.
    `warnings`: what was asked for and cannot be had. `spans`: empty when one call does; else the
    stretches that are asked one by one (`for_span`), in order, which leave nothing out; what
    `videos` says is then said of each stretch.
    """

    videos: tuple[VideoPlan, ...] = ()
    tokens: int | None = None
    warnings: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    basis: Basis = field(repr=False, compare=False)


# ---------------------------------------------------------------- before anything is fetched


def is_link(text: str) -> bool:
    """Whether `text` names a YouTube video: a model that takes links is given it as it is."""
    return watch(text) is not None


def links(
    names: Sequence[MediaName],
    capabilities: Capabilities,
    model: str = "This model",
    view: View = View(),  # noqa: B008 - frozen
    *,
    downloads: bool = False,
) -> list[LinkPart]:
    """The parts for those names that are links, in the form that providers read best.

    A time mark in a link is where to start, where the route can be told that and the caller says
    nothing else. `downloads`: links that the model does not take can be fetched here; they are none
    of the parts then.

    Says no before anything is fetched: InputError when there are more videos than the model takes,
    and at each name of a kind that it does not take at all.
    """
    _check_count(names, capabilities)
    problems = [
        Problem(name.loc, says, "feature_not_supported", input=_shown_name(name.text))
        for name in names
        if (says := _untaken(name, capabilities, model, downloads=downloads))
    ]
    if problems:
        raise InputError(problems[0].msg, type=problems[0].type, problems=problems)
    if "link" not in capabilities.delivery:
        return []
    found = ((name, watch(name.text)) for name in names if name.kind == "video")
    native = forms.natively(view, capabilities.options)
    can_start = "start" in capabilities.options
    return [
        _link(name, link, native, can_start=can_start) for name, link in found if link is not None
    ]


def _link(name: MediaName, link: Watch, native: View, *, can_start: bool) -> LinkPart:
    if native.start is not None:
        return LinkPart(link.url, name.loc, native)
    if link.start and can_start:
        return LinkPart(link.url, name.loc, replace(native, start=link.start))
    return LinkPart(link.marked_url, name.loc, native)


def _untaken(
    name: MediaName, capabilities: Capabilities, model: str, *, downloads: bool
) -> str | None:
    """Why a model has no use for a medium of that kind, whatever is in it; None: it may have."""
    match name.kind:
        case "image" if not capabilities.images:
            return f"{model} takes no images: choose a model that sees"
        case "audio" if not capabilities.audio:
            return f"{model} takes no sound files: choose a model that hears"
        case "pdf" if not capabilities.pdfs:
            return f"{model} takes no documents here: send the pages as images, or their text"
        case "video":
            return _untaken_video(name, capabilities, model, downloads=downloads)
    return None


def _untaken_video(
    name: MediaName, capabilities: Capabilities, model: str, *, downloads: bool
) -> str | None:
    taken = set(_forms(capabilities))
    if not taken:
        return f"{model} takes no videos: choose a model that sees videos"
    if is_link(name.text) and "link" not in taken and not downloads:
        return (
            f"{model} takes no YouTube links. {_LINK_TAKERS}, do; "
            "or give the address of the video file itself, or upload it"
        )
    if not is_link(name.text) and taken == {"link"}:
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


def _shown_name(text: str) -> str | None:
    """What an error repeats of a name: an address, but no data."""
    return text if text[:4].lower() == "http" else None


def _forms(capabilities: Capabilities, refused: frozenset[Form] = frozenset()) -> list[Form]:
    """In which forms a video may be sent, the preferred first."""
    return [form for form in dict.fromkeys(capabilities.delivery) if form not in refused]


# ---------------------------------------------------------------- once they are here


def make(
    names: Sequence[MediaName],
    media: Sequence[Media],
    links: Sequence[LinkPart],
    capabilities: Capabilities,
    view: View,
    *,
    model: str,
    prompt: str = "",
    max_tokens: int | None = None,
    strict: bool = False,
    refused: frozenset[Form] = frozenset(),
) -> Plan:
    """How every video of `names` gets to `model`: each is among the `media` or the `links`.

    The first form of `capabilities.delivery` that honours everything without work on the file,
    else the first that does with it, else the one that leaves least out. `refused`: forms that the
    upstream turned down before. An option that nobody can honour is a warning; with `strict` it is
    refused.

    Raises InputError, TooLarge or UnsupportedMedia with everything that does not do, each at its
    loc. The same input gives the same plan.
    """
    return _planned(
        Basis(
            names=tuple(names),
            media=tuple(media),
            links=tuple(links),
            capabilities=capabilities,
            view=view,
            model=model,
            prompt=prompt,
            max_tokens=max_tokens,
            strict=strict,
            refused=refused,
        )
    )


def for_span(plan: Plan, span: Span) -> Plan:
    """That stretch alone, with everything else that is no video. It has no spans of its own."""
    basis = plan.basis
    [name] = [n for n in basis.names if n.kind == "video" and n.index == span.index]
    whole = next(each for each in plan.videos if each.index == span.index)
    is_open = math.isinf(span.end)
    view = basis.view if is_open else replace(basis.view, start=span.start, end=span.end)
    if view.max_frames is not None and not is_open and whole.end is not None:
        of_all = (span.end - span.start) / max(whole.end - whole.start, 1e-9)
        view = replace(view, max_frames=max(1, math.floor(view.max_frames * of_all + 1e-6)))
    links = [
        replace(link, view=replace(link.view, start=view.start, end=view.end))
        if not is_open and link.view.start is not None
        else link
        for link in basis.links
    ]
    return _planned(
        replace(
            basis,
            names=tuple(n for n in basis.names if n.kind != "video" or n is name),
            links=tuple(link for link in links if link.loc == name.loc),
            media=tuple(m for m in basis.media if not isinstance(m, Video) or m.loc == name.loc),
            view=view,
            stretch_of=(whole.start, whole.end),
        )
    )


def anchors(plan: Plan) -> Plan:
    """A few stills of all videos over their whole range, for the call that joins what was found in
    the stretches; no video at all where the route takes no images, or has no room for them."""
    basis = plan.basis
    capabilities = basis.capabilities
    clips = [clip for clip in _clips(basis) if clip.video and clip.seconds]
    shares = _Shares.of(basis, len(clips))
    share = shares.whole
    if share.tokens is not None:  # the other half is for what was found
        share = replace(share, tokens=share.tokens // 2)
    side = min(budget.side(capabilities, basis.view, is_stretch=True), 512)
    most = budget.ANCHORS
    for clip in clips:
        assert clip.video
        size = budget.scaled(clip.video.width, clip.video.height, side)
        most = min(most, budget.most_stills(capabilities, share, size))
    takes = "jpeg" in capabilities.images or "frames" in capabilities.delivery
    if not takes or not clips or most < len(clips):
        return Plan(tokens=_other_tokens(basis), basis=basis)
    videos = []
    for clip in clips:
        assert clip.video
        assert clip.end is not None
        count = most // len(clips)
        size = budget.scaled(clip.video.width, clip.video.height, side)
        videos.append(
            VideoPlan(
                loc=clip.name.loc,
                index=clip.name.index,
                form="frames",
                sampling=Sampling(
                    times=budget.times(clip.start, clip.end, count),
                    max_side=side,
                    fps=count / (clip.end - clip.start),
                    with_words=False,
                    max_bytes=budget.still_bytes(capabilities, share, most),
                ),
                start=clip.start,
                end=clip.end,
                tokens=count * budget.still_tokens(capabilities.rates, size),
                why=(f"{count} stills of all of it",),
            )
        )
    return Plan(
        videos=tuple(videos),
        tokens=_sum([_other_tokens(basis), *(video.tokens for video in videos)]),
        basis=basis,
    )


def _planned(basis: Basis) -> Plan:
    clips = _clips(basis)
    _check(basis, clips)
    chosen = _chosen(basis, clips)
    warnings = _unheeded(basis, clips, chosen)
    videos = tuple(map(_video_plan, clips, chosen))
    tokens = _sum([_other_tokens(basis), *(choice.tokens for choice in chosen)])
    plan = Plan(videos=videos, tokens=tokens, warnings=warnings, basis=basis)
    if basis.is_stretch:
        return plan
    spans = _spans(basis, clips, chosen)
    return _divided(plan, spans) if spans else plan


def _clips(basis: Basis) -> list[Clip]:
    """The videos in the order of their names, each with the stretch of it that is asked about."""
    media = {medium.loc: medium for medium in basis.media}
    links = {link.loc: link for link in basis.links}
    found = []
    for name in basis.names:
        medium, link = media.get(name.loc), links.get(name.loc)
        if link is not None:
            start = link.view.start if link.view.start is not None else basis.view.start
            found.append(Clip(name=name, start=start or 0.0, end=basis.view.end, link=link))
        elif isinstance(medium, Video):
            ends = [end for end in (medium.seconds, basis.view.end) if end is not None]
            start, end = basis.view.start or 0.0, min(ends, default=None)
            found.append(Clip(name=name, start=start, end=end, video=medium))
    return found


def _check(basis: Basis, clips: list[Clip]) -> None:
    """Raises at what is wrong whichever form a video gets."""
    problems = [problem for clip in clips for problem in forms.range_problems(clip, basis.view)]
    if problems:
        raise InputError(problems[0].msg, type=problems[0].type, problems=[problems[0]])
    taken = basis.capabilities.images
    problems = [
        Problem(
            medium.loc,
            f"This model takes no {medium.format} images, only {', '.join(taken)}: convert it",
            "unsupported_image_format",
            {"supported_formats": list(taken)},
        )
        for medium in basis.media
        if isinstance(medium, Image) and medium.format not in taken
    ]
    if problems:
        raise UnsupportedMedia(problems[0].msg, type=problems[0].type, problems=problems)


# ---------------------------------------------------------------- the choice of forms


@dataclass(frozen=True, slots=True)
class _Shares:
    """What all videos of a request may take together, and how many share it."""

    whole: Share
    videos: int

    @classmethod
    def of(cls, basis: Basis, videos: int) -> _Shares:
        capabilities = basis.capabilities
        others = [medium for medium in basis.media if not isinstance(medium, Video)]
        images = sum(isinstance(medium, Image) for medium in others)
        bytes_ = sum(m.wav_bytes or m.bytes if isinstance(m, Audio) else m.bytes for m in others)
        room = budget.room(capabilities, basis.prompt, basis.max_tokens)
        media_tokens = (_other_tokens(basis) or 0) - budget.text_tokens(basis.prompt)
        most = capabilities.max_images
        return cls(
            Share(
                tokens=None if room is None else max(0, room - max(0, media_tokens)),
                bytes=budget.body_room(capabilities, basis.prompt, bytes_, videos),
                images=None if most is None else max(0, most - images),
            ),
            videos,
        )

    def each(self, bytes_: int | None) -> Share:
        """What one of them may take, `bytes_` of the body."""
        count = max(1, self.videos)
        return Share(
            tokens=None if self.whole.tokens is None else self.whole.tokens // count,
            bytes=bytes_,
            images=None if self.whole.images is None else self.whole.images // count,
        )


def _chosen(basis: Basis, clips: list[Clip]) -> list[Choice]:
    """A form for each. Raises TooLarge, UnsupportedMedia or InputError with all that have none."""
    here = [clip for clip in clips if clip.video]
    shares = _Shares.of(basis, len(here))
    alone = [_choose(basis, clip, shares.each(shares.whole.bytes)) for clip in clips]
    found = list(alone)
    if shares.whole.bytes is not None:
        for number, part in _shared_out(shares.whole.bytes, clips, alone).items():
            found[number] = _choose(basis, clips[number], shares.each(part))
    problems = [choice for choice in found if isinstance(choice, Problem)]
    if problems:
        type_ = problems[0].type
        kind = (
            TooLarge
            if type_ in _TOO_LARGE
            else UnsupportedMedia
            if type_ == UnsupportedMedia.type
            else InputError
        )
        raise kind(problems[0].msg, type=type_, problems=problems)
    return [choice for choice in found if isinstance(choice, Choice)]


def _shared_out(bytes_: int, clips: list[Clip], alone: list[Choice | Problem]) -> dict[int, int]:
    """What of a body each video gets that is sent in it, by its place: small ones as much as they
    have, the others equal parts of what is left."""
    waiting = sorted(
        (clip.video.bytes, number)
        for number, (clip, choice) in enumerate(zip(clips, alone, strict=True))
        if clip.video and not (isinstance(choice, Choice) and choice.form in ("url", "decoded"))
    )
    parts: dict[int, int] = {}
    for entry in list(waiting):
        size, number = entry
        choice = alone[number]
        is_as_it_is = isinstance(choice, Choice) and choice.work == 0
        if is_as_it_is and size <= bytes_ // len(waiting):
            parts[number] = size
            bytes_ -= size
            waiting.remove(entry)
    return parts | {number: bytes_ // len(waiting) for _, number in waiting}


def _choose(basis: Basis, clip: Clip, share: Share) -> Choice | Problem:
    capabilities = basis.capabilities
    target = Target(
        capabilities=capabilities,
        view=basis.view,
        share=share,
        model=basis.model,
        is_stretch=basis.is_stretch,
    )
    open_forms = _forms(capabilities, basis.refused)
    tried = {form: forms.fit(form, clip, target) for form in open_forms}
    found = {form: choice for form, choice in tried.items() if isinstance(choice, Choice)}
    if basis.is_stretch:
        found = {form: choice for form, choice in found.items() if choice.work < 2}
    if found:
        return min(found.values(), key=_rank(capabilities))
    problems = [problem for problem in tried.values() if isinstance(problem, Problem)]
    return _why_not(basis, clip, problems)


def _rank(capabilities: Capabilities) -> Callable[[Choice], tuple[int, int]]:
    """Forms that honour everything first, then those with the least work; `min` keeps the order of
    the rest. Stills that the route prefers are no work."""

    def rank(choice: Choice) -> tuple[int, int]:
        is_preferred = capabilities.delivery[:1] == ("frames",) and choice.form == "frames"
        work = 0 if is_preferred and choice.work == 1 else choice.work
        return len(choice.unheeded), work

    return rank


def _why_not(basis: Basis, clip: Clip, problems: list[Problem]) -> Problem:
    """What keeps a video from being sent in any form: the limit that it is over, if any."""
    for problem in problems:
        if problem.type in (*_TOO_LARGE, UnsupportedMedia.type):
            return problem
    if basis.refused:
        tried = ", ".join(sorted(basis.refused))
        says = f"{basis.model} refused the video ({tried}), and takes it in no other form"
    elif clip.link:
        says = f"{basis.model} takes no YouTube links. {_LINK_TAKERS}, do"
    else:
        says = f"{basis.model} takes no such videos"
    return Problem(
        clip.name.loc,
        f"{says}: choose another model",
        "feature_not_supported",
        input=_shown_name(clip.name.text),
    )


def _unheeded(basis: Basis, clips: list[Clip], chosen: list[Choice]) -> tuple[str, ...]:
    """What nobody can honour, as warnings. Raises InputError where that is not enough."""
    found = [
        (clip, option, reason)
        for clip, choice in zip(clips, chosen, strict=True)
        for option, reason in choice.unheeded.items()
    ]
    if found and basis.strict:
        reasons = {option: reason for _, option, reason in reversed(found)}
        problems = [
            Problem(
                ("body", option),
                f"This can not be honoured: {reason}. Leave it out, leave strict out, or choose "
                "another model",
                "feature_not_supported",
                input=getattr(basis.view, option),
            )
            for option, reason in sorted(reasons.items())
        ]
        raise InputError(problems[0].msg, type=problems[0].type, problems=problems)
    several = len(clips) > 1
    return tuple(
        (f"video {clip.name.index + 1}: " if several else "") + f"{option} is ignored: {reason}"
        for clip, option, reason in found
    )


def _video_plan(clip: Clip, choice: Choice) -> VideoPlan:
    return VideoPlan(
        loc=clip.name.loc,
        index=clip.name.index,
        form=choice.form,
        view=choice.view,
        transform=choice.transform,
        sampling=choice.sampling,
        start=clip.start,
        end=clip.end,
        tokens=choice.tokens,
        why=choice.why,
    )


def _other_tokens(basis: Basis) -> int | None:
    """What the text and everything that is no video come to."""
    rates = basis.capabilities.rates
    total: float = budget.text_tokens(basis.prompt)
    for medium in basis.media:
        if isinstance(medium, Video):
            continue
        if rates is None:
            return None
        match medium:
            case Image():
                size = budget.Size(medium.width, medium.height)
                total += budget.still_tokens(rates, size)
            case Audio(seconds=float(seconds)):
                total += seconds * rates.audio_second
            case _:
                return None
    return math.ceil(total)


def _sum(tokens: Sequence[int | None]) -> int | None:
    known = [count for count in tokens if count is not None]
    return sum(known) if len(known) == len(tokens) else None


# ---------------------------------------------------------------- in stretches


def _spans(basis: Basis, clips: list[Clip], chosen: list[Choice]) -> tuple[Span, ...]:
    """The stretches that a request is divided into; none when one call does."""
    room = _Shares.of(basis, len(clips)).whole.tokens
    media = _sum([choice.tokens for choice in chosen if choice.form != "frames"]) or 0
    stills = sum(choice.tokens or 0 for choice in chosen if choice.form == "frames")
    is_over = room is not None and media + stills > room
    if not is_over and all(choice.stretch is None for choice in chosen):
        return ()
    found: list[Span] = []
    for clip, choice in zip(clips, chosen, strict=True):
        found += _stretches(basis, clip, choice, room)
        if len(found) > _MOST_SPANS:
            raise _too_many(basis, clip)
    return tuple(found)


def _stretches(basis: Basis, clip: Clip, choice: Choice, room: int | None) -> list[Span]:
    index, seconds = clip.name.index, clip.seconds
    if clip.end is None or seconds is None:
        return [Span(index, clip.start, math.inf)]
    limits = [choice.stretch] if choice.stretch is not None else []
    if room is not None and choice.tokens and choice.tokens > room:
        limits.append(0.95 * seconds * room / choice.tokens)  # estimates: not to the brim
    if not limits:
        return [Span(index, clip.start, clip.end)]
    if min(limits) < _LEAST_SECONDS:
        raise _no_room(basis)
    usual = min(budget.MOST_STRETCHES, math.ceil(seconds / budget.STRETCH_SECONDS))
    count = max(usual, math.ceil(seconds / min(limits) - 1e-9), 1)
    while room is not None and _stretch_tokens(basis, clip, choice, seconds / count) > room:
        count = math.ceil(1.1 * count)
        if seconds / count < _LEAST_SECONDS:
            raise _no_room(basis)
    if count > _MOST_SPANS:
        raise _too_many(basis, clip)
    inner = [round(clip.start + seconds * n / count, 3) for n in range(1, count)]
    bounds = [clip.start, *inner, clip.end]
    return [Span(index, bounds[n], bounds[n + 1]) for n in range(count)]


def _stretch_tokens(basis: Basis, clip: Clip, choice: Choice, seconds: float) -> int:
    """What a stretch comes to; stills are as many as there is room for."""
    if choice.form == "frames":
        return 0
    has_audio = clip.has_audio and basis.view.audio is not False
    whole = budget.file_tokens(basis.capabilities, choice.view, seconds, has_audio=has_audio)
    return whole or 0


def _too_many(basis: Basis, clip: Clip) -> TooLarge:
    says = (
        f"{basis.model} takes so little at a time that this would be more than {_MOST_SPANS} "
        "calls: cut the video with start and end, or choose another model"
    )
    return TooLarge(says, loc=clip.name.loc, type="video_duration_too_long")


def _no_room(basis: Basis) -> TooLarge:
    says = (
        f"Beside the text and the answer hardly anything of the video fits into the "
        f"{basis.capabilities.context_tokens} tokens that {basis.model} takes: send less text, ask "
        "for fewer max_tokens, or choose another model"
    )
    return TooLarge(says, loc=("body", "prompt"), type="context_length_exceeded")


def _divided(plan: Plan, spans: tuple[Span, ...]) -> Plan:
    """With what is done to the stretches in the place of what was to be done to the whole."""
    plan = replace(plan, spans=spans)
    parts = [for_span(plan, span) for span in spans]
    videos = []
    for whole in plan.videos:
        own = [p.videos[0] for p, s in zip(parts, spans, strict=True) if s.index == whole.index]
        tokens = _sum([video.tokens for video in own])
        videos.append(
            _of_all(own[0], whole, tokens) if len(own) > 1 else replace(own[0], tokens=tokens)
        )
    warnings = dict.fromkeys((*plan.warnings, *(w for part in parts for w in part.warnings)))
    last = anchors(plan)
    return replace(
        plan,
        videos=tuple(videos),
        tokens=_sum([*(part.tokens for part in parts), last.tokens]),
        warnings=tuple(warnings),
    )


def _of_all(first: VideoPlan, whole: VideoPlan, tokens: int | None) -> VideoPlan:
    """What is true of every stretch, said of the whole."""
    work = first.transform
    return replace(
        first,
        view=replace(first.view, start=None, end=None),
        transform=None if work is None else replace(work, start=None, end=None),
        sampling=None,
        start=whole.start,
        end=whole.end,
        tokens=tokens,
    )


# ---------------------------------------------------------------- told


def describe(part: Part) -> dict[str, Any]:
    """What was sent of it, for the receipt."""
    match part:
        case LinkPart(view=view):
            return {"as": "link" if part.video is None else "url", **_told(view)}
        case FilePart():
            return _described_file(part)
        case AudioPart(audio) if audio.wav is not None:
            return {"as": "file", "bytes": audio.wav_bytes, "mime": "audio/wav"}
        case ImagePart(media) | AudioPart(media) | PdfPart(media):
            return {"as": "file", "bytes": media.bytes, "mime": media.mime}
        case FramesPart():
            return _described_stills(part)
        case DecodedPart():
            return {"as": "decoded"}


def _described_file(part: FilePart) -> dict[str, Any]:
    made = part.prepared
    found = {
        "as": "file",
        "bytes": part.bytes,
        "mime": part.mime,
        "sha256": part.sha256,
        "seconds": part.seconds,
        **_told(part.view),
    }
    if made is not None:
        found["prepared"] = {
            "start": made.start,
            "width": made.width,
            "height": made.height,
            "fps": made.fps,
            "audio": made.has_audio,
        }
    return found


def _described_stills(part: FramesPart) -> dict[str, Any]:
    first = part.stills[0] if part.stills else None
    return {
        "as": "frames",
        "frames": len(part.stills),
        "bytes": sum(still.bytes for still in part.stills),
        "mime": "image/jpeg",
        "width": first and first.width,
        "height": first and first.height,
        "fps": part.fps and round(part.fps, 4),
        "times": [still.seconds for still in part.stills],
        "transcript": bool(part.words),
    }


def _told(view: View) -> dict[str, Any]:
    options = {name: value for name, value in asdict(view).items() if value is not None}
    return {"view": options} if options else {}


def shown(plan: Plan) -> dict[str, Any]:
    """A plan as plain JSON: for `telecine plan --json`, estimates and receipts."""
    return {
        "videos": [_shown_video(video) for video in plan.videos],
        "estimated_prompt_tokens": plan.tokens,
        "warnings": list(plan.warnings),
        "segments": [
            {
                "index": span.index,
                "start": span.start,
                "end": None if math.isinf(span.end) else span.end,
            }
            for span in plan.spans
        ],
    }


def _shown_video(video: VideoPlan) -> dict[str, Any]:
    found: dict[str, Any] = {
        "index": video.index,
        "as": video.form,
        "start": video.start,
        "end": video.end,
        **_told(video.view),
    }
    if video.transform is not None:
        work = asdict(video.transform)
        found["work"] = {name: value for name, value in work.items() if value not in (None, False)}
    if video.sampling is not None:
        taken = video.sampling
        found["frames"] = {
            "count": len(taken.times),
            "fps": round(taken.fps, 4),
            "max_side": taken.max_side,
            "first": taken.times[0],
            "last": taken.times[-1],
            "transcript": taken.with_words,
        }
    return {**found, "estimated_tokens": video.tokens, "why": list(video.why)}
