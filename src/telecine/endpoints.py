"""Every endpoint: its id, what it takes, what it gives. The only home of the inputs' field names.

The models here judge the input, and the published documents are made from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from telecine import options
from telecine.errors import InputError, NotFound, Problem
from telecine.models import (
    Api,
    Conversation,
    Effort,
    Kind,
    MediaName,
    Resolution,
    RouterRequest,
    View,
)
from telecine.openai import bodies

MAX_MEDIA = 100
OPENAI_BASE = "openrouter/router/openai/v1"

# ---------------------------------------------------------------- inputs


def _unicode(text: str) -> str:
    """Half a surrogate pair is legal JSON but no text: no provider, file or table can hold it."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise PydanticKnownError("string_unicode") from None
    return text


def _machine_integer(number: int) -> int:
    if number >= 2**63:
        raise PydanticKnownError("less_than_equal", {"le": 2**63 - 1})
    return number


def _few(noun: str, given: Any) -> Any:
    """Refused before the items are looked at: each bad one would be an entry of its own."""
    if isinstance(given, list) and len(given) > MAX_MEDIA:
        raise PydanticCustomError(
            "sequence_too_long",
            f"At most {{max_length}} {noun} in one request",
            {"max_length": MAX_MEDIA},
        )
    return given


Text = Annotated[str, AfterValidator(_unicode)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Tokens = Annotated[int, Field(ge=1), AfterValidator(_machine_integer)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
# What pydantic says of no bool and no word would name both of its attempts.
Reasoning = Annotated[bool | Effort, PlainValidator(options.reasoning, json_schema_input_type=bool)]
Moment = Annotated[
    float,
    Field(ge=0, le=options.MAX_SECONDS, allow_inf_nan=False),
    BeforeValidator(options.moment),
]
Name = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_unicode)]
Stops = Annotated[list[Name], Field(max_length=options.MAX_STOPS), BeforeValidator(options.stops)]
Models = Annotated[list[Name], Field(max_length=options.MAX_MODELS)]
Format = Annotated[dict[str, Any] | None, BeforeValidator(options.response_format)]

_SEED: TypeAdapter[int] = TypeAdapter(Seed)
_STOPS: TypeAdapter[list[str]] = TypeAdapter(Stops)
_FORMAT: TypeAdapter[dict[str, Any] | None] = TypeAdapter(Format)
_EFFORT: TypeAdapter[Effort] = TypeAdapter(Effort)

_TAKEN = ConfigDict(extra="ignore", from_attributes=True, hide_input_in_errors=True)


class ChatInput(BaseModel):
    """What every router endpoint takes. Null is as good as absent for whatever has a default."""

    model_config = _TAKEN

    prompt: Text = Field(description="What to do with the input.")
    system_prompt: Text | None = Field(
        None, description="Context or instructions that the model follows throughout."
    )
    model: Text = Field(
        description="The model to ask. Charged by the tokens it uses.",
        examples=["google/gemini-2.5-flash", "google/gemini-2.5-pro"],
    )
    reasoning: Reasoning | None = Field(
        False,
        description=(
            "Whether the model's reasoning comes with the answer. Or how much of it is wanted:"
            " none, minimal, low, medium, high, xhigh or max; it then comes too, unless it is none."
        ),
    )
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = Field(
        1,
        description="How varied the answer may be: 0 for the likeliest words, 2 for the boldest.",
    )
    max_tokens: Tokens | None = Field(None, description="The most tokens the answer may have.")
    response_format: Format = Field(
        None,
        description=(
            "OpenAI's object: an answer in JSON, of a schema if one is given. The schema may refer"
            " only to itself."
        ),
    )
    seed: Seed | None = Field(
        None, description="The same seed and input give the same answer, as far as the model can."
    )
    stop: Stops | None = Field(
        None, description="Texts at which the answer ends, without them: one, or up to four."
    )
    models: Models | None = Field(
        None, description="Models to ask one after the other when `model` fails."
    )
    provider: Annotated[dict[str, Any], BeforeValidator(options.bounded)] | None = Field(
        None, description="OpenRouter's routing object, passed on to it."
    )
    strict: bool | None = Field(
        False, description="Refuses what would otherwise be a warning in the receipt."
    )
    receipt: bool | None = Field(False, description="Adds the receipt to the result.")


