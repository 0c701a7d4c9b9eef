"""How the servers that speak OpenAI's protocol differ: what each takes, and how a video is written.

    vllm sglang llamacpp ollama    run by the operator; some tell what their models see
    dashscope zai kimi ark         vendors, who fetch addresses themselves (Kimi does not)
    generic                        anybody else

Everything here is pure: figures from the vendors' pages, and JSON.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from telecine.errors import InputError
from telecine.models import (
    IMAGE_FORMATS,
    Call,
    Capabilities,
    FilePart,
    FramesPart,
    LinkPart,
    Resolution,
    TokenRates,
    View,
)
from telecine.providers import frames
from telecine.providers.body import Base64

Name = Literal["vllm", "sglang", "llamacpp", "ollama", "dashscope", "zai", "kimi", "ark", "generic"]

_MB = 1_000_000
_SAMPLING = frozenset({"temperature", "seed", "stop", "response_format", "effort"})
_AUDIO = ("wav", "mp3")

# Qwen's models, which most servers of videos run: tokens of a frame, each of 28 x 28 pixels.
_QWEN_TOKENS: Mapping[Resolution, int] = {"low": 128, "medium": 256, "high": 768}
_QWEN_PIXELS = {name: tokens * 28 * 28 for name, tokens in _QWEN_TOKENS.items()}
_QWEN_RATES = TokenRates(frame=_QWEN_TOKENS, image=1280, image_pixels=28 * 28)
_QWEN = re.compile("qwen|qvq", re.IGNORECASE)
# Their own processor takes 4 to 768 pictures of a video, however long that is.
_QWEN_FRAMES = 768
# Only models of all senses hear a video's sound, and only when they are told to.
_OMNI = re.compile("omni", re.IGNORECASE)
# Temperature is fixed, and thinking always on: asking for another is refused.
_KIMI_FIXED = re.compile(r"k2\.7", re.IGNORECASE)
_GLM_45V = re.compile(r"4\.5v", re.IGNORECASE)
_OLDER_QWEN = re.compile(r"qwen-?vl|qwen2", re.IGNORECASE)

# A video from which a vendor takes stills by itself is one of at least so many.
_FEWEST_STILLS = 4


@dataclass(frozen=True, slots=True)
class Dialect:
    """`video`: the operator's word on what the models take; None leaves it to the dialect."""

    name: Name
    video: Literal["native", "frames"] | None = None

    def capabilities(self, model: str) -> Capabilities:
        """What is known without asking the server."""
        found = self._facts(model)
        if self.video == "frames":
            return replace(found, delivery=("frames",))
        if self.video == "native" and "file" not in found.delivery:
            return replace(found, delivery=("file", *found.delivery))
        return found

    def parts(self, part: FilePart | LinkPart | FramesPart, call: Call) -> list[dict[str, Any]]:
        """One video as parts of a message. Raises InputError where the server takes none such."""
        match part:
            case FramesPart():
                return self._stills(part, call)
            case LinkPart() if self.name == "llamacpp":
                return [{"type": "input_video", "input_video": {"url": self._address(part)}}]
            case LinkPart():
                return [self._video(self._address(part), part.view)]
            case FilePart() if "file" not in self.capabilities(call.model).delivery:
                raise InputError("This model takes pictures, not videos", loc=part.media.loc)
            case FilePart() if self.name == "llamacpp":
                # The word is OpenRouter's old one; the shape is its own.
                return [{"type": "input_video", "input_video": {"data": Base64(part.path)}}]
        return [self._video(Base64(part.path, f"data:{part.mime};base64,"), part.view)]

    def options(self, call: Call) -> dict[str, Any]:
        """What of the call goes beside the messages, in the server's own words."""
        return self._effort(call) | self.media_options(call)

    def media_options(self, call: Call) -> dict[str, Any]:
        """What the videos of the call need beside the messages."""
        match self.name:
            case "vllm":
                return _vllm(call, self._frame_list(call))
            case "sglang" if self._hears(call):
                return {"use_audio_in_video": True}
        return {}

    def _facts(self, model: str) -> Capabilities:
        match self.name:
            case "vllm":
                return _self_hosted(model, scales=_QWEN.search(model) is not None)
            case "sglang":
                return _self_hosted(model, scales=True)
            case "dashscope":
                return _dashscope(model)
            case "zai":
                return _zai(model)
            case "kimi":
                return _kimi(model)
        return _ANY_MODEL[self.name]

    def _video(self, url: Base64 | str, view: View) -> dict[str, Any]:
        inside: dict[str, Any] = {"url": url}
        beside: dict[str, Any] = {}
        match self.name:
            case "sglang":
                inside |= _told(fps=view.fps, max_frames=view.max_frames)
                if view.resolution:
                    inside["max_tokens_per_frame"] = _QWEN_TOKENS[view.resolution]
            case "dashscope":
                beside = _told(fps=view.fps)
                if view.resolution:
                    beside["max_pixels"] = _QWEN_PIXELS[view.resolution]
            case "ark":
                inside |= _told(fps=view.fps)
        return {"type": "video_url", "video_url": inside, **beside}

    def _address(self, part: LinkPart) -> str:
        """SGLang reads any path of its own disk that it is given, llama.cpp some: none of that."""
        if part.video is None or self.name in ("kimi", "ollama"):
            raise InputError("This model takes no links, only video files", loc=part.loc)
        if not re.match("https?://", part.url, re.IGNORECASE):
            raise InputError("Only http:// and https:// addresses are passed on", loc=part.loc)
        return part.url

    def _stills(self, part: FramesPart, call: Call) -> list[dict[str, Any]]:
        if part is self._frame_list(call):
            urls = tuple(still.path for still in part.stills)
            film = Base64(urls[0], "data:video/jpeg;base64,", urls[1:])
            return [self._video(film, View()), *_spoken(part)]
        if self.name == "dashscope" and self._reads_stills(part):
            images = [Base64(still.path, "data:image/jpeg;base64,") for still in part.stills]
            return [{"type": "video", "video": images, **_told(fps=part.fps)}, *_spoken(part)]
        # Those who are not known to read OpenAI's `detail` may stumble over it.
        says_detail = self.name in ("vllm", "sglang", "ark", "generic")
        return frames.parts(part, call, says_detail=says_detail)

    def _frame_list(self, call: Call) -> FramesPart | None:
        """The video that vLLM gets as a list of stills with their true times. There is one place
        for those in a request, so it must be the only one; and the model must be known to take
        videos, for stills are also what is sent when it turned out to take none."""
        found = [p for p in call.parts if isinstance(p, FilePart | LinkPart | FramesPart)]
        if self.name == "vllm" and self.video == "native" and len(found) == 1:
            [part] = found
            if isinstance(part, FramesPart) and self._reads_stills(part):
                return part
        return None

    def _reads_stills(self, part: FramesPart) -> bool:
        """As one video: several, all of one size, at a steady pace."""
        sizes = {(still.width, still.height) for still in part.stills}
        has_pace = self.name == "vllm" or part.fps is not None
        return (
            self.video != "frames"
            and len(part.stills) >= _FEWEST_STILLS
            and len(sizes) == 1
            and has_pace
        )

    def _hears(self, call: Call) -> bool:
        return _OMNI.search(call.model) is not None and any(
            isinstance(part, FilePart | LinkPart) and part.view.audio is not False
            for part in call.parts
        )

    def _effort(self, call: Call) -> dict[str, Any]:
        effort = call.effort
        if effort is None:
            return {}
        thinks = effort != "none"
        level = {"minimal": "low", "xhigh": "high", "max": "high"}.get(effort, effort)
        match self.name:
            case "vllm":
                template = {"chat_template_kwargs": {"enable_thinking": thinks}}
                return template | ({"reasoning_effort": level} if thinks else {})
            case "sglang" | "llamacpp":
                return {"chat_template_kwargs": {"enable_thinking": thinks}}
            case "dashscope":
                budget = {"thinking_budget": _BUDGETS[level]} if thinks else {}
                return {"enable_thinking": thinks} | budget
            case "zai" | "kimi" | "ark":
                return {"thinking": {"type": "enabled" if thinks else "disabled"}}
        return {"reasoning_effort": level}


