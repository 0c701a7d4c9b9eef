"""The plain records that the parts hand to each other. No behaviour, no imports of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

Mode = Literal["run", "stream", "queue"]
Kind = Literal["video", "image", "audio", "pdf"]
Api = Literal["chat", "responses", "embeddings"]
Found = Literal["url", "data", "upload", "path"]
State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Level = Literal["DEBUG", "INFO", "WARN", "ERROR"]
CostSource = Literal["billed", "computed", "free", "unknown"]
BudgetPer = Literal["day", "month", "total"]
Resolution = Literal["low", "medium", "high"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
# How a video gets to a model: its bytes (inline or uploaded), an address that the upstream fetches,
# a YouTube link, stills and transcript, or pictures and samples for a model that runs here.
Form = Literal["file", "url", "link", "frames", "decoded"]

# What is told apart by content and taken in, each by the word that OpenAI's API has for it. Opus is
# meant in Ogg, webm without pictures.
IMAGE_FORMATS = ("png", "jpeg", "webp", "gif")
AUDIO_FORMATS = ("wav", "mp3", "flac", "ogg", "opus", "m4a", "aac", "aiff", "webm")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """What a key may do at most. None, or no models: no limit of its own.

    `models`: names; one that ends in "*" is a beginning. `per_minute`: calls; `running`: requests
    at once. `budget`: US dollars per `budget_per`, in UTC.
    """

    models: tuple[str, ...] = ()
    per_minute: int | None = None
    running: int | None = None
    budget: Decimal | None = None
    budget_per: BudgetPer = "month"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking. `apps`: the only endpoint aliases a temporary token may call; None: all.

    `scopes`: CALL models, FILES, both by the name of API, or ADMIN, which is everything.
    """

    key_id: str
    scopes: frozenset[str] = frozenset({"API"})
    apps: frozenset[str] | None = None
    limits: KeyLimits = KeyLimits()