class _Searching(BaseModel):
    """For the endpoints that may look things up on the web."""

    enable_web_search: bool | None = Field(
        False, description="Whether the model may search the web. Costs extra."
    )
    web_search_options: Annotated[dict[str, Any], BeforeValidator(options.bounded)] | None = Field(
        None,
        description=(
            "How to search: engine, max_results, search_prompt, search_context_size. Only with"
            " enable_web_search."
        ),
    )


class RouterInput(_Searching, ChatInput):
    """Input of `openrouter/router`."""


class VideoInput(ChatInput):
    """Input of `openrouter/router/video`."""

    video_urls: Annotated[list[Text] | None, BeforeValidator(partial(_few, "videos"))] = Field(
        None,
        description=(
            "URLs or data URIs of the videos: mp4, mpeg, mov, webm. Models that fetch YouTube"
            " links themselves take those too. Mutually exclusive with video_url."
        ),
    )
    video_url: Text | None = Field(None, description="One video: the same as a list of one.")
    fps: Annotated[float, Field(gt=0, le=24, allow_inf_nan=False)] | None = Field(
        None, description="Frames that are looked at per second of video."
    )
    start: Moment | None = Field(
        None,
        description=(
            "Where to begin in each video: seconds, or a text such as 40s, 1:30 or 0:01:30."
        ),
    )
    end: Moment | None = Field(None, description="Where to end in each video, written likewise.")
    max_frames: Tokens | None = Field(None, description="The most frames of one video.")
    resolution: Resolution | None = Field(
        None, description="How closely each frame is looked at, and what it costs in tokens."
    )
    audio: bool | None = Field(
        None, description="False leaves the sound out, true insists that it is heard."
    )


class VisionInput(_Searching, ChatInput):
    """Input of `openrouter/router/vision`."""

    image_urls: Annotated[list[Text], BeforeValidator(partial(_few, "images"))] = Field(
        description="URLs or data URIs of the images: png, jpeg, webp, gif."
    )
    pdf_urls: Annotated[list[Text] | None, BeforeValidator(partial(_few, "documents"))] = Field(
        None, description="URLs or data URIs of PDF documents, for models that take files."
    )


class AudioInput(ChatInput):
    """Input of `openrouter/router/audio`."""

    audio_url: Text = Field(
        description="URL or data URI of the sound: wav, mp3, aiff, aac, ogg, opus, flac, m4a."
    )


class _OpenAIBody(BaseModel):
    """What of a body of OpenAI's API is looked at here. The provider judges the rest."""

    model_config = _TAKEN

    model: Text
    stream: bool | None = False
    temperature: Number | None = None
    models: Models | None = None
    provider: Annotated[dict[str, Any], BeforeValidator(options.bounded)] | None = None


class _ChatBody(_OpenAIBody):
    messages: list[dict[str, Any]]
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None


class _ResponsesBody(_OpenAIBody):
    input: Any = None
    instructions: Any = None
    max_output_tokens: Tokens | None = None


class _EmbeddingsBody(_OpenAIBody):
    input: Any


# ---------------------------------------------------------------- outputs


class UsageInfo(BaseModel):
    """Tokens and cost."""

    prompt_tokens: int | None = Field(None, description="Tokens that went in.")
    completion_tokens: int | None = Field(None, description="Tokens that came out.")
    total_tokens: int = Field(0, description="Both together.")
    cost: float = Field(description="In US dollars.")


class _Output(BaseModel):
    output: str = Field(description="The answer.")
    usage: UsageInfo | None = Field(None, description="What it took.")


class ChatOutput(_Output):
    """Output of `openrouter/router`."""

    reasoning: str | None = Field(None, description="What the model thought, if that was wanted.")
    partial: bool = Field(False, description="Whether the answer goes on.")
    error: str | None = Field(None, description="What went wrong, if something did.")


class VideoOutput(_Output):
    """Output of `openrouter/router/video`."""