# ---------------------------------------------------------------- what each takes

# Those of whom nothing more is known by the name of a model.
_ANY_MODEL: Mapping[Name, Capabilities] = {
    "llamacpp": Capabilities(
        delivery=("file", "frames"),
        images=("png", "jpeg", "gif"),
        audio=_AUDIO,
        options=_SAMPLING,
        fps=4.0,
    ),
    "ollama": Capabilities(delivery=("frames",), images=("png", "jpeg", "webp"), options=_SAMPLING),
    "ark": Capabilities(
        delivery=("url", "file", "frames"),
        images=IMAGE_FORMATS,
        audio=_AUDIO,
        options=(_SAMPLING - {"seed"}) | {"fps"},
        containers=("mp4", "mov", "avi"),
    ),
    "generic": Capabilities(
        delivery=("file", "frames"), images=IMAGE_FORMATS, audio=_AUDIO, options=_SAMPLING
    ),
}


def _self_hosted(model: str, *, scales: bool) -> Capabilities:
    """Not by address: the server would fetch it from inside the operator's network, past every
    check that is made here."""
    hears = _OMNI.search(model) is not None
    more = {"fps", "max_frames"} | ({"resolution"} if scales else set())
    more |= {"audio"} if hears else set()
    is_qwen = _QWEN.search(model) is not None
    return Capabilities(
        delivery=("file", "frames"),
        images=IMAGE_FORMATS,
        audio=_AUDIO,
        hears=hears,
        options=_SAMPLING | more,
        containers=("mp4", "mov", "webm", "mpeg", "matroska", "avi"),
        fps=2.0 if is_qwen else 1.0,
        max_sampled_frames=_QWEN_FRAMES if is_qwen else None,
        rates=_QWEN_RATES if is_qwen else None,
    )


