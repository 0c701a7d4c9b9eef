"""A short part of what `python -m tests.fuzz` does at length."""

from urllib.parse import urlsplit

from tests.fakes.asgi import Answer
from tests.fuzz import __main__ as command
from tests.fuzz.calls import Tally, broken, fuzz, is_wanted, opened, operations

ASKED = b'{"model": "echo/fail-429"}'


def test_no_call_from_the_openapi_documents_gets_a_5xx(tmp_path):
    tally = fuzz(tmp_path, count=400, seed=20_261)
    assert tally.defects == []
    assert tally.calls >= 400
    assert len(tally.routes) > 60


def test_every_documented_operation_is_called():
    labels = {f"{prefix} {operation.label}" for prefix, operation in operations()}
    assert " POST /openrouter/router/video" in labels
    assert "/queue PUT /openrouter/router/video/requests/{request_id}/cancel" in labels
    assert " GET /telecine/v1/requests" in labels


def test_a_500_is_a_defect_though_the_call_asks_for_a_failure():
    assert not is_wanted(Answer(500, {}, [b'{"detail": "Internal Server Error"}']), ASKED)


def test_a_503_of_the_servers_own_is_a_defect_though_the_call_asks_for_a_failure():
    assert not is_wanted(Answer(503, {}, [b'{"detail": [{"type":"server_busy"}]}']), ASKED)


def test_a_503_of_a_provider_is_a_defect_where_the_call_did_not_ask_for_it():
    answer = Answer(503, {}, [b'{"detail":[{"type":"downstream_service_unavailable"}]}'])
    assert not is_wanted(answer, b'{"model": "echo/echo"}')


def test_a_503_of_the_provider_that_the_call_asked_for_is_no_defect():
    answer = Answer(503, {}, [b'{"detail":[{"type":"downstream_service_unavailable"}]}'])
    assert is_wanted(answer, ASKED)


def test_a_job_that_ends_with_a_500_is_a_defect_though_no_call_was_told(run, tmp_path):
    async def work():
        async with opened(tmp_path) as server:
            asked = {"prompt": "p", "model": "echo/fail-500"}
            job = await server("POST", "/queue/openrouter/router/video", asked)
            path = urlsplit(job.json["status_url"]).path.removeprefix("/queue")
            while (await server("GET", f"/queue{path}")).json["status"] != "COMPLETED":
                pass
            return job.json["request_id"]

    job = run(work())
    assert [row[0] for row in broken(tmp_path / "data" / "telecine.db")] == [job]


def test_the_summary_says_which_operations_answered_503_and_how_often(monkeypatch, capsys):
    tally = Tally()
    tally.refusals[" POST /x"] = 6
    monkeypatch.setattr(command, "fuzz", lambda *_, **__: tally)
    command.main(0)
    assert "503, as the model's name asked for: POST /x: 6\n" in capsys.readouterr().out