class VisionOutput(_Output):
    """Output of `openrouter/router/vision`."""


class AudioOutput(_Output):
    """Output of `openrouter/router/audio`."""


# ---------------------------------------------------------------- from input to request


def _request(given: ChatInput, media: tuple[MediaName, ...] = (), **more: Any) -> RouterRequest:
    return RouterRequest(
        prompt=given.prompt,
        model=given.model,
        media=media,
        system_prompt=given.system_prompt,
        **_reasoning(given),
        # fal's default of 1 is the models' own: what nobody asked for is not sent.
        temperature=given.temperature if "temperature" in given.model_fields_set else None,
        max_tokens=given.max_tokens,
        seed=given.seed,
        stop=tuple(given.stop or ()),
        # Text is what comes anyway.
        response_format=None
        if given.response_format == {"type": "text"}
        else given.response_format,
        models=tuple(given.models or ()),
        provider=given.provider,
        receipt=bool(given.receipt),
        strict=bool(given.strict),
        **more,
    )


def _reasoning(given: ChatInput) -> dict[str, Any]:
    if isinstance(given.reasoning, str):
        return {"reasoning": given.reasoning != "none", "effort": given.reasoning}
    return {"reasoning": bool(given.reasoning)}


def _text(given: RouterInput) -> RouterRequest:
    return _request(given, **_search(given))


def _search(given: _Searching) -> dict[str, Any]:
    if given.enable_web_search:
        return {"web_search": given.web_search_options or {}}
    if given.web_search_options:
        return {"unsaid": ("web_search_options without enable_web_search",)}
    return {}


def _names(texts: Sequence[str] | None, field: str, kind: Kind) -> tuple[MediaName, ...]:
    return tuple(
        MediaName(text, ("body", field, index), kind, index)
        for index, text in enumerate(texts or ())
    )


def _video(given: VideoInput) -> RouterRequest:
    if given.video_url is not None and given.video_urls:
        raise InputError(
            "Give either video_urls or video_url, not both",
            input={"video_urls": brief(given.video_urls), "video_url": brief(given.video_url)},
        )
    view = _view(given)
    if given.video_url is not None:
        return _request(given, (MediaName(given.video_url, ("body", "video_url")),), view=view)
    return _request(given, _names(given.video_urls, "video_urls", "video"), view=view)


def _view(given: VideoInput) -> View:
    start = given.start or 0.0
    if given.end is not None and given.end <= start:
        raise InputError(
            f"Input should be greater than {start:g}",
            loc=("body", "end"),
            type="greater_than",
            ctx={"gt": start},
            input=given.end,
        )
    return View(
        fps=given.fps,
        start=given.start,
        end=given.end,
        max_frames=given.max_frames,
        resolution=given.resolution,
        audio=given.audio,
    )


def _vision(given: VisionInput) -> RouterRequest:
    images = _names(given.image_urls, "image_urls", "image")
    media = images + _names(given.pdf_urls, "pdf_urls", "pdf")
    return _request(given, media, **_search(given))


def _audio(given: AudioInput) -> RouterRequest:
    return _request(given, (MediaName(given.audio_url, ("body", "audio_url"), "audio"),))


def _openai(api: Api, given: _OpenAIBody, document: Mapping[str, Any]) -> RouterRequest:
    plain, media = bodies.plain(api, document), bodies.media(api, document)
    if len(media) > MAX_MEDIA:
        raise InputError(
            f"At most {MAX_MEDIA} images, sounds and videos in one request",
            loc=media[MAX_MEDIA].loc,
            type="sequence_too_long",
            ctx={"max_length": MAX_MEDIA},
        )
    limit: int | None = None
    match given:
        case _ChatBody():
            limit = given.max_completion_tokens or given.max_tokens
        case _ResponsesBody():
            limit = given.max_output_tokens
    if given.models:
        # They are tried here: their names may be those of other providers.
        document = {name: value for name, value in document.items() if name != "models"}
    said, unsaid = _said(api, document)
    return RouterRequest(
        prompt=plain.prompt,
        model=given.model,
        media=media,
        system_prompt=plain.system_prompt,
        reasoning=bodies.wants_reasoning(document),
        temperature=given.temperature,
        max_tokens=limit,
        models=tuple(given.models or ()),
        provider=given.provider,
        conversation=Conversation(api=api, body=document, is_streamed=bool(given.stream)),
        unsaid=(*plain.unsaid, *unsaid),
        **said,
    )


