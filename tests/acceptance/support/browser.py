"""A page in a real browser, on an origin of its own, with fal's JavaScript client in it."""

import json
import os
import shutil
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.acceptance.support.node import FOLDER
from tests.acceptance.support.server import environment

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
_PAGE = """<!doctype html><meta charset="utf-8"><title>page</title>
<script src="/fal.js"></script>
<script type="module">
const context = %s;
async function row() {
%s
}
const result = await row().catch((error) => ({ failed: String(error), body: error.body }));
await fetch("/result", { method: "POST", body: JSON.stringify(result) });
</script>
"""


def shown(row, context, *, folder, seconds=60):
    """What the body of an async function returned that ran in a page; it finds `fal`, `context`."""
    bundle = subprocess.run(
        ["node", "bundle.mjs"], cwd=FOLDER, env=environment(), capture_output=True, check=True
    ).stdout
    page = (_PAGE % (json.dumps(context), row)).encode()
    results, is_there = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            kind, body = (
                ("text/javascript", bundle) if self.path == "/fal.js" else ("text/html", page)
            )
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            results.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            is_there.set()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    browser = _open(f"http://127.0.0.1:{server.server_port}/", folder)
    try:
        assert is_there.wait(seconds), (folder / "chromium.log").read_text()[-3000:]
        return results[0]
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()
        server.shutdown()
        server.server_close()
        thread.join()


def _open(url, folder):
    options = [
        "--headless=new",
        "--no-sandbox",  # it refuses to run as root otherwise, as in a container
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        f"--user-data-dir={folder / 'profile'}",
    ]
    with (folder / "chromium.log").open("wb") as log:
        return subprocess.Popen(
            [CHROMIUM, *options, url],
            env=environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
