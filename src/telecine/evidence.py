"""Whether the model saw the videos, told from its own token figures. Pure.

    video tokens (of stills: image tokens) above 0                        seen
    modalities are told, and not that one                                 proof that it saw none
    it is told as 0, and the count is no more than the text comes to      proof that it saw none
    nothing is told, and the count is no more than the text comes to      doubt
    no prompt tokens are told at all                                      nothing is known

What is decoded here, for a model that runs here, is seen by construction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from telecine.errors import Loc
from telecine.models import (
    AudioPart,
    DecodedPart,
    FilePart,
    FramesPart,
    Image,
    ImagePart,
    LinkPart,
    Part,
    PdfPart,
    Usage,
    Video,
)

Seen = Literal["yes", "no", "unknown"]
VideoPart: TypeAlias = FilePart | LinkPart | FramesPart

_BYTES_PER_TOKEN = 4
_LABEL_TOKENS = 8  # of the time that stands beside a still
_DOUBT_FACTOR, _DOUBT_MORE = 1.5, 20  # above the estimate: a chat template, another tokenizer


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one video. `says`: the evidence, as a sentence."""

    seen: Seen
    says: str
    is_doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """`verdicts`: by where in the input a video stands. `is_low`: the figures themselves are not
    to be trusted."""

    verdicts: Mapping[Loc, Verdict]
    is_low: bool = False

    def unseen(self, *, strict: bool) -> dict[Loc, Verdict]:
        """The videos that the model is proven not to have seen; `strict`: or is likely not to."""
        return {
            loc: verdict
            for loc, verdict in self.verdicts.items()
            if verdict.seen == "no" or (strict and verdict.is_doubtful)
        }


def judge(parts: Sequence[Part], text: str, usage: Usage) -> Evidence:
    """What `usage` of a call with `parts` and all this `text` proves."""
    videos = [part for part in parts if isinstance(part, VideoPart)]
    verdicts = {
        part.media.loc: Verdict("yes", "its pictures were decoded here and given to the model")
        for part in parts
        if isinstance(part, DecodedPart) and isinstance(part.media, Video)
    }
    if not videos:
        return Evidence(verdicts)
    if usage.prompt_tokens == 0 and not any(usage.by_modality.values()):
        nothing = Verdict("unknown", "the provider counted no prompt tokens")
        return Evidence(verdicts | {loc(part): nothing for part in videos}, is_low=True)
    most = _doubt(parts, text)
    for part in videos:
        verdicts[loc(part)] = _verdict(part, videos, parts, usage, most)
    return Evidence(verdicts)


def loc(part: VideoPart) -> Loc:
    return part.loc if isinstance(part, LinkPart) else part.media.loc


def _verdict(
    part: VideoPart,
    videos: Sequence[VideoPart],
    parts: Sequence[Part],
    usage: Usage,
    most: float | None,
) -> Verdict:
    """`most`: what the text may come to."""
    alike = [other for other in videos if _is_stills(other) == _is_stills(part)]
    told, count = usage.by_modality, usage.prompt_tokens
    modality = "image" if _is_stills(part) else "video"
    tokens = told.get(modality, 0)
    has_images = any(isinstance(p, ImagePart | DecodedPart) and _is_image(p) for p in parts)
    if not tokens and not (has_images or _are_mixed(videos)):
        # Some count what they sample from a video as images, others stills in a row as a video.
        modality, tokens = _told_otherwise(modality, told)
    if tokens:
        says = f"{tokens} {modality} tokens in the prompt"
        if len(alike) > 1:
            return Verdict("unknown", f"{says}, of {len(alike)} videos together")
        if modality == "image" and has_images:
            return Verdict("unknown", f"{says}, of its stills and the images together")
        return Verdict("yes", says)
    others = ", ".join(f"{n} {name}" for name, n in told.items() if n and name != modality)
    if others:
        return Verdict("no", f"the prompt was {others} tokens, and none of {modality}")
    is_text_alone = most is not None and count <= most
    if is_text_alone and modality in told:
        return Verdict(
            "no", f"0 {modality} tokens; {count} prompt tokens are the text, and no more"
        )
    if is_text_alone:
        says = f"{count} prompt tokens are no more than the text alone comes to"
        return Verdict("unknown", says, is_doubtful=True)
    return Verdict("unknown", f"{count} prompt tokens, of which kind is not told")


def _are_mixed(videos: Sequence[VideoPart]) -> bool:
    return len({_is_stills(video) for video in videos}) > 1


def _told_otherwise(modality: str, told: Mapping[str, int]) -> tuple[str, int]:
    other = "video" if modality == "image" else "image"
    tokens = told.get(other, 0)
    return (other, tokens) if tokens else (modality, 0)


def _doubt(parts: Sequence[Part], text: str) -> float | None:
    """The most tokens that may be text alone; None: other media are in the count too."""
    if any(isinstance(part, ImagePart | AudioPart | PdfPart | DecodedPart) for part in parts):
        return None
    tokens = len(text.encode("utf-8", "replace")) / _BYTES_PER_TOKEN
    for part in parts:
        if isinstance(part, FramesPart):
            words = sum(len(said.text.encode("utf-8", "replace")) for said in part.words)
            labels = len(part.stills) + len(part.words)
            tokens += words / _BYTES_PER_TOKEN + labels * _LABEL_TOKENS
    return tokens * _DOUBT_FACTOR + _DOUBT_MORE


def _is_stills(part: Part) -> bool:
    return isinstance(part, FramesPart)


def _is_image(part: ImagePart | DecodedPart) -> bool:
    return isinstance(part, ImagePart) or isinstance(part.media, Image)
