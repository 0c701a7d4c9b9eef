"""A program as fal's page has it; nothing in it knows of Telecine:

telecine exec -- python subscribe.py clip.mp4
"""

import sys

import fal_client


def on_queue_update(update: fal_client.Status) -> None:
    if isinstance(update, fal_client.InProgress):
        for log in update.logs or []:
            print(log["message"], file=sys.stderr)


result = fal_client.subscribe(
    "openrouter/router/video",
    arguments={
        "prompt": "What is said?",
        "model": "google/gemini-2.5-flash",
        "video_urls": [fal_client.upload_file(sys.argv[1])],
    },
    with_logs=True,
    on_queue_update=on_queue_update,
)
print(result["output"])