def _dashscope(model: str) -> Capabilities:
    is_older = _OLDER_QWEN.search(model) is not None
    return Capabilities(
        delivery=("url", "file", "frames"),
        images=IMAGE_FORMATS,
        audio=_AUDIO,
        hears=_OMNI.search(model) is not None,
        options=_SAMPLING | {"fps", "resolution"},
        containers=("mp4", "mov", "matroska", "avi"),
        max_seconds=600 if is_older else 3600,
        max_bytes=1000 * _MB if is_older else 2000 * _MB,
        max_request_bytes=10 * _MB,
        fps=2.0,
        rates=_QWEN_RATES,
    )


def _zai(model: str) -> Capabilities:
    is_older = _GLM_45V.search(model) is not None
    return Capabilities(
        delivery=("url", "file", "frames"),
        images=("png", "jpeg"),
        options=_SAMPLING - {"seed"},
        containers=("mp4", "mov", "matroska"),
        max_videos=1 if is_older else 2,
        max_bytes=200 * _MB,
        max_images=50 if is_older else 150,
        max_image_bytes=5 * _MB,
        max_image_side=6000,
    )


def _kimi(model: str) -> Capabilities:
    fixed = {"temperature", "effort"} if _KIMI_FIXED.search(model) else set()
    return Capabilities(
        delivery=("file", "frames"),
        images=IMAGE_FORMATS,
        options=_SAMPLING - {"seed"} - fixed,
        containers=("mp4", "mov", "webm", "mpeg", "avi", "flv"),
        max_bytes=100 * _MB,
    )


# ---------------------------------------------------------------- what goes beside the messages

# Tokens to think with: the share of a long answer that each effort gets elsewhere.
_BUDGETS = {"low": 2048, "medium": 8192, "high": 32768}


def _vllm(call: Call, film: FramesPart | None) -> dict[str, Any]:
    """Sampling is told per request, to the loader, and to Qwen's own processor behind it. A rate
    alone takes away the default number of frames."""
    if film is not None:
        return {"media_io_kwargs": {"video": _times(film)}}
    videos = [part for part in call.parts if isinstance(part, FilePart | LinkPart)]
    view = next((part.view for part in videos if part.view != View()), View())
    loader = _told(fps=view.fps, num_frames=view.max_frames)
    processor: dict[str, Any] = _told(fps=view.fps) if _QWEN.search(call.model) else {}
    if view.resolution:
        processor["max_pixels"] = _QWEN_PIXELS[view.resolution]
    if videos and _OMNI.search(call.model) and view.audio is not False:
        processor["use_audio_in_video"] = True
    return _told(
        media_io_kwargs={"video": loader} if loader else None,
        mm_processor_kwargs=processor or None,
    )


def _times(film: FramesPart) -> dict[str, Any]:
    """When each still was, as numbers of frames of the whole video."""
    fps = film.video.fps or 30.0
    indices = [round(still.seconds * fps) for still in film.stills]
    seconds = film.video.seconds or film.stills[-1].seconds
    return {
        "num_frames": -1,
        "fps": fps,
        "frames_indices": indices,
        "total_num_frames": max(round(seconds * fps), indices[-1] + 1),
        "duration": seconds,
    }


def _spoken(part: FramesPart) -> list[dict[str, Any]]:
    said = frames.transcript(part)
    return [{"type": "text", "text": said}] if said else []


def _told(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def as_told(known: Capabilities, modalities: Collection[str]) -> Capabilities:
    """What is known, less what the server says that its model does not do."""
    sees, watches = "image" in modalities, "video" in modalities
    return replace(
        known,
        delivery=tuple(form for form in known.delivery if (sees if form == "frames" else watches)),
        images=known.images if sees else (),
        audio=known.audio if "audio" in modalities else (),
    )
