"""Webhooks: what is sent, when it is tried, and what an answer means (fal-protocol 7).

`deliverer.py` does it, `signing.py` signs it, `deliveries.py` remembers it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from telecine import wire
from telecine.jobs.states import storable
from telecine.net import shown_url

MAX_PAYLOAD_BYTES = 1_000_000  # many receivers take no more; a longer result is in the queue
HEAD_BYTES = 4096  # what is read, and kept, of an answer
LEASE_SECONDS = 30.0  # by how much an attempt that nobody ended outlives its time limit


def body(
    request_id: str, status: int, result: str, *, max_payload_bytes: int = MAX_PAYLOAD_BYTES
) -> bytes:
    """The body that tells of a request that ended with this status and this result."""
    told: dict[str, Any] = {
        "request_id": request_id,
        "gateway_request_id": request_id,
        "status": "OK" if 200 <= status < 300 else "ERROR",
    }
    if told["status"] == "ERROR":
        told["error"] = f"Invalid status code: {status}"
    why = _why_not_embedded(result, max_payload_bytes)
    if why is not None:
        return wire.dumps({**told, "payload": None, "payload_error": why}).encode()
    # The result as it is: parsed and written again it could differ from what the queue answers.
    return f'{wire.dumps(told)[:-1]},"payload":{result}}}'.encode()


def _why_not_embedded(result: str, max_bytes: int) -> str | None:
    if len(result) > max_bytes or len(result.encode()) > max_bytes:
        return (
            f"Response payload is larger than {max_bytes} bytes."
            " Use the queue endpoint to retrieve the response."
        )
    try:
        json.loads(result)
    except (ValueError, RecursionError):
        return (
            "Response payload is not JSON serializable. Either return a JSON serializable object"
            " or use the queue endpoint to retrieve the response."
        )
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a delivery is tried, and how long the receiver has to answer.

    One attempt, and one more after each of `delays`. Ten within two hours, even if each runs out of
    time; only a receiver's own Retry-After, each time up to `longest_retry_after`, stretches that.
    """

    delays: tuple[float, ...] = (5, 15, 45, 120, 300, 600, 900, 1200, 1800)
    first_seconds: float = 15.0
    later_seconds: float = 120.0
    longest_retry_after: float = 1800.0
    jitter: float = 0.1  # each delay is up to so much shorter or longer

    def timeout(self, attempt: int) -> float:
        return self.first_seconds if attempt == 1 else self.later_seconds

    def delay(self, attempt: int, retry_after: float | None, chance: float) -> float | None:
        """How long after attempt number `attempt` failed; None: that was the last one.

        `chance`, from 0 to 1, is where in the range it falls.
        """
        if attempt > len(self.delays):
            return None
        delay = self.delays[attempt - 1] * (1 + self.jitter * (2 * chance - 1))
        return max(delay, min(retry_after or 0.0, self.longest_retry_after))

    @property
    def longest_wait(self) -> float:
        """Nothing that waits is ever due later than so much from now."""
        longest = max(self.delays, default=0.0) * (1 + self.jitter)
        lease = max(self.first_seconds, self.later_seconds) + LEASE_SECONDS
        return max(longest, self.longest_retry_after, lease)


SCHEDULE = Schedule()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an attempt. `told` is ours and goes to the log, `detail` to the ledger."""

    told: str
    detail: str = ""
    status: int | None = None
    is_final: bool = False
    retry_after: float | None = None

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def judge(status: int, headers: Mapping[str, str], head: bytes, *, now: float) -> Outcome:
    """What an answer means. `head` is the beginning of its body."""
    told, detail = f"answered {status}", storable(head.decode("utf-8", "replace"), HEAD_BYTES)
    if 300 <= status < 400:
        to = shown_url(headers["Location"]) if "Location" in headers else "nowhere"
        detail = f"redirects are not followed; this one leads to {to}"
        return Outcome(told=f"{told}, a redirect", detail=detail, status=status, is_final=True)
    return Outcome(
        told=told,
        detail=detail,
        status=status,
        is_final=status == 410,
        retry_after=_seconds(headers.get("Retry-After"), now),
    )


def _seconds(retry_after: str | None, now: float) -> float | None:
    """A Retry-After: a number of seconds, or the date until which to wait."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None
