"""How many tokens, stills and bytes: the arithmetic behind a plan; never a bill. Pure."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import NamedTuple

from telecine.models import Capabilities, Resolution, TokenRates, View

LONG_SECONDS = 20 * 60.0  # of stills; more than that is asked in stretches
STRETCH_SECONDS = 5 * 60.0
MOST_STRETCHES = 12  # as long as each of them fits
ANCHORS = 20

# Longest side of a picture, in pixels, where the caller says how closely to look.
SIDES: dict[Resolution, int] = {"low": 448, "medium": 768, "high": 1568}

_MOST_STILLS = 128
_LABEL_TOKENS = 12  # the time that is written beside a still
_WORDS_PER_SECOND = 4.0  # tokens of a fast speaker
_WORDS_SHARE = 0.25  # of the window, at most
_JPEG_BYTES_PER_PIXEL = 0.15  # of a picture that still looks good
_LEAST_STILL_BYTES = 4_000
_OUTPUT_TOKENS = 4096
_UNKNOWN = TokenRates(frame={"medium": 258})


def text_tokens(text: str) -> int:
    """Four bytes each: what English comes to, and more than most other languages do."""
    return math.ceil(len(text.encode("utf-8", "replace")) / 4)


def room(capabilities: Capabilities, prompt: str, max_tokens: int | None) -> int | None:
    """Tokens that the window has for media; None: no limit known."""
    context = capabilities.context_tokens
    if context is None:
        return None
    usual = min(capabilities.max_output_tokens or _OUTPUT_TOKENS, context // 4)
    return context - text_tokens(prompt) - (usual if max_tokens is None else max_tokens)


def body_room(capabilities: Capabilities, prompt: str, others: int, videos: int) -> int | None:
    """Bytes of video that a request body has room for, before base64; None: no limit known.

    `others`: bytes of all other media in it.
    """
    most = capabilities.max_request_bytes
    if most is None:
        return None
    text = len(json.dumps(prompt)) + min(65_536, most // 20)
    return max(0, (most - text - base64_bytes(others)) * 3 // 4 - 512 * videos)


def base64_bytes(raw: int) -> int:
    return 4 * math.ceil(raw / 3)


# ---------------------------------------------------------------- videos that the model samples


def file_tokens(
    capabilities: Capabilities, view: View, seconds: float | None, *, has_audio: bool
) -> int | None:
    """What `seconds` of a video come to; `view` is what the upstream is told."""
    rates = capabilities.rates
    if rates is None or seconds is None:
        return None
    frames = max(1, math.ceil(seconds * (view.fps or capabilities.fps)))
    caps = (view.max_frames, capabilities.max_sampled_frames)
    frames = min((frames, *(cap for cap in caps if cap is not None)))
    sound = seconds * rates.audio_second if has_audio and capabilities.hears else 0.0
    return math.ceil(frames * frame_tokens(rates, view.resolution) + sound)


def frame_tokens(rates: TokenRates, resolution: Resolution | None) -> int:
    usual = rates.frame.get("medium", max(rates.frame.values(), default=0))
    return rates.frame.get(resolution, usual) if resolution else usual


# ---------------------------------------------------------------- stills


class Size(NamedTuple):
    width: int
    height: int


def scaled(width: int | None, height: int | None, max_side: int) -> Size:
    """A picture as large as it may be; of one whose size is not known, the largest."""
    if not width or not height:
        return Size(max_side, max_side)
    scale = min(1.0, max_side / max(width, height))
    return Size(max(1, round(width * scale)), max(1, round(height * scale)))


def still_tokens(rates: TokenRates | None, size: Size) -> int:
    rates = rates or _UNKNOWN
    if rates.image_pixels is None:
        return rates.image + _LABEL_TOKENS
    pixels = math.ceil(size.width * size.height / rates.image_pixels)
    return min(rates.image, pixels) + _LABEL_TOKENS


def words_tokens(capabilities: Capabilities, seconds: float) -> int:
    """What a transcript comes to, which is cut to a share of the window."""
    spoken = math.ceil(_WORDS_PER_SECOND * seconds)
    context = capabilities.context_tokens
    return spoken if context is None else min(spoken, int(_WORDS_SHARE * context))


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one video may take of the whole request. None: no limit known."""

    tokens: int | None = None
    bytes: int | None = None
    images: int | None = None


def side(capabilities: Capabilities, view: View, *, is_stretch: bool) -> int:
    """How large stills are made."""
    chosen = SIDES[view.resolution] if view.resolution else _usual_side(capabilities)
    if is_stretch and view.resolution is None:
        chosen = min(chosen, 512)
    return min(chosen, capabilities.max_image_side or chosen)


