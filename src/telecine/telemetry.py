"""Logs, metrics, and the id of the request that a log line is about.

Everybody logs with `logging.getLogger("telecine.<module>")`; what is here decides how it looks.
Secrets never reach a log: `Redact` runs in front of every handler.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


@contextmanager
def about(id: str) -> Iterator[None]:
    """Log lines of this block, and of tasks started in it, carry the request's id."""
    token = request_id.set(id)
    try:
        yield
    finally:
        request_id.reset(token)


# ---------------------------------------------------------------- metrics

REGISTRY = CollectorRegistry(auto_describe=True)

# Labels take only values that we know: an endpoint we serve, never a path that a stranger made up.
REQUESTS = Counter(
    "telecine_requests",
    "Requests that ended, by how.",
    ("endpoint", "mode", "status"),
    registry=REGISTRY,
)
SECONDS = Histogram(
    "telecine_request_seconds",
    "From the start of the work to its end.",
    ("endpoint", "mode"),
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 180, 600, 3600),
    registry=REGISTRY,
)
RUNNING = Gauge("telecine_running", "Requests being worked on.", ("mode",), registry=REGISTRY)
QUEUED = Gauge("telecine_queued", "Requests waiting in the queue.", registry=REGISTRY)
ROUTES_HELD = Gauge(
    "telecine_routes_held",
    "Models of a provider that are not asked for now, since it did not answer.",
    ("provider",),
    registry=REGISTRY,
)
ProcessCollector(registry=REGISTRY)


# ---------------------------------------------------------------- redaction

MASK = "***"

_SECRETS = re.compile(
    r"""
      # name=value, name: value, "name": "value"
      (?P<field>["']?\b(?:authorization|x-api-key|api[-_]?key|key_secret|secret|password
        |fal_jwt_token|x-fal-cdn-token|access_token|token|signature|x-amz-signature
        |x-amz-credential|sig)["']?\s*[=:]\s*["']?(?:(?:Key|Bearer|Basic)\s+)?)
        [^\s"'&,;}]+
      # an Authorization value on its own; "Key frames" is none
    | (?P<scheme>\b(?:Key|Bearer|Basic)\s+)(?=[^\s"',;]*[\d:])[^\s"',;]{16,}
      # user:password@host
    | (?P<login>://)[^\s/@]+@
      # the makers' own forms, fal's id:secret, a JWT
    | \b(?:sk|pk|rk)-[A-Za-z0-9_-]{8,}
    | \bAIza[A-Za-z0-9_-]{20,}
    | \b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}:[0-9a-f]{32}\b
    | \beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+
      # a video is no log line
    | (?P<data>\bdata:[\w/+.-]*;base64,)[A-Za-z0-9+/=_-]{32,}
    """,
    re.VERBOSE | re.IGNORECASE,
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` with `secrets`, and all that looks like a key, token, login or data URI, masked."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return _SECRETS.sub(_masked, text)


def _masked(match: re.Match[str]) -> str:
    groups = match.groupdict()
    if groups["login"]:
        return f"://{MASK}@"
    return (groups["scheme"] or groups["field"] or groups["data"] or "") + MASK


_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _OWN}


class Redact(logging.Filter):
    """Masks secrets in a record's message, extras and traceback, before a handler formats it."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        # Longest first, so that a secret which holds another one goes as a whole.
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage(), self._secrets), None
        for name, value in _extras(record).items():
            if not isinstance(value, int | float | None):
                setattr(record, name, redact(str(value), self._secrets))
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text, self._secrets)
        return True


# ---------------------------------------------------------------- how a line looks


class JsonLines(logging.Formatter):
    """One JSON object per line; what was given as `extra` becomes fields of it."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if current := request_id.get():
            line["request_id"] = current
        line |= _extras(record)
        if record.exc_text:
            line["traceback"] = record.exc_text
        return json.dumps(line, ensure_ascii=False, default=str)


class HumanLines(logging.Formatter):
    """12:30:01 WARNING  what happened  [request id]; the level is left out when it is INFO."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        level = "" if record.levelno == logging.INFO else f"{record.levelname:<8} "
        current = request_id.get()
        line = f"{at} {level}{record.getMessage()}" + (f"  [{current}]" if current else "")
        return f"{line}\n{record.exc_text}" if record.exc_text else line


def set_up_logging(
    *, level: str = "INFO", secrets: Iterable[str] = (), stream: TextIO | None = None
) -> None:
    """Log to `stream` (stderr): lines for people on a terminal, JSON otherwise.

    Called once, by the command. Other libraries are heard from WARNING on.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.addFilter(Redact(secrets))
    handler.setFormatter(HumanLines() if stream.isatty() else JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("telecine").setLevel(level)
    logging.captureWarnings(capture=True)
