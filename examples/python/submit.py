"""Submit now, ask later, perhaps from another program: python submit.py clip.mp4"""

import os
import sys
import time

import fal_client

import telecine

telecine.connect(os.environ.get("TELECINE_URL", "http://127.0.0.1:8484"))

handler = fal_client.submit(
    "openrouter/router/video",
    arguments={
        "prompt": "What is said?",
        "model": "local/report",
        "video_urls": [fal_client.upload_file(sys.argv[1])],
    },
)
request_id = handler.request_id

while not isinstance(
    status := fal_client.status("openrouter/router/video", request_id, with_logs=True),
    fal_client.Completed,
):
    print(status, file=sys.stderr)
    time.sleep(0.5)

result = fal_client.result("openrouter/router/video", request_id)
print(result["output"])
