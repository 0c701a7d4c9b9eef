import asyncio
import io
import json
import logging

import pytest
from prometheus_client import generate_latest

from telecine import telemetry


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def logged():
    """What a logger of ours writes to a stream; logging is as before afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("telecine")
    before = root.handlers[:], root.level, ours.level

    def logged(stream=None, **more):
        stream = stream or io.StringIO()
        telemetry.set_up_logging(stream=stream, **more)
        return logging.getLogger("telecine.test"), stream

    yield logged
    root.handlers[:], root.level = before[0], before[1]
    ours.setLevel(before[2])
    logging.captureWarnings(capture=False)


KEY = "764cabcf-b745-4b3e-ae38-1200304cf45b:00112233445566778899aabbccddeeff"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Authorization: Key {KEY}", "Authorization: Key ***"),
        ("{'authorization': 'Bearer abcdefgh'}", "{'authorization': 'Bearer ***'}"),
        (f"the key is {KEY}.", "the key is ***."),
        ("GET /a?fal_jwt_token=eyJh.b.c&x=1", "GET /a?fal_jwt_token=***&x=1"),
        ("PUT /files/x?token=abc HTTP", "PUT /files/x?token=*** HTTP"),
        ('{"api_key": "abc"}', '{"api_key": "***"}'),
        ("key_secret=abc", "key_secret=***"),
        ("using sk-or-v1-0123456789abcdef now", "using *** now"),
        ("https://me:pw@host/x", "https://***@host/x"),
        ("postgresql://u:p@db/x", "postgresql://***@db/x"),
        ("jwt eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl", "jwt ***"),
        ("x-goog-api-key: AIzaSyA0123456789abcdefghij", "x-goog-api-key: ***"),
        ("data:video/mp4;base64," + "A" * 4000, "data:video/mp4;base64,***"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text, shown):
    assert telemetry.redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "prompt_tokens=1000 total_tokens: 1100",
        "request 764cabcf-b745-4b3e-ae38-1200304cf45b ended",
        "https://example.org/a.mp4",
        "the key of the matter",
        "Key frames every 2 s",
        "max_tokens: 12",
    ],
)
def test_ordinary_lines_stay_as_they_are(text):
    assert telemetry.redact(text) == text


def test_known_secrets_are_masked_wherever_they_stand(logged):
    log, stream = logged(secrets=["abc", "abcdef", "", None])
    log.info("with abcdef in it")
    assert json.loads(stream.getvalue())["message"] == "with *** in it"


def test_secrets_in_arguments_and_tracebacks_are_masked(logged):
    log, stream = logged()
    try:
        raise ValueError(f"bad {KEY}")
    except ValueError:
        log.exception("call with %s", {"authorization": "Key abcdefgh"})
    assert "abcdefgh" not in stream.getvalue()
    assert KEY not in stream.getvalue()
    assert "ValueError: bad ***" in json.loads(stream.getvalue())["traceback"]


def test_lines_for_programs_are_json_with_the_request_and_the_extras(logged):
    log, stream = logged()
    with telemetry.about("r-1"):
        log.warning("slow", extra={"seconds": 3, "url": "https://a.test/?token=abc"})
    line = json.loads(stream.getvalue())
    del line["at"]
    assert line == {
        "level": "WARNING", "logger": "telecine.test", "message": "slow",
        "request_id": "r-1", "seconds": 3, "url": "https://a.test/?token=***",
    }  # fmt: skip


def test_lines_for_people_are_plain(logged):
    log, stream = logged(Terminal())
    with telemetry.about("r-1"):
        log.info("started")
    log.warning("slow")
    first, second = stream.getvalue().splitlines()
    assert first.endswith(" started  [r-1]")
    assert second.endswith(" WARNING  slow")


def test_other_libraries_are_heard_from_warning_on(logged):
    _, stream = logged()
    logging.getLogger("somebody").info("chatter")
    assert stream.getvalue() == ""


def test_a_task_keeps_the_request_it_was_started_for(run):
    async def work():
        with telemetry.about("r-1"):
            task = asyncio.create_task(asyncio.sleep(0, result=None))
            seen = asyncio.create_task(see())
        await task
        return await seen

    async def see():
        return telemetry.request_id.get()

    assert run(work()) == "r-1"
    assert telemetry.request_id.get() is None


def test_metrics_are_ready_to_be_scraped():
    telemetry.REQUESTS.labels("openrouter/router/video", "run", "succeeded").inc()
    text = generate_latest(telemetry.REGISTRY).decode()
    assert 'telecine_requests_total{endpoint="openrouter/router/video",mode="run"' in text
    assert "process_resident_memory_bytes" in text
