"""What the fake was sent, what goes wrong next, and what it billed: shared by all its parts."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import Any

# A server that runs for weeks does not grow with every request.
KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Sent:
    """One medium that arrived as bytes. `kind`: video, image, audio or file."""

    kind: str
    sha256: str
    bytes: int
    mime: str
    seconds: float | None = None
    pieces: int = 1


@dataclass(eq=False)
class Received:
    """One question to a model. `ended` is set when its handling is over, and only then are
    `was_cut` (the client went away first) and `billed` final. `document` is the body with `#INDEX`
    in place of each run of base64."""

    id: str
    provider: str
    model: str
    headers: Mapping[str, str]
    document: Any
    media: list[Sent]
    links: list[str]
    api: str = "chat"
    switch: str = ""
    delay: float = 0.0
    usage: Mapping[str, Any] = field(default_factory=dict)
    was_cut: bool = False
    billed: Decimal = Decimal(0)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def videos(self) -> list[Sent]:
        return self.of("video")

    def of(self, kind: str) -> list[Sent]:
        return [sent for sent in self.media if sent.kind == kind]

    @property
    def said(self) -> str:
        """The answer that proves what arrived."""
        seen = "".join(f" sha256={video.sha256}" for video in self.videos)
        said = f"I saw {len(self.videos) + len(self.links)} video(s):{seen or ' none'}"
        for kind in ("image", "audio", "file"):
            if found := self.of(kind):
                said += f"; {len(found)} {kind}(s):" + "".join(f" sha256={s.sha256}" for s in found)
        return said


@dataclass(slots=True)
class Switches:
    """What requests get whose model is not called `fake/SWITCH`. `times`: for so many; None: for
    all that come. `delay`: seconds before each answer. `credit`: what there is to spend, in US
    dollars; None: no end of it."""

    switch: str = ""
    times: int | None = None
    delay: float = 0.0
    credit: Decimal | None = None

    def next(self) -> str:
        """The switch of the next request."""
        if self.times is None:
            return self.switch
        self.times -= 1
        now, self.switch = self.switch, self.switch if self.times > 0 else ""
        self.times = self.times if self.switch else None
        return now


class Record:
    """`key`: the only one that is taken; None: any.

    Questions are kept in the order in which they arrived, other requests by their path in `asked`.
    """

    def __init__(self, *, key: str | None = None) -> None:
        self.key = key
        self.received: list[Received] = []
        self.asked: list[str] = []
        self.switches = Switches()
        self._ids = count(1)

    def add(
        self,
        *,
        prefix: str,
        provider: str,
        model: str,
        headers: Mapping[str, str],
        document: Any,
        media: list[Sent],
        links: list[str],
        api: str = "chat",
    ) -> Received:
        """A question has arrived; what it is to be answered with is decided now."""
        named = model.removeprefix("fake/") if model.startswith("fake/") else None
        received = Received(
            id=f"{prefix}{next(self._ids)}",
            provider=provider,
            model=model,
            headers=headers,
            document=document,
            media=media,
            links=links,
            api=api,
            switch=self.switches.next() if named is None else named,
            delay=self.switches.delay,
        )
        self.received.append(received)
        del self.received[:-KEPT]
        return received

    def find(self, id: str | None) -> Received | None:
        return next((each for each in self.received if each.id == id), None)

    def forget(self) -> None:
        self.received.clear()
        self.asked.clear()

    @property
    def billed(self) -> Decimal:
        return sum((each.billed for each in self.received), Decimal(0))

    @property
    def is_broke(self) -> bool:
        credit = self.switches.credit
        return credit is not None and self.billed >= credit

    def refuses_key(self, given: str) -> bool:
        return not given or (self.key is not None and given != self.key)
