"""Run under the recorder: the real queue, database and storage, used as the server uses them.

`python -m tests.torture.power.workload FOLDER JOBS [off|flat]`. After every promise that the server
would make with a 200, a line goes to FOLDER/MARK: what was promised. `off` breaks the database's promise
(synchronous=OFF), `flat` the storage's (folders are never synced): what the replay must then find.
"""

import asyncio
import hashlib
import json
import os
import secrets
import sys
import time
from pathlib import Path

from tests.fakes.jobs import House, request

from telecine.db import sqlite
from telecine.keys import Keys, load_secret
from telecine.media.spool import Spool
from telecine.models import Attachment
from telecine.storage import local


def main() -> None:
    folder, jobs, how = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if how == ["off"]:
        connect = sqlite._connect

        def careless(path, **options):
            connection = connect(path, **options)
            connection.execute("PRAGMA synchronous = OFF")
            return connection

        sqlite._connect = careless
    if how == ["flat"]:
        local._sync_folder = lambda _folder: None
    asyncio.run(work(folder, jobs))


async def work(folder: Path, jobs: int) -> None:
    mark = os.open(folder / "MARK", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def promise(**what) -> None:
        os.write(mark, json.dumps(what).encode())

    secret = load_secret(folder / "secret")
    promise(secret=hashlib.sha256(secret).hexdigest())
    async with (
        House(folder, slots=2, stop_seconds=5.0) as house,
        Spool(folder / "spool", max_bytes_per_key=10**8, max_file_bytes=10**8) as spool,
    ):
        keys = Keys(db=house.db, clock=time.time, secret=secret)
        promise(key=(await keys.create("k")).key_id)

        async def submit(number: int) -> None:
            content = secrets.token_bytes(3000 + number)
            file = spool.file("key")
            file.write(content)
            file.close()
            attached = Attachment(
                content_type="video/mp4", bytes=file.bytes, sha256=file.sha256, path=file.path
            )
            job = await house.queue.submit(
                request(
                    "wait" if number % 3 else "answer",
                    attachments={"<mark>": attached},
                    video_url="<mark>",
                )
            )
            promise(job=job.id, bytes=hashlib.sha256(content).hexdigest())
            file.discard()

        async def keep(number: int) -> None:
            content = secrets.token_bytes(2000 + number)
            file = spool.file("key")
            file.write(content)
            file.close()
            kept = await house.files.keep("key", "a.mp4", "video/mp4", 10_000.0, file)
            promise(file=kept.id, bytes=hashlib.sha256(content).hexdigest())

        async with asyncio.TaskGroup() as group:
            for number in range(jobs):
                group.create_task(submit(number))
                group.create_task(keep(number))
                if number % 4 == 3:
                    await asyncio.sleep(0.01)
        house.pipeline.go.set()
    os.close(mark)


main()
