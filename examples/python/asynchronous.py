"""Two requests side by side, with asyncio: python asynchronous.py clip.mp4"""

import asyncio
import os
import sys

import fal_client

import telecine

telecine.connect(os.environ.get("TELECINE_URL", "http://127.0.0.1:8484"))


async def ask(prompt: str, url: str) -> str:
    handler = await fal_client.submit_async(
        "openrouter/router/video",
        arguments={"prompt": prompt, "model": "local/report", "video_urls": [url]},
    )
    async for event in handler.iter_events(with_logs=True):
        print(prompt, event, file=sys.stderr)
    result = await handler.get()
    output: str = result["output"]
    return output


async def main() -> None:
    url = await fal_client.upload_file_async(sys.argv[1])
    for answer in await asyncio.gather(
        ask("What is said?", url), ask("What is said? As SRT.", url)
    ):
        print(answer)


asyncio.run(main())
