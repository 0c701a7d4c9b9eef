"""At once, without the queue: python run.py clip.mp4"""

import os
import sys

import fal_client

import telecine

telecine.connect(os.environ.get("TELECINE_URL", "http://127.0.0.1:8484"))

result = fal_client.run(
    "openrouter/router/video",
    arguments={
        "prompt": "What is said?",
        "model": "local/report",
        # A data URI: the video travels inside the request.
        "video_urls": [fal_client.encode_file(sys.argv[1])],
    },
)
print(result["output"])
