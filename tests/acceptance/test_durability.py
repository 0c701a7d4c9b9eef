"""What was accepted is kept: through a `kill -9`, and through a restart."""

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor

from tests.acceptance.conftest import ENDPOINT, calling
from tests.acceptance.support.clips import DATA
from tests.acceptance.support.jobs import Job

CLIP = (DATA / "jfk_slides.mp4").read_bytes()
INLINE = "data:video/mp4;base64," + base64.b64encode(CLIP).decode()


def question(number):
    """Every tenth brings its video along, in the body."""
    document = {"prompt": f"job {number}", "model": "echo/wait-0.2"}
    return {**document, "video_urls": [INLINE]} if number % 10 == 0 else document


def answer(number):
    said = f"job {number}"
    if number % 10:
        return said
    return f"{said}\nvideo 1: sha256={hashlib.sha256(CLIP).hexdigest()}"


def test_a_hundred_submitted_jobs_survive_kill_9(serving):
    server = serving(arguments=["--jobs", "4"])
    with calling(server.origin) as client, ThreadPoolExecutor(20) as pool:

        def submit(number):
            accepted = client.post(f"/queue/{ENDPOINT}", json=question(number))
            assert accepted.status_code == 200
            return accepted.json()["request_id"]

        ids = list(pool.map(submit, range(100)))
        # The first is through and the last can not be.
        Job(client, ids[0]).becomes("COMPLETED")
        assert Job(client, ids[-1]).status().json()["status"] != "COMPLETED"
    server.kill()
    server.start()
    with calling(server.origin) as client:
        for number, request_id in enumerate(ids):
            job = Job(client, request_id)
            job.becomes("COMPLETED")
            result = job.result()
            assert result.status_code == 200
            assert result.json()["output"].startswith(answer(number))
    assert server.stop() == 0


def test_a_finished_job_and_an_upload_are_there_after_a_restart(serving, python):
    server = serving()
    url = python(server.origin).upload(CLIP, "video/mp4", "a.mp4")
    handle = python(server.origin).submit(ENDPOINT, {"prompt": "x", "model": "echo/echo"})
    before = handle.get()
    assert server.stop() == 0
    old, new = server.origin, server.start().origin
    with calling(new, key=None) as nobody:
        assert nobody.get(url.removeprefix(old)).content == CLIP
    assert python(new).result(ENDPOINT, handle.request_id) == before
    assert server.stop() == 0
