import asyncio
import json
from base64 import b64encode

import pytest

from telecine.providers.body import Base64, Body


class Sink:
    def __init__(self):
        self.data = b""

    async def write(self, piece):
        self.data += piece


def sent(document):
    async def use():
        body, sink = Body(document), Sink()
        await body.write(sink)
        return body, sink.data

    return asyncio.run(use())


@pytest.mark.parametrize("sizes", [(0,), (1,), (0, 0), (5, 0, 7), (1, 2, 3, 4)])
def test_several_files_in_one_string_are_joined_by_commas(tmp_path, sizes):
    paths = [tmp_path / f"{n}" for n in range(len(sizes))]
    for path, size in zip(paths, sizes, strict=True):
        path.write_bytes(b"\xff" * size)
    film = Base64(paths[0], "data:video/jpeg;base64,", tuple(paths[1:]))
    body, data = sent({"a": film, "b": [film]})
    joined = ",".join(b64encode(b"\xff" * size).decode() for size in sizes)
    assert json.loads(data) == {
        "a": f"data:video/jpeg;base64,{joined}",
        "b": [f"data:video/jpeg;base64,{joined}"],
    }
    assert body.size == len(data)
