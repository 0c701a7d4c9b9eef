"""C006: fal's client in a page that lies on another origin than the server."""

import httpx
import pytest
from tests.acceptance.conftest import ENDPOINT
from tests.acceptance.support.browser import CHROMIUM, shown
from tests.acceptance.support.server import KEY

ROW = """
  const client = fal.createFalClient({
    proxyUrl: `${context.origin}/api/fal/proxy`,
    credentials: context.key,
    suppressLocalCredentialsWarning: true,
  });
  const { input } = context;
  const run = await client.run(context.endpoint, { input });
  const subscribed = await client.subscribe(context.endpoint, { input, logs: true });
  const events = [];
  const stream = await client.stream(context.endpoint, { input });
  for await (const event of stream) events.push(event);
  const url = await client.storage.upload(new File(["hello"], "a.mp4", { type: "video/mp4" }));
  const error = await client.run(context.endpoint, { input: {} }).catch((error) => error);
  return { run, subscribed, events, url, text: await (await fetch(url)).text(),
    error: { status: error.status, requestId: error.requestId, body: error.body } };
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome is installed")
def test_c006_js_in_a_page_on_another_origin(wire, asked, tmp_path):
    context = {"origin": wire.url, "key": KEY, "endpoint": ENDPOINT, "input": asked()}
    answer = shown(ROW, context, folder=tmp_path)
    assert "failed" not in answer, answer
    assert "sha256=" in answer["run"]["data"]["output"]
    runs = [call for call in wire.calls if call.target == f"https://fal.run/{ENDPOINT}"]
    assert answer["run"]["requestId"] == runs[0].answer_headers["x-fal-request-id"] != ""
    assert answer["subscribed"]["requestId"]
    assert "sha256=" in answer["subscribed"]["data"]["output"]
    assert answer["events"][-1]["partial"] is False
    assert answer["text"] == "hello"
    assert httpx.get(answer["url"]).content == b"hello"
    assert answer["error"]["status"] == 422
    assert answer["error"]["requestId"]
    preflights = [call for call in wire.calls if call.method == "OPTIONS"]
    assert preflights
    assert {call.status for call in preflights} <= {200, 204}
