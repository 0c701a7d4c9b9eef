"""Ask about a video through the queue with fal's own Python client (pip install fal-client).

FAL_KEY=... TELECINE_URL=http://127.0.0.1:8484 python subscribe.py clip.mp4 "What is said?"
"""

import os
import sys

import fal_client
import fal_client.client as hosts

# fal's client has its hosts as constants; everything else of it stays as it is.
server = os.environ.get("TELECINE_URL", "http://127.0.0.1:8484")
hosts.RUN_URL_FORMAT = f"{server}/"
hosts.QUEUE_URL_FORMAT = f"{server}/queue/"
hosts.REST_URL = f"{server}/rest"
hosts.CDN_URL = f"{server}/cdn"

shown = 0


def show_progress(status: fal_client.Status) -> None:
    """Every status holds the whole log so far."""
    global shown  # noqa: PLW0603 - an example without a class
    logs = getattr(status, "logs", None) or []
    for line in logs[shown:]:
        print(line["message"], file=sys.stderr)
    shown = max(shown, len(logs))


path, prompt = sys.argv[1:]
result = fal_client.subscribe(
    "openrouter/router/video",
    arguments={
        "model": os.environ.get("MODEL", "local/report"),
        "prompt": prompt,
        "video_urls": [fal_client.upload_file(path)],
    },
    with_logs=True,
    on_queue_update=show_progress,
)
print(result["output"])
print(result["usage"], file=sys.stderr)
