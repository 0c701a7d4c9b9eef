"""The answer as it grows: python stream.py clip.mp4"""

import os
import sys

import fal_client

import telecine

telecine.connect(os.environ.get("TELECINE_URL", "http://127.0.0.1:8484"))

stream = fal_client.stream(
    "openrouter/router/video",
    arguments={
        "prompt": "What is said?",
        "model": "local/report",
        "video_urls": [fal_client.upload_file(sys.argv[1])],
    },
)
shown = ""
for event in stream:
    # Every event holds all the text so far.
    print(event["output"].removeprefix(shown), end="", flush=True)
    shown = event["output"]
print()
