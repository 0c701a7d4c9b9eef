"""Both clients ask in every way they have: of the embedded models once, with real speech."""

import json
import re

import fal_client
import httpx
import pytest
from tests.acceptance.conftest import ENDPOINT
from tests.acceptance.support.clips import DATA

CLIP = DATA / "jfk_slides.mp4"
MANIFEST = json.loads((DATA / "media.json").read_text())["files"]
SPOKEN = next(clip for clip in MANIFEST if clip["file"] == CLIP.name)["speech"][0]["text"]


def words(text):
    return re.findall(r"\w+", text.lower())


def is_spoken(answer):
    return words(answer["output"]) == words(SPOKEN)


def is_described(answer):
    return answer["output"].startswith("Transcribe the video.\nvideo 1: sha256=")


ASKED = pytest.mark.parametrize(
    ("model", "is_right"), [("local/transcribe", is_spoken), ("echo/echo", is_described)]
)


@ASKED
@pytest.mark.parametrize("is_proxied", [True, False])
def test_js_uploads_subscribes_streams_and_cancels(node, model, is_right, is_proxied):
    answer = node("local.everything", model=model, clip=str(CLIP), isProxied=is_proxied)
    assert httpx.get(answer["url"]).content == CLIP.read_bytes()
    assert is_right(answer["subscribed"]["data"])
    assert any("video 1/1: mp4 11.0 s" in message for message in answer["messages"])
    assert is_right(answer["streamed"]["last"])
    assert answer["streamed"]["last"]["usage"] == answer["subscribed"]["data"]["usage"]
    assert answer["cancelled"]["status"] == "COMPLETED"


@ASKED
def test_python_uploads_submits_subscribes_streams_and_cancels(fal, model, is_right):
    url = fal.upload_file(CLIP)
    assert httpx.get(url).content == CLIP.read_bytes()
    question = {"prompt": "Transcribe the video.", "model": model, "video_urls": [url]}
    handle = fal.submit(ENDPOINT, question)
    *_, last = handle.iter_events(with_logs=True, interval=0.05)
    assert isinstance(last, fal_client.Completed)
    assert any("video 1/1: mp4 11.0 s" in line["message"] for line in last.logs)
    assert is_right(fal.result(ENDPOINT, handle.request_id))
    seen = []
    assert is_right(fal.subscribe(ENDPOINT, question, with_logs=True, on_queue_update=seen.append))
    assert isinstance(seen[-1], fal_client.Completed)
    assert is_right(list(fal.stream(ENDPOINT, question))[-1])
    other = fal.submit(ENDPOINT, question)
    other.cancel()
    *_, last = other.iter_events(interval=0.05)
    assert isinstance(last, fal_client.Completed)
