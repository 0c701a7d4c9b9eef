"""The loop: limit yourself, then do one task after another until the parent closes the pipe.

Tasks and their answers, in the frames of `telecine.processes`:
    {"task": "ping"}                                        -> nothing but the end
    {"task": "probe", "path": ...}                          -> {"probe": {...}}
    {"task": "frames", "path": ..., "fps": ..., "max_side": ...}
                                                            -> {"frame": {...}} + RGB, many
    {"task": "stills", "path": ..., "times": [...], "max_side": ..., "max_bytes": ...}
                                                            -> {"still": {...}} + JPEG, many
    {"task": "transcode", "path": ..., "work": {...}}       -> {"data": true} + bytes, many,
                                                               {"again": true} if all that is void,
                                                               {"made": {...}} + what comes before
    {"task": "audio", "path": ...}                          -> {"audio": seconds} + PCM, many
    {"task": "image", "path": ...}                          -> {"image": {...}}
    {"task": "picture", "path": ..., "max_side": ...}       -> {"picture": {...}} + RGB
    {"task": "sound", "path": ...}                          -> {"sound": {...}}
    {"task": "listen", "path": ...}                         -> as audio, of a sound file
and {"busy": true} in between, as a sign of life.
"""

from __future__ import annotations

import contextlib
import resource
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any, BinaryIO

from telecine.media.child.reader import Answer, Refused
from telecine.processes import pack, read_messages, take_stdout

_SIGN_OF_LIFE_SECONDS = 1.0
_OPEN_FILES = 32


def main() -> None:
    memory_bytes, cpu_seconds = int(sys.argv[1]), int(sys.argv[2])
    out = take_stdout()
    _confine(memory_bytes)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        for task, _ in read_messages(sys.stdin.buffer):
            _allow_cpu(cpu_seconds)
            _answer(task, out)


def _answer(task: dict[str, Any], out: BinaryIO) -> None:
    said = time.monotonic()
    try:
        for head, payload in _run(task):
            now = time.monotonic()
            if "busy" in head and now - said < _SIGN_OF_LIFE_SECONDS:
                continue
            said = now
            out.write(pack(head, payload))
            out.flush()
        last: dict[str, Any] = {"end": True}
    except BrokenPipeError:
        raise
    except Refused as refusal:
        last = {"error": str(refusal), "kind": "unsupported"}
    except MemoryError:
        last = {"error": "out of memory", "kind": "memory"}
    except Exception as error:  # noqa: BLE001 -- bytes that choke FFmpeg or its bindings in a way
        # nobody foresaw are this file's failure only. The trace goes to the parent's log.
        traceback.print_exc()
        last = {"error": f"{type(error).__name__}: {error}", "kind": "failed"}
    out.write(pack(last))
    out.flush()


def _run(task: dict[str, Any]) -> Iterator[Answer]:
    # NumPy costs a probing process 25 MB that it has no use for: it comes with the frames.
    match task["task"]:
        case "ping":
            return iter(())
        case "probe":
            from telecine.media.child import probe

            return probe.look(task["path"])
        case "frames":
            from telecine.media.child import frames

            return frames.read(task["path"], fps=task["fps"], max_side=task["max_side"])
        case "stills":
            from telecine.media.child import stills

            return stills.take(
                task["path"],
                times=task["times"],
                max_side=task["max_side"],
                max_bytes=task["max_bytes"],
            )
        case "transcode":
            from telecine.media.child import transcode

            return transcode.make(task["path"], transcode.Work(**task["work"]))
        case "audio":
            from telecine.media.child import audio

            return audio.read(task["path"])
        case "image":
            from telecine.media.child import images

            return images.look(task["path"])
        case "picture":
            from telecine.media.child import images

            return images.read(task["path"], max_side=task["max_side"])
        case "sound":
            from telecine.media.child import sounds

            return sounds.look(task["path"])
        case "listen":
            from telecine.media.child import sounds

            return sounds.read(task["path"])
        case other:
            raise ValueError(f"unknown task {other!r}")


def _confine(memory_bytes: int) -> None:
    """No core file, no writing to files, few open files, no more memory than that, for good.

    RLIMIT_DATA counts the private writable memory and no reserved address space, so it holds what
    it says; RLIMIT_AS would count 64 MB for every thread's untouched heap.
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _limit(resource.RLIMIT_DATA, memory_bytes)


def _limit(what: int, value: int) -> None:
    # macOS knows the names but refuses some of them; the parent's own limits still hold there.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(what, (value, value))


def _allow_cpu(seconds: int) -> None:
    """The kernel counts a process's whole life: a task gets its share on top of what was used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (limit, most))


if __name__ == "__main__":
    main()
