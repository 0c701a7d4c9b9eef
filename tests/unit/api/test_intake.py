"""How bodies come in: how much, how slowly."""

import asyncio

import pytest

from telecine.api.failures import Disconnected
from telecine.api.intake import Pace, body
from telecine.errors import BadRequest, PayloadTooLarge


class Caller:
    """Sends what it has, then nothing for ever."""

    def __init__(self, *pieces, is_all=False):
        self._pieces = list(pieces)
        self._is_all = is_all

    async def receive(self):
        if not self._pieces:
            await asyncio.Event().wait()
        piece = self._pieces.pop(0)
        more = bool(self._pieces) or not self._is_all
        return {"type": "http.request", "body": piece, "more_body": more}


async def read(receive, *, length=None, max_bytes=1000, **options):
    headers = [] if length is None else [(b"content-length", str(length).encode())]
    scope = {"headers": headers}
    return [piece async for piece in body(scope, receive, max_bytes=max_bytes, **options)]


def test_a_body_comes_in_the_pieces_that_it_was_sent_in(run):
    caller = Caller(b"a", b"", b"bc", is_all=True)
    assert run(read(caller.receive)) == [b"a", b"bc"]


def test_a_body_that_stands_still_is_given_up(run):
    pace = Pace(stall_seconds=0.01, free_seconds=3600)
    with pytest.raises(BadRequest, match=r"Nothing of the body arrived for 0\.01 seconds"):
        run(read(Caller(b"a").receive, pace=pace))


def test_a_body_that_never_begins_is_given_up_when_its_free_time_is_over(run):
    pace = Pace(stall_seconds=3600, free_seconds=0.01)
    with pytest.raises(BadRequest, match="slower than 1024 bytes a second"):
        run(read(Caller().receive, pace=pace))


def test_a_body_that_drips_is_too_slow_on_average_though_it_never_stands_still(run):
    async def drip():
        await asyncio.sleep(0.001)
        return {"type": "http.request", "body": b"a", "more_body": True}

    pace = Pace(stall_seconds=3600, free_seconds=0.02, bytes_per_second=1e6)
    with pytest.raises(BadRequest, match="slower than"):
        run(read(drip, max_bytes=10**9, pace=pace))


def test_what_came_early_buys_time_for_what_comes_late(run):
    pieces = [b"a" * 900, b"b"]

    async def receive():
        if len(pieces) == 1:
            await asyncio.sleep(0.05)  # past the free time
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    pace = Pace(stall_seconds=3600, free_seconds=0.001, bytes_per_second=0.1)
    assert run(read(receive, pace=pace)) == [b"a" * 900, b"b"]


def test_the_readers_own_slowness_is_not_the_callers(run):
    async def work():
        caller = Caller(b"a", b"b", b"c", is_all=True)
        pace = Pace(stall_seconds=3600, free_seconds=0.01)
        got = []
        async for piece in body({"headers": []}, caller.receive, max_bytes=10, pace=pace):
            got.append(piece)
            await asyncio.sleep(0.02)
        assert got == [b"a", b"b", b"c"]

    run(work())


@pytest.mark.parametrize("length", [11, None])
def test_a_body_over_the_cap_is_refused_with_advice(run, length):
    with pytest.raises(PayloadTooLarge, match="larger than 10 bytes; upload it"):
        run(
            read(
                Caller(b"a" * 11).receive,
                length=length,
                max_bytes=10,
                advice="; upload it",
            )
        )


def test_a_body_shorter_than_it_said_is_refused(run):
    with pytest.raises(BadRequest, match="has 3 bytes; its Content-Length said 5"):
        run(read(Caller(b"abc", is_all=True).receive, length=5))


def test_a_caller_who_hangs_up_ends_the_body(run):
    async def receive():
        return {"type": "http.disconnect"}

    with pytest.raises(Disconnected):
        run(read(receive))