# ---------------------------------------------------------------- what came in


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """Bytes that came with the request: a data URI taken out of the JSON body while it arrived
    and decoded to a file, or (command line only) a file of the user's.

    The document holds a placeholder in its place; the placeholder is random, and means something
    only as a key of this request's own `attachments`, so nobody can forge one. `content_type` is
    empty for bare base64. Exactly one of `path` (a spooled file, gone when the request ends) and
    `object` (kept in storage under this key, for queued jobs) is set, unless `problem` says why
    there are no bytes.
    """

    content_type: str
    found: Literal["data", "path"] = "data"
    origin: str = "data URI"
    bytes: int = 0
    sha256: str = ""
    path: Path | None = None
    object: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call as it arrived, whichever of the three modes. Only `inference` validates it.

    `checkpoints`: what earlier attempts at it got done and was kept, by name (see Checkpoint).
    """

    id: str
    endpoint: str
    mode: Mode
    caller: Caller
    document: Any
    attachments: Mapping[str, Attachment] = field(default_factory=dict)
    attempt: int = 1
    checkpoints: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MediaName:
    """One medium as the input names it: a URL, a data URI or a placeholder.

    `loc` is where in the input it stands, `index` its place among those of its kind.
    """

    text: str
    loc: tuple[str | int, ...]
    kind: Kind = "video"
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A body of OpenAI's API, for providers that speak it too.

    `body` is what the caller sent, but for long data URIs: those that are no medium of the request
    are in it as objects that the provider's request body knows how to send. Media stand in it as
    they came; the `loc` of each part, without its "body", is where the provider's own goes.
    """

    api: Api
    body: Mapping[str, Any]
    is_streamed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What of a video is looked at, and how closely. None: as the route does by itself.

    `fps`: frames per second of the clip; `start`, `end`: seconds of the clip; `max_frames`: the
    most frames of one video; `audio`: False leaves the sound out, True insists on it.
    """

    fps: float | None = None
    start: float | None = None
    end: float | None = None
    max_frames: int | None = None
    resolution: Resolution | None = None
    audio: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterRequest:
    """The validated input of a router endpoint, plus Telecine's own options (docs/reference).

    `reasoning`: whether the model's reasoning comes with the answer; `effort`: how much of it is
    wanted. `response_format`: OpenAI's object, `{"type": "json_schema", "json_schema": {"name",
    "schema", "strict"}}`, `{"type": "json_object"}` or `{"type": "text"}`. `models`: asked in order
    when `model` fails. `provider`: OpenRouter's routing object, passed on.

    `conversation`: it came in OpenAI's words. `prompt` and the rest then hold what a provider that
    does not speak them can be asked instead, and `unsaid` names what of it that leaves out.
    `web_search`: the options of a wanted search, maybe none; None: no search is wanted.
    """

    prompt: str
    model: str
    media: tuple[MediaName, ...] = ()
    system_prompt: str | None = None
    view: View = View()
    reasoning: bool = False
    effort: Effort | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    response_format: Mapping[str, Any] | None = None
    models: tuple[str, ...] = ()
    provider: Mapping[str, Any] | None = None
    web_search: Mapping[str, Any] | None = None
    receipt: bool = False
    strict: bool = False
    conversation: Conversation | None = None
    unsaid: tuple[str, ...] = ()


# ---------------------------------------------------------------- media


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """Bytes on this machine's disk that were opened and looked at.

    `found`: how they were named. `origin`: that name, cut to something fit for a log (no query
    strings, no data). `loc` points at the input field it came from. What it is was told by
    content, never by name.
    """

    index: int
    found: Found
    origin: str
    loc: tuple[str | int, ...]
    path: Path
    bytes: int
    sha256: str
    mime: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Video(Media):
    """`container` is one of mp4, mov, webm, mpeg (or what FFmpeg calls it). `seconds` is None when
    neither header nor packets tell."""

    container: str
    seconds: float | None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    rotation: int = 0
    video_codec: str | None = None
    audio_codec: str | None = None

    @property
    def has_audio(self) -> bool:
        return self.audio_codec is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image(Media):
    """`format` is one of IMAGE_FORMATS. Width and height are as stored."""

    format: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio(Media):
    """`format` is one of AUDIO_FORMATS. `wav`: the same sound as 16 kHz mono WAV, of `wav_bytes`,
    where the model does not take the format that it came in."""

    format: str
    seconds: float | None
    codec: str
    wav: Path | None = None
    wav_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pdf(Media):
    """A document. Nothing here looks further into it than its first bytes."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture, upright: `rgb` is height x width x 3 bytes; `seconds` is its time in the clip.

    `cuts` are the exact times of the shot changes since the frame given before this one, in
    order, the last of them at or before `seconds`; so a frame with cuts is the first of a new shot.
    """

    seconds: float
    width: int
    height: int
    rgb: bytes
    cuts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """Sound: 16 kHz mono signed 16-bit little-endian samples, starting at `seconds` in the clip."""

    seconds: float
    pcm: bytes


class Decoder(Protocol):
    """Decodes in the limited process pool; both iterators stop the work when closed early."""

    def audio(self, media: Video | Audio) -> AsyncIterator[AudioChunk]:
        """The whole default audio track in chunks of about a second; nothing if there is none."""
        ...

    async def picture(self, image: Image, *, max_side: int) -> Frame:
        """An image, upright, scaled down so that no side exceeds `max_side` pixels."""
        ...

    def frames(self, video: Video, *, fps: float, max_side: int) -> AsyncIterator[Frame]:
        """Frames sampled at `fps`, scaled down so that no side exceeds `max_side` pixels.

        The first frame is always given, and the last one too when a shot change came after the
        last sample, so that `cuts` of all frames together are all shot changes of the video.
        `seconds` never falls; frames of a damaged video end where it cannot be decoded further.
        """
        ...


# ---------------------------------------------------------------- what goes to a provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A file made from a video for one route: cut, sampled, scaled, silenced or re-encoded.

    `start`: the second of the clip at which it begins.
    """

    path: Path
    bytes: int
    sha256: str
    mime: str
    container: str
    seconds: float | None
    width: int | None
    height: int | None
    fps: float | None
    has_audio: bool
    start: float = 0.0


@dataclass(frozen=True, slots=True)
class FilePart:
    """The video as a file: the adapter inlines or uploads it, streaming from `path`.

    `view`: what of it the upstream is to be told in its own words; what was done to the file
    already (`prepared`) is not in it any more.
    """

    video: Video
    view: View = View()
    prepared: Prepared | None = None

    @property
    def media(self) -> Media:
        return self.video

    @property
    def path(self) -> Path:
        return (self.prepared or self.video).path

    @property
    def bytes(self) -> int:
        return (self.prepared or self.video).bytes

    @property
    def sha256(self) -> str:
        return (self.prepared or self.video).sha256

    @property
    def mime(self) -> str:
        return (self.prepared or self.video).mime

    @property
    def seconds(self) -> float | None:
        return (self.prepared or self.video).seconds

    @property
    def has_audio(self) -> bool:
        return (self.prepared or self.video).has_audio


@dataclass(frozen=True, slots=True)
class LinkPart:
    """The video as an address that the upstream fetches itself: on YouTube (`video` is None), or
    any other http(s) URL, of which `video` is what was found there when it was looked at here."""

    url: str
    loc: tuple[str | int, ...]
    view: View = View()
    video: Video | None = None


@dataclass(frozen=True, slots=True)
class Still:
    """One picture of a video as a JPEG file; `seconds` is its time in the clip."""

    seconds: float
    path: Path
    bytes: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Words:
    """What was said from `start` to `end`, in seconds of the clip."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class FramesPart:
    """The video as stills with their times, and what is said meanwhile: for models that take
    images but no video. Both in the order of time. `fps`: the rate at which the stills were taken.
    """

    video: Video
    stills: tuple[Still, ...]
    words: tuple[Words, ...] = ()
    fps: float | None = None

    @property
    def media(self) -> Media:
        return self.video


@dataclass(frozen=True, slots=True)
class ImagePart:
    """The image as a file, to be streamed from `image.path`."""

    image: Image

    @property
    def media(self) -> Media:
        return self.image


@dataclass(frozen=True, slots=True)
class AudioPart:
    """The sound as a file: of `format`, to be streamed from `path`."""

    audio: Audio

    @property
    def media(self) -> Media:
        return self.audio

    @property
    def path(self) -> Path:
        return self.audio.wav or self.audio.path

    @property
    def format(self) -> str:
        return "wav" if self.audio.wav else self.audio.format


@dataclass(frozen=True, slots=True)
class PdfPart:
    """The document as a file, to be streamed from `pdf.path`."""

    pdf: Pdf

    @property
    def media(self) -> Media:
        return self.pdf


@dataclass(frozen=True, slots=True)
class DecodedPart:
    """A video, image or sound as pictures and samples, decoded on demand: for embedded models."""

    media: Video | Image | Audio
    decoder: Decoder


Part = FilePart | LinkPart | FramesPart | ImagePart | AudioPart | PdfPart | DecodedPart


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRates:
    """What media come to in prompt tokens, for estimates and budgets; never for a bill.

    `frame`: one frame of a video that the model samples itself, by resolution. `audio_second`: a
    second of its sound. A still counts `image` tokens, or, with `image_pixels`, one per so many
    pixels and `image` at most.
    """

    frame: Mapping[Resolution, int]
    audio_second: float = 0.0
    image: int = 1000
    image_pixels: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What one model on one route takes. None: no limit known.

    `delivery`: the forms in which videos get there, the preferred first; empty: it takes none.
    `images` and `audio`: the formats that may be sent to it; empty: it takes none. `containers`: of
    videos as files. `hears`: the sound of a video that is sent as a file or link reaches the model.
    `options`: the names of those options of the input that this route honours itself (of `View`,
    and effort, response_format, seed, stop, temperature, provider); what it does not is done here
    where that is possible. `fps`: the rate at which it samples when nothing is said, and
    `max_sampled_frames` how many frames of one video it looks at, however long that is.
    `max_bytes` and `max_seconds` are of one video, `max_request_bytes` of a whole body, base64
    included; `max_images` counts the stills of all videos, and `max_image_side` is in pixels.
    """

    delivery: tuple[Form, ...]
    images: tuple[str, ...] = ()
    audio: tuple[str, ...] = ()
    pdfs: bool = False
    web_search: bool = False
    hears: bool = False
    containers: tuple[str, ...] = ("mp4", "mov", "webm", "mpeg")
    options: frozenset[str] = frozenset()
    max_videos: int | None = None
    max_seconds: float | None = None
    max_bytes: int | None = None
    max_request_bytes: int | None = None
    max_images: int | None = None
    max_image_bytes: int | None = None
    max_image_side: int | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    fps: float = 1.0
    max_sampled_frames: int | None = None
    rates: TokenRates | None = None

    @property
    def is_decoded(self) -> bool:
        """Media are opened here, and what is in them is handed on."""
        return "decoded" in self.delivery and "file" not in self.delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One question to one model. `request_id` is for idempotency keys and the upstream's logs;
    `text_loc` is where in the input its text stands. An option that the route's Capabilities do not
    name is not in it."""

    request_id: str
    model: str
    prompt: str
    parts: tuple[Part, ...] = ()
    system_prompt: str | None = None
    reasoning: bool = False
    effort: Effort | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    response_format: Mapping[str, Any] | None = None
    provider: Mapping[str, Any] | None = None
    web_search: Mapping[str, Any] | None = None
    text_loc: tuple[str | int, ...] = ("body", "prompt")


# ---------------------------------------------------------------- what comes back: events


@dataclass(frozen=True, slots=True)
class Log:
    message: str
    level: Level = "INFO"


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of the answer, of the reasoning, or of both."""

    text: str = ""
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next piece of the answer to a Conversation, in OpenAI's words: a chunk or an event of its
    stream, or the whole answer at once. Decimals in it are numbers of its JSON."""

    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens, and the cost in US dollars with where the figure comes from.

    A provider reports what its upstream said: `cost` with "billed" when the upstream names a
    price, else None with "unknown" (or 0 with "free"); the ledger may turn that into "computed".
    `by_modality` holds prompt tokens per modality when told ("text", "video", "audio", "image").
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cost: Decimal | None = None
    cost_source: CostSource = "unknown"
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    by_modality: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Who really answered: goes into the receipt. Sent as soon as known; the last one counts."""

    id: str | None = None
    model: str | None = None
    provider: str | None = None
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call to a model has begun, and may be billed from now on: said again when the upstream's
    own id for it is known. `call` is an id of its own, made before anything is sent; the Bill with
    the same one ends it, unless the run is cut off."""

    call: str
    provider: str
    model: str
    upstream_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What one call to a model used: a row of the ledger. A request may have several (segments,
    fallbacks); its Usage is their sum. `usage` None: it was refused, and nothing was billed.
    `call`: the id of the call, of which there is one row, however often it is written.
    `upstream_id`: what a cost not known yet is asked by. `price_source`: where the price of a
    computed cost comes from."""

    call: str
    usage: Usage | None
    provider: str
    model: str
    upstream_id: str | None = None
    price_source: str | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Work done and paid for that another attempt need not do again: kept, with the bills before
    it, before the run goes on. A later attempt finds `body` (plain JSON) in the request's
    `checkpoints` under `name`."""

    name: str
    body: Mapping[str, Any]


class Receipt:
    """Proof of what the model was given: plain JSON, shape in docs/reference/receipt.md.

    It is written down when it is first looked at: most are overtaken by the next one before.
    """

    def __init__(self, write: Callable[[], Mapping[str, Any]]) -> None:
        self._write = write

    @cached_property
    def body(self) -> Mapping[str, Any]:
        return self._write()


@dataclass(frozen=True, slots=True)
class Done:
    """The last event of a run that went well."""

    finish_reason: str | None = None


ProviderEvent = Log | Delta | Chunk | Usage | Upstream
Event = Log | Delta | Chunk | Asked | Bill | Checkpoint | Usage | Receipt | Done


@dataclass(slots=True)
class Outcome:
    """What a run has come to so far; the consumers of `inference.run` fill it event by event.

    `answer`: the whole answer to a Conversation, in OpenAI's words.
    """

    output: str = ""
    reasoning: str = ""
    answer: Mapping[str, Any] | None = None
    usage: Usage | None = None
    receipt: Receipt | None = None
    finish_reason: str | None = None
    is_done: bool = False


# ---------------------------------------------------------------- rows


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    message: str
    level: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The answer of a finished request, ready to be sent as often as it is asked for."""

    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A request's row: what `status` and `result` need."""

    id: str
    endpoint: str
    mode: Mode
    key_id: str
    state: State
    attempt: int
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    queue_position: int | None = None
    cancel_requested: bool = False
    inference_seconds: float | None = None
    error: str | None = None
    error_type: str | None = None
    result: Result | None = None
    logs: Sequence[LogLine] = ()
