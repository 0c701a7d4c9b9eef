"""What a disk holds after the power went: of what was recorded, only what was synced is certain.

The model is the strict one of POSIX. Bytes of a file are on the disk once that file was synced. A name
is in its folder once the folder was synced, whatever happened to the file. What was not synced may be
there or not: `Cut.NOTHING` drops all of it; `Cut.SOME` keeps a random part, as disks do: whole
pages of data in any order, names in the order in which they changed.
"""

import random
import struct
from collections import defaultdict
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePosixPath

_HEAD = struct.Struct("<cIIqI")
_PAGE = 4096
MARK = "MARK"


class Cut(Enum):
    NOTHING = "nothing"
    SOME = "some"


@dataclass(frozen=True, slots=True)
class Step:
    """kind: Create, Write, Truncate, Sync, Rename, Link, Unlink, D: make folder, X: remove folder."""

    kind: str
    path: str
    other: str
    offset: int
    data: bytes


@dataclass(eq=False, slots=True)
class Inode:
    is_folder: bool = False
    synced: bytes = b""
    content: bytearray = field(default_factory=bytearray)
    pending: list = field(default_factory=list)  # (offset, data), or (size, None): cut to that size
    names: dict = field(default_factory=dict)  # of a folder, as the program sees them
    synced_names: dict = field(default_factory=dict)
    pending_names: list = field(default_factory=list)  # (name, inode or None)


def read(record: Path) -> list[Step]:
    data, at, steps = record.read_bytes(), 0, []
    while at < len(data):
        kind, one, two, offset, size = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        first, second = data[at : at + one].decode(), data[at + one : at + one + two].decode()
        at += one + two
        steps.append(Step(kind.decode(), first, second, offset, data[at : at + size]))
        at += size
    return steps


def marks(steps):
    """(number of the step, what was said) for everything that the program was told is kept."""
    return [
        (number, step.data.decode())
        for number, step in enumerate(steps)
        if step.kind == "W" and step.path == MARK
    ]


class Disk:
    """Takes steps one after the other; `after_cut` shows what would be there if the power went now."""

    def __init__(self):
        self.root = Inode(is_folder=True)

    def take(self, step: Step) -> None:
        if step.path == MARK:
            return
        match step.kind:
            case "C":
                self._name(step.path, Inode())
            case "D":
                self._name(step.path, Inode(is_folder=True))
            case "W":
                inode = self._find(step.path)
                end = step.offset + len(step.data)
                if len(inode.content) < end:
                    inode.content.extend(bytes(end - len(inode.content)))
                inode.content[step.offset : end] = step.data
                inode.pending.append((step.offset, step.data))
            case "T":
                inode = self._find(step.path)
                size = step.offset
                del inode.content[size:]
                inode.content.extend(bytes(size - len(inode.content)))
                inode.pending.append((size, None))
            case "S":
                self._sync(self._find(step.path))
            case "R":
                inode = self._find(step.path)
                self._name(step.other, inode)
                self._name(step.path, None)
            case "L":
                self._name(step.other, self._find(step.path))
            case "U" | "X":
                self._name(step.path, None)

    def after_cut(self, target: Path, cut: Cut, chance: random.Random) -> None:
        self._write(self.root, target, cut, chance)

    def _sync(self, inode: Inode) -> None:
        if inode.is_folder:
            inode.synced_names = dict(inode.names)
            inode.pending_names.clear()
        else:
            inode.synced = bytes(inode.content)
            inode.pending.clear()

    def _write(self, folder: Inode, target: Path, cut: Cut, chance: random.Random) -> None:
        target.mkdir(exist_ok=True)
        names = dict(folder.synced_names)
        if cut is Cut.SOME:
            for name, inode in folder.pending_names[: chance.randint(0, len(folder.pending_names))]:
                names.pop(name, None) if inode is None else names.__setitem__(name, inode)
        for name, inode in names.items():
            if inode.is_folder:
                self._write(inode, target / name, cut, chance)
            else:
                (target / name).write_bytes(_content(inode, cut, chance))

    def _find(self, path: str) -> Inode:
        here = self.root
        for part in PurePosixPath(path).parts:
            here = here.names[part]
        return here

    def _name(self, path: str, inode: Inode | None) -> None:
        parts = PurePosixPath(path).parts
        folder = self._find(str(PurePosixPath(*parts[:-1]))) if parts[:-1] else self.root
        if inode is None:
            folder.names.pop(parts[-1], None)
        else:
            folder.names[parts[-1]] = inode
        folder.pending_names.append((parts[-1], inode))


def _content(inode: Inode, cut: Cut, chance: random.Random) -> bytes:
    if cut is Cut.NOTHING:
        return inode.synced
    content = bytearray(inode.synced)
    for offset, data in inode.pending:
        if data is None:
            if chance.random() < 0.5:
                del content[offset:]
                content.extend(bytes(offset - len(content)))
            continue
        for start in range(0, len(data), _PAGE):
            piece = data[start : start + _PAGE]
            if chance.random() < 0.5:
                at = offset + start
                content.extend(bytes(max(0, at + len(piece) - len(content))))
                content[at : at + len(piece)] = piece
    return bytes(content)


def counted(steps) -> dict[str, int]:
    kinds: dict[str, int] = defaultdict(int)
    for step in steps:
        kinds[step.kind] += 1
    return dict(kinds)
