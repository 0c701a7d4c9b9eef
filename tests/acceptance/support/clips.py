"""Serves the clips of tests/data, as a web server on the internet does."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DATA = Path(__file__).parents[2] / "data"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class ClipServer:
    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=DATA))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
