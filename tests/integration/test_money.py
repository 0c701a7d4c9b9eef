"""The whole program in front of the fake upstream: what it booked is what was billed, to the last
digit; what was dropped in silence does not go unnoticed."""

import asyncio
import base64
import contextlib
import sqlite3
from decimal import Decimal

import pytest
from tests.fakes import upstream as fake
from tests.fakes.asgi import Browser
from tests.fakes.pipeline import DATA

from telecine import app, settings
from telecine.jobs import settler

KEY = "00000000-0000-4000-8000-000000000001:0123456789abcdef0123456789abcdef"
TEXT, VIDEO = "/openrouter/router", "/openrouter/router/video"


@pytest.fixture(scope="module")
def upstream():
    with fake.serve() as served:
        yield served


@pytest.fixture
def serve(tmp_path, upstream):
    """Run a test's coroutine function with a browser, and ask the database what it wrote."""

    def serve(test):
        (tmp_path / "data").mkdir()
        (tmp_path / "telecine.toml").write_text(
            "[server]\nstop_seconds = 1\n"
            f'[providers.openrouter]\nbase_url = "{upstream.url}/openrouter"\n'
            f'[providers.vllm]\ntype = "openai"\nbase_url = "{upstream.url}/vllm"\n'
            'dialect = "vllm"\napi_key_env = "VLLM_KEY"\n'
            f'[providers.sglang]\ntype = "openai"\nbase_url = "{upstream.url}/sglang"\n'
            'dialect = "sglang"\napi_key_env = "VLLM_KEY"\n'
            f'[providers.gemini]\nbase_url = "{upstream.url}/gemini/v1beta"\n'
        )
        environ = {
            "TELECINE_DATA_DIR": str(tmp_path / "data"),
            "TELECINE_BOOTSTRAP_KEY": KEY,
            "OPENROUTER_API_KEY": fake.KEY,
            "GEMINI_API_KEY": fake.KEY,
            "VLLM_KEY": fake.KEY,
        }

        async def main():
            async with asyncio.timeout(120):
                loaded = settings.load(folder=tmp_path, environ=environ)
                async with app.opened(loaded) as opened:
                    return await test(Browser(opened.asgi, key=KEY))

        return asyncio.run(main())

    return serve


def clip():
    return (
        "data:video/mp4;base64,"
        + base64.b64encode((DATA / "onscreen_instructions_silent.mp4").read_bytes()).decode()
    )


def rows(folder):
    with contextlib.closing(sqlite3.connect(folder / "data/telecine.db")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM ledger")]


async def hung_up(call, body):
    """A stream whose caller goes away after the first words."""
    has_begun = asyncio.Event()

    async def watched(scope, receive, send):
        async def heard(message):
            await send(message)
            if message.get("body"):
                has_begun.set()

        await call._app(scope, receive, heard)

    leaving = Browser(watched, key=KEY)
    reading = asyncio.create_task(leaving("POST", f"{TEXT}/stream", body))
    await has_begun.wait()
    leaving.hang_up.set()
    with contextlib.suppress(Exception):
        await reading


# What is billed as it is told, what is told in odd ways, what is not billed, what nobody tells.
SWITCHES = [
    *("", "usage-twice", "usage-in-last-chunk", "thoughts", "no-stream", "crlf", "byok"),
    *("late-error", "length-then-error", "filtered", "400", "moderated", "unknown"),
    *("null-cost", "no-usage", "cut", "middle-error", "zero-prompt"),
]


def test_what_was_booked_is_what_was_billed_to_the_last_digit(
    serve, upstream, tmp_path, monkeypatch
):
    """A few hundred calls, with and without videos, finished, failed and cut off by their callers."""
    monkeypatch.setattr(settler, "WAITS", (0.2, 0.2, 0.5, 1.0, 1.0, 1.0))
    upstream.forget()

    async def asked(call, number):
        switch = SWITCHES[number % len(SWITCHES)]
        model = f"openrouter/fake/{switch}" if switch else "google/gemini-2.5-flash"
        body = {"prompt": f"Question {number}", "model": model}
        if number % 12 == 0:
            return await call("POST", VIDEO, body | {"video_urls": [clip()]})
        return await call("POST", TEXT, body)

    async def test(call):
        slots = asyncio.Semaphore(8)

        async def one(work):
            async with slots:
                await work

        slow = {"prompt": "Tell me more", "model": "openrouter/fake/slow"}
        await asyncio.gather(
            *(one(asked(call, number)) for number in range(240)),
            *(one(hung_up(call, slow)) for _ in range(6)),
        )
        for received in upstream.received:
            await asyncio.to_thread(received.ended.wait, 5)
        billed = {each.id for each in upstream.received if each.billed}
        while billed - {row["upstream_id"] for row in rows(tmp_path) if row["cost"]}:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    serve(test)
    booked = rows(tmp_path)
    billed = {each.id: each.billed for each in upstream.received if each.billed}
    of_call = {row["upstream_id"]: Decimal(row["cost"]) for row in booked if row["cost"]}
    assert len(billed) > 150
    assert {id_: cost for id_, cost in of_call.items() if cost} == billed
    assert sum(of_call.values()) == upstream.billed
    assert len(of_call) == len([row for row in booked if row["cost"]]), "nothing is booked twice"


@pytest.mark.parametrize("model", ["openrouter/fake", "vllm/fake", "sglang/fake", "gemini/fake"])
def test_a_video_that_is_dropped_in_silence_does_not_go_unnoticed(serve, model):
    async def test(call):
        body = {"prompt": "What is this?", "model": f"{model}/silent-drop", "video_urls": [clip()]}
        plain = await call("POST", VIDEO, body | {"receipt": True})
        return plain, await call("POST", VIDEO, body | {"strict": True})

    plain, strict = serve(test)
    assert strict.status == 422
    [problem] = strict.json["detail"]
    assert (problem["type"], problem["loc"]) == ("video_not_consumed", ["body", "video_urls", 0])
    if plain.status == 422:  # the figures prove it
        assert plain.json["detail"][0]["type"] == "video_not_consumed"
        return
    told = plain.json["receipt"]
    assert told["videos"][0]["seen"] == "unknown"
    assert any("may not have seen video 1" in warning for warning in told["warnings"])


@pytest.mark.parametrize(
    "model",
    [
        "google/gemini-2.5-flash",
        "vllm/Qwen/Qwen3-VL-8B",
        "sglang/Qwen/Qwen3-VL-8B",
        "gemini/gemini-2.5-flash",
    ],
)
def test_a_video_that_arrives_is_known_to_be_seen(serve, model):
    async def test(call):
        body = {"prompt": "What?", "model": model, "video_urls": [clip()], "receipt": True}
        return await call("POST", VIDEO, body)

    [video] = serve(test).json["receipt"]["videos"]
    assert video["seen"] == "yes"
    assert "video tokens" in video["evidence"]


@pytest.mark.parametrize("status", ["401", "402"])
def test_a_call_that_was_refused_for_the_operators_account_costs_nothing(serve, upstream, status):
    async def test(browser):
        asked = {"prompt": "What?", "model": f"openrouter/fake/{status}", "receipt": True}
        return await browser("POST", TEXT, {**asked, "models": ["google/gemini-2.5-flash"]})

    cost = serve(test).json["receipt"]["cost"]
    assert cost["source"] == "billed"
    assert Decimal(cost["usd"]) == upstream.last.billed > 0
