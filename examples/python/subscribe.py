"""Through the queue, with progress: python subscribe.py clip.mp4"""

import os
import sys

import fal_client

import telecine

telecine.connect(os.environ.get("TELECINE_URL", "http://127.0.0.1:8484"))


def on_queue_update(update: fal_client.Status) -> None:
    if isinstance(update, fal_client.InProgress):
        for log in update.logs or []:
            print(log["message"], file=sys.stderr)


result = fal_client.subscribe(
    "openrouter/router/video",
    arguments={
        "prompt": "What is said?",
        "model": "local/report",
        "video_urls": [fal_client.upload_file(sys.argv[1])],
    },
    with_logs=True,
    on_queue_update=on_queue_update,
)
print(result["output"])
print(result["usage"])
