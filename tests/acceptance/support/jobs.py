"""Queued requests, asked about by plain HTTP."""

import json
from contextlib import contextmanager

_APP = "openrouter/router"


class Job:
    """A request in the queue of the server that `client` calls."""

    def __init__(self, client, id):
        self.id = id
        self.path = f"/queue/{_APP}/requests/{id}"
        self._client = client

    def status(self, **query):
        return self._client.get(f"{self.path}/status", params=query)

    def result(self):
        return self._client.get(self.path)

    def cancel(self):
        return self._client.put(f"{self.path}/cancel")

    def changes(self, **query):
        """Every event of the status stream, to its end."""
        with self._client.stream("GET", f"{self.path}/status/stream", params=query) as events:
            for line in events.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def becomes(self, *states):
        """Waits for one of them: IN_QUEUE, IN_PROGRESS, COMPLETED."""
        for change in self.changes():
            if change["status"] in states:
                return change
        raise AssertionError(f"request {self.id} never was {states}")


@contextmanager
def submitted(client, document, *, headers=None, **query):
    """A Job, over when the block ends: it holds up nobody after that."""
    answer = client.post(f"/queue/{_APP}/video", json=document, headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    job = Job(client, answer.json()["request_id"])
    yield job
    job.cancel()
    job.becomes("COMPLETED")