def wanted_stills(
    capabilities: Capabilities, view: View, seconds: float, *, is_stretch: bool
) -> int:
    """How many stills are taken of so many seconds where everything fits.

    On request as many as were asked for; else as many as a window of that size is worth.
    """
    if view.fps is not None:
        asked = math.ceil(seconds * view.fps - 1e-6)
        return max(1, min(asked, view.max_frames or asked))
    if view.max_frames is not None:
        return max(1, min(view.max_frames, math.ceil(seconds * capabilities.fps)))
    window = capabilities.context_tokens
    if window is not None and window >= 200_000:
        return max(1, min(64, math.ceil(seconds if is_stretch else seconds / 2)))
    if window is None or window >= 32_000:
        return max(1, min(32, math.ceil(seconds)))
    return min(16, max(8, math.ceil(seconds / 2)))


def most_stills(capabilities: Capabilities, share: Share, size: Size) -> int:
    """How many of that size fit into a share; 0: none."""
    limits = [_MOST_STILLS]
    if share.tokens is not None:
        limits.append(share.tokens // still_tokens(capabilities.rates, size))
    if share.images is not None:
        limits.append(share.images)
    if share.bytes is not None:
        each = max(_LEAST_STILL_BYTES, int(size.width * size.height * _JPEG_BYTES_PER_PIXEL))
        few = 1 if share.bytes >= _LEAST_STILL_BYTES else 0
        limits.append(max(few, share.bytes // each))
    return max(0, min(limits))


def still_bytes(capabilities: Capabilities, share: Share, count: int) -> int | None:
    """The most that one of `count` stills may have."""
    limits = [capabilities.max_image_bytes, share.bytes and share.bytes // count]
    return min((limit for limit in limits if limit is not None), default=None)


def times(start: float, end: float, count: int) -> tuple[float, ...]:
    """The middles of `count` slices of equal length: the very first picture is often black."""
    step = (end - start) / count
    return tuple(round(start + (number + 0.5) * step, 3) for number in range(count))


def _usual_side(capabilities: Capabilities) -> int:
    window = capabilities.context_tokens
    if window is not None and window >= 200_000:
        return 768
    return 512 if window is None or window >= 32_000 else 448


# ---------------------------------------------------------------- re-encoding

_SIDES_DOWN = (1920, 1280, 960, 768, 640, 512, 448, 384, 320)
_GOOD_SIDE = 768
_LEAST_BITS = 20_000  # a second of small pictures and a voice
_OVERHEAD_BYTES = 8_192
_AUDIO_BITS = 48_000
_DENSE = 1.6  # how many times its bits a newer codec's video has in H.264


class Squeeze(NamedTuple):
    """How a file is made smaller, besides fewer bits. None: as it is."""

    fps: float | None
    max_side: int | None


def most_seconds(limit: int) -> float:
    """How long a stretch may be that is to fit into `limit` bytes and still be worth looking at."""
    return max(0.0, 8 * (limit - _OVERHEAD_BYTES) / _LEAST_BITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """What is to be made smaller. `bits`: a second of it has so many as it is, sound included;
    `is_dense`: in a codec that needs fewer of them than the one that it will have."""

    size: Size
    fps: float
    seconds: float
    bits: float
    is_dense: bool
    has_audio: bool

    def needed(self, size: Size, fps: float) -> float:
        """The bits that it takes to look well in that size, at that rate.

        By what pictures take in general, and by what these took: a slide takes less.
        """
        # A picture that differs from the one before it takes more than one that hardly does.
        whole, more = min(fps, 1.0), max(0.0, fps - 1.0)
        general = size.width * size.height * (0.25 * whole + 0.04 * more)
        area = (size.width * size.height) / (self.size.width * self.size.height)
        own = self.bits * (_DENSE if self.is_dense else 1.0) * area * math.sqrt(fps / self.fps)
        return min(general, own)


def squeeze(footage: Footage, limit: int, *, sampled_fps: float) -> Squeeze:
    """Keeps pictures good before it keeps them many: a model looks at `sampled_fps` of them."""
    size, fps = footage.size, footage.fps
    sound = _AUDIO_BITS if footage.has_audio else 0
    bits = max(0.0, 8 * (limit - _OVERHEAD_BYTES) / footage.seconds)
    bits -= min(sound, bits / 2)
    sides = [side for side in _SIDES_DOWN if side < max(size)]
    for max_side in (None, *sides):
        if (max_side or max(size)) < min(_GOOD_SIDE, max(size)):
            break
        if footage.needed(scaled(*size, max_side or max(size)), fps) <= bits:
            return Squeeze(None, max_side)
    fewer = min(fps, sampled_fps)
    for max_side in (None, *sides):
        if footage.needed(scaled(*size, max_side or max(size)), fewer) <= bits:
            return Squeeze(fewer, max_side)
    return Squeeze(fewer, min(sides, default=None))
