"""A gateway and two workers, as on three machines: they share PostgreSQL and a bucket alone."""

import base64
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.acceptance.conftest import ENDPOINT, calling
from tests.acceptance.support.clips import DATA
from tests.acceptance.support.jobs import Job
from tests.acceptance.support.server import Worker

CLIP = (DATA / "jfk_slides.mp4").read_bytes()
INLINE = "data:video/mp4;base64," + base64.b64encode(CLIP).decode()
CONFIG = """
[jobs]
lost_seconds = 5
"""


@pytest.fixture
def env(databases, bucket):
    shared = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    urls = {"TELECINE_DATABASE_URL": databases.empty(), "TELECINE_STORAGE_URL": bucket}
    return shared | urls


@pytest.fixture
def working(env, tmp_path):
    made = []

    def working(*arguments):
        folder = tmp_path / f"worker-{len(made)}"
        made.append(
            Worker(folder, config=f"[providers.echo]{CONFIG}", arguments=arguments, env=env)
        )
        return made[-1]

    yield working
    for worker in made:
        worker.kill()


@pytest.fixture
def gateway(env, serving):
    made = []

    def gateway():
        made.append(serving(config=CONFIG, env=env, arguments=["--jobs", "0"]))
        return made[-1]

    yield gateway
    for server in made:  # while their database is there
        assert server.stop() == 0


def test_jobs_survive_kill_9_of_one_of_two_workers(gateway, working):
    server = gateway()
    doomed, other = working("--jobs", "4"), working("--jobs", "4")
    with calling(server.origin) as client, ThreadPoolExecutor(10) as pool:

        def submit(number):
            document = {"prompt": f"job {number}", "model": "echo/wait-0.3"}
            if number % 10 == 0:
                document["video_urls"] = [INLINE]
            accepted = client.post(f"/queue/{ENDPOINT}", json=document)
            assert accepted.status_code == 200, accepted.text
            return accepted.json()["request_id"]

        ids = list(pool.map(submit, range(60)))
        Job(client, ids[0]).becomes("COMPLETED")
        doomed.kill()
        sha256 = hashlib.sha256(CLIP).hexdigest()
        for number, request_id in enumerate(ids):
            job = Job(client, request_id)
            job.becomes("COMPLETED")
            result = job.result()
            assert result.status_code == 200, result.text
            wanted = f"job {number}" + ("" if number % 10 else f"\nvideo 1: sha256={sha256}")
            assert result.json()["output"].startswith(wanted)
    assert other.stop() == 0


def test_what_one_gateway_took_in_another_one_serves(gateway, working, python):
    one, other = gateway(), gateway()
    worker = working("--jobs", "2")
    url = python(one.origin).upload(CLIP, "video/mp4", "a.mp4")
    with calling(other.origin, key=None) as nobody:
        assert nobody.get(url.removeprefix(one.origin)).content == CLIP
        keys = nobody.get("/.well-known/jwks.json").json()
    with calling(one.origin, key=None) as nobody:
        assert nobody.get("/.well-known/jwks.json").json() == keys
    question = {"prompt": "x", "model": "echo/echo", "video_urls": [url]}
    asked = python(one.origin).submit(ENDPOINT, question)
    asked.get()
    answer = python(other.origin).result(ENDPOINT, asked.request_id)
    assert hashlib.sha256(CLIP).hexdigest() in answer["output"]
    assert worker.stop() == 0
