"""A short part of what `python -m tests.fuzz` does at length."""

from tests.fuzz.calls import fuzz, operations


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