def _said(api: Api, document: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The options of the body for providers that do not speak OpenAI's API, and the names of those
    that would mean nothing to them. One that does judges them all by itself."""
    said: dict[str, Any] = {}
    unsaid = []
    taken: tuple[tuple[str, TypeAdapter[Any], Any], ...] = (
        ("seed", _SEED, document.get("seed") if api == "chat" else None),
        ("stop", _STOPS, document.get("stop") if api == "chat" else None),
        ("response_format", _FORMAT, bodies.response_format(api, document)),
        ("effort", _EFFORT, bodies.effort(document)),
    )
    for name, kind, given in taken:
        try:
            value = None if given is None else kind.validate_python(given)
        except ValidationError:
            unsaid.append(name)
            continue
        if value is not None:
            said[name] = tuple(value) if name == "stop" else value
    return said, unsaid


# ---------------------------------------------------------------- the table


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint id: what it takes, what it gives. `order` holds the properties that fal has.

    `api`: the endpoint speaks OpenAI's JSON, of which fal publishes no schema: `output` is None.
    `title` and `output_title` are those of the published schemas; `example` is an input that works.
    """

    id: str
    category: str
    description: str
    input: type[BaseModel]
    read: Callable[[Any, Any], RouterRequest]
    example: Mapping[str, Any]
    order: tuple[str, ...] = ()
    output: type[BaseModel] | None = None
    title: str = ""
    output_title: str = ""
    api: Api | None = None

    @property
    def app(self) -> str:
        """`owner/alias`: the part that queue URLs keep."""
        return "/".join(self.id.split("/")[:2])

    @property
    def fields(self) -> tuple[str, ...]:
        """The published properties: fal's in its order, then those of this endpoint, then those
        of every one."""
        others = [each for each in self.input.model_fields if each not in self.order]
        return (*self.order, *sorted(others, key=ChatInput.model_fields.__contains__))

    @property
    def schema_name(self) -> str:
        """`RouterVideo`: alias and path, as fal names its schemas."""
        return "".join(part.capitalize() for part in self.id.split("/")[1:])


_COMMON = ("prompt", "system_prompt", "model", "reasoning", "temperature", "max_tokens")
_SEARCH = ("enable_web_search", "web_search_options")
_MODEL = "google/gemini-2.5-flash"


def _routed(
    path: str,
    kind: str,
    *,
    category: str,
    description: str,
    input: type[BaseModel],
    output: type[BaseModel],
    order: tuple[str, ...],
    read: Callable[[Any], RouterRequest],
    example: Mapping[str, Any],
) -> list[Endpoint]:
    """An endpoint and its enterprise name, which takes and gives the same."""
    return [
        Endpoint(
            id=f"openrouter/router{path}{tail}",
            category=category,
            description=description,
            input=input,
            output=output,
            order=order,
            read=lambda given, _: read(given),
            example={"model": _MODEL, **example},
            title=f"{kind}{tail[1:].capitalize()}Input",
            output_title=f"{kind}Output",
        )
        for tail in ("", "/enterprise")
    ]


def _compatible(
    api: Api, path: str, *, description: str, input: type[_OpenAIBody], example: Mapping[str, Any]
) -> Endpoint:
    return Endpoint(
        id=f"{OPENAI_BASE}/{path}",
        category="llm",
        description=description,
        input=input,
        read=lambda given, document: _openai(api, given, document),
        example={"model": _MODEL, **example},
        api=api,
    )


ENDPOINTS: Mapping[str, Endpoint] = {
    endpoint.id: endpoint
    for endpoint in (
        *_routed(
            "/video",
            "Video",
            category="video-to-text",
            description="Ask any video-capable model about one or more videos.",
            input=VideoInput,
            output=VideoOutput,
            order=("video_urls", *_COMMON),
            read=_video,
            example={
                "prompt": "What happens in this video?",
                "video_urls": ["https://example.org/clip.mp4"],
            },
        ),
        *_routed(
            "",
            "Chat",
            category="llm",
            description="Ask any language model.",
            input=RouterInput,
            output=ChatOutput,
            order=(*_COMMON, *_SEARCH),
            read=_text,
            example={"prompt": "Write a haiku about rivers."},
        ),
        *_routed(
            "/vision",
            "Vision",
            category="vision",
            description="Ask any model that sees about one or more images.",
            input=VisionInput,
            output=VisionOutput,
            order=("image_urls", *_COMMON, "pdf_urls", *_SEARCH),
            read=_vision,
            example={
                "prompt": "Describe this image.",
                "image_urls": ["https://example.org/picture.jpg"],
            },
        ),
        *_routed(
            "/audio",
            "Audio",
            category="audio-to-text",
            description="Ask any model that hears about a sound file.",
            input=AudioInput,
            output=AudioOutput,
            order=("audio_url", *_COMMON),
            read=_audio,
            example={
                "prompt": "What is said?",
                "audio_url": "https://example.org/speech.mp3",
            },
        ),
        _compatible(
            "chat",
            "chat/completions",
            description="Chat completions as OpenAI's API has them, for any model.",
            input=_ChatBody,
            example={"messages": [{"role": "user", "content": "Hello!"}]},
        ),
        _compatible(
            "responses",
            "responses",
            description="The Responses API of OpenAI, for any model.",
            input=_ResponsesBody,
            example={"input": "Hello!"},
        ),
        _compatible(
            "embeddings",
            "embeddings",
            description="Embeddings as OpenAI's API has them, of models that make them.",
            input=_EmbeddingsBody,
            example={"model": "openai/text-embedding-3-small", "input": "Hello!"},
        ),
    )
}

APPS = frozenset(endpoint.app for endpoint in ENDPOINTS.values())


def endpoint(id: str) -> Endpoint:
    """The endpoint with this id. Raises NotFound in fal's words."""
    found = ENDPOINTS.get(id)
    if found is not None:
        return found
    owner, _, rest = id.partition("/")
    alias, _, path = rest.partition("/")
    if f"{owner}/{alias}" in APPS:
        raise NotFound(f"Path /{path} not found")
    raise NotFound(f'Application "{(alias or owner)[:200]}" not found')


def parse_input(endpoint: str, document: Any) -> RouterRequest:
    """What `document` asks of `endpoint`. Raises InputError with an entry per field at fault."""
    known = ENDPOINTS[endpoint]
    try:
        given = known.input.model_validate(document)
    except ValidationError as error:
        raise _input_error(error) from None
    return known.read(given, document)


def _input_error(error: ValidationError) -> InputError:
    problems = [
        Problem(
            ("body", *entry["loc"]),
            entry["msg"],
            entry["type"],
            entry.get("ctx", {}),
            brief(entry["input"]),
        )
        for entry in error.errors(include_url=False)
    ]
    told = "; ".join(f"{'.'.join(map(str, p.loc))}: {p.msg}" for p in problems[:5])
    return InputError(told, type=problems[0].type, problems=problems)


def brief(value: Any, depth: int = 0) -> Any:
    """`value` as an error may repeat it: JSON-safe, and short whatever was sent."""
    wide = 20 if depth == 0 else 5
    match value:
        case None | bool():
            return value
        case str():
            return value if len(value) <= 200 else value[:200] + "..."
        case int():
            return value if value.bit_length() <= 64 else f"an integer of {value.bit_length()} bits"
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping() if depth < 3 and len(value) <= wide:
            return {str(name)[:200]: brief(item, depth + 1) for name, item in value.items()}
        case Mapping():
            return f"an object of {len(value)} members"
        case list() | tuple() if depth < 3 and len(value) <= wide:
            return [brief(item, depth + 1) for item in value]
        case list() | tuple():
            return f"a list of {len(value)} items"
    return str(value)[:200]
