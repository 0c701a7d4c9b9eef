"""Every way a request can end badly, as one tree.

    TelecineError                    type, status, retryable, a message for the caller
      InputError                     says where: loc, msg, type, ctx
        SourceUnavailable            the video could not be fetched
        UnsupportedMedia             not a container or codec we can read
        TooLarge                     in bytes, seconds or tokens
        VideoNotConsumed             the model's own figures say that it saw none
      AuthError / Forbidden / NotFound / Conflict
      LimitReached                   says when to come back
      Cancelled / Deadline
      Stopping / Stopped               the server ends: before the work began, in its middle
      Busy                             the server has all that it can carry; nothing was begun
      ProviderError
        ProviderRejected             policy, unknown model, bad parameter
          FormRefused                the medium is not taken in the form in which it was sent
        ProviderUnavailable          not billed; may be tried again
        ProviderFailed               may have been billed; not tried again

Anything else that is raised is a bug: a bare 500 to the caller, the whole story to the log.
`wire.py` turns these into bodies; which status each gets, and who retries, is the table in
docs/reference/errors.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Loc = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input, in pydantic's terms, which are fal's on the wire.

    `loc` starts with "body"; list indexes are numbers.
    """

    loc: Loc
    msg: str
    type: str
    ctx: Mapping[str, Any] = field(default_factory=dict)
    input: Any = None


class TelecineError(Exception):
    """Base of everything that is told to a caller. The message names the thing and the remedy."""

    type: str = "internal_server_error"
    status: int = 500
    retryable: bool = False

    def __init__(self, message: str, *, type: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if type is not None:
            self.type = type


class InputError(TelecineError):
    """The request cannot be done as it was asked; `problems` says where and why, in order."""

    type = "value_error"
    status = 422

    def __init__(
        self,
        message: str,
        *,
        loc: Loc = ("body",),
        type: str | None = None,
        ctx: Mapping[str, Any] | None = None,
        input: Any = None,
        problems: Sequence[Problem] | None = None,
    ) -> None:
        super().__init__(message, type=type)
        self.problems: tuple[Problem, ...] = (
            tuple(problems)
            if problems
            else (Problem(loc, message, self.type, dict(ctx or {}), input),)
        )


class SourceUnavailable(InputError):
    """The video could not be fetched: refused address, no answer, bad status, too slow."""

    type = "file_download_error"


class UnsupportedMedia(InputError):
    """The bytes are not a container or codec that can be read; ctx names what can."""

    type = "unsupported_video_format"


class TooLarge(InputError):
    """Over a cap in bytes, seconds or tokens; ctx names the cap."""

    type = "file_too_large"


class VideoNotConsumed(InputError):
    """The model's own token figures prove that it never saw the video."""

    type = "video_not_consumed"


class AuthError(TelecineError):
    """No key, or a wrong one."""

    type = "authentication_error"
    status = 401


class Forbidden(TelecineError):
    """A good key that may not do this."""

    type = "authorization_error"
    status = 403


class NotFound(TelecineError):
    """No such endpoint, request or file."""

    type = "not_found"
    status = 404


class BadRequest(TelecineError):
    """A call that cannot be understood, or cannot be done in the present state."""

    type = "bad_request"
    status = 400


class PayloadTooLarge(TelecineError):
    """The body is larger than this server takes; said before it was read."""

    type = "payload_too_large"
    status = 413


class LimitReached(TelecineError):
    """Too much at once: running requests, rate, queue depth. When there will be room is known of
    rates alone; of all else callers are told a second."""

    type = "concurrent_requests_limit"
    status = 429
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        type: str | None = None,
        retry_after_seconds: float = 1.0,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, type=type)
        self.retry_after_seconds = retry_after_seconds
        self.data = dict(data or {})


class Cancelled(TelecineError):
    """The caller asked for it to stop, or hung up."""

    type = "client_cancelled"
    status = 499

    def __init__(self, message: str = "Request was cancelled") -> None:
        super().__init__(message)


class Deadline(TelecineError):
    """Not started in time, or ran too long. `by_user` when the caller set the limit."""

    type = "request_timeout"
    status = 504

    def __init__(self, message: str, *, type: str | None = None, by_user: bool = False) -> None:
        super().__init__(message, type=type)
        self.by_user = by_user


class Stopping(TelecineError):
    """The server ends, and has not begun with this request."""

    type = "server_stopping"
    status = 503
    retryable = True

    def __init__(self) -> None:
        super().__init__("The server is stopping. Send the request again")


class Stopped(TelecineError):
    """The server ended in the middle of a live call, which may have been billed: 500, not 503."""

    type = "server_stopped"

    def __init__(self) -> None:
        super().__init__("The server stopped while it was working on this request")


class Busy(TelecineError):
    """The server, and not this caller alone, has as much to do as it can: nothing was begun."""

    type = "server_busy"
    status = 503
    retryable = True
    retry_after_seconds = 1.0


class ProviderError(TelecineError):
    """A model's server let us down. `provider` and `upstream_status` go into the receipt."""

    type = "downstream_service_error"

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        upstream_status: int | None = None,
        upstream_id: str | None = None,
        type: str | None = None,
    ) -> None:
        super().__init__(message, type=type)
        self.provider = provider
        self.upstream_status = upstream_status
        self.upstream_id = upstream_id


class ProviderRejected(ProviderError):
    """The provider will never do this request: policy, unknown model, bad parameter.

    `loc` points at the field to change; told as a 422 entry.
    """

    type = "value_error"
    status = 422

    def __init__(self, message: str, *, loc: Loc = ("body",), **more: Any) -> None:
        super().__init__(message, **more)
        self.loc = loc


class FormRefused(ProviderRejected):
    """The provider does not take a medium in this form (too large, an address that it cannot fetch,
    a kind of part that it does not know); it may take it in another. Nothing was billed."""


class ProviderUnavailable(ProviderError):
    """Nothing was started and nothing billed: 429, 503, no connection. May be tried again."""

    type = "downstream_service_unavailable"
    status = 503
    retryable = True

    def __init__(
        self, message: str, *, retry_after_seconds: float | None = None, **more: Any
    ) -> None:
        super().__init__(message, **more)
        self.retry_after_seconds = retry_after_seconds


class ProviderFailed(ProviderError):
    """It broke after it may have been billed: timeouts, cut answers, 5xx after acceptance.

    500 and not 502/503/504: fal's JavaScript client sends those again by itself.
    """

    type = "downstream_service_error"
    status = 500
