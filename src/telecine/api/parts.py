"""What the HTTP edge needs from the rest of the program."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from telecine.api.auth import KeyRing
from telecine.db.base import Database
from telecine.files import Files
from telecine.inference import Inference
from telecine.jobs.deliveries import Deliveries
from telecine.jobs.queue import Queue
from telecine.jobs.signing import SigningKeys
from telecine.jobs.worker import Worker
from telecine.media.scan import Memory
from telecine.media.spool import Spool
from telecine.providers.registry import Registry
from telecine.storage.base import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """What people may know of a configured provider. `key_variable`: where its key is read from;
    `has_key` is None where it needs none."""

    type: str
    host: str | None = None
    key_variable: str | None = None
    has_key: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A type of provider that is not there for want of a key, and what unlocks it."""

    type: str
    key_variables: tuple[str, ...]
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that handlers use; `app` opens and closes it.

    `public_url`: the origin that URLs in answers use; None: they follow the request.
    `is_open`: no key is asked for (`--no-auth`), and only this machine's own programs and pages may
    call. `max_json_bytes` bounds a body without its data URIs, `max_body_bytes` all of it; `memory`
    all bodies at a time.
    """

    db: Database
    storage: Storage
    files: Files
    keys: KeyRing
    spool: Spool
    registry: Registry
    inference: Inference
    queue: Queue
    worker: Worker
    deliveries: Deliveries
    signing_keys: SigningKeys
    upstreams: Mapping[str, Upstream] = field(default_factory=dict)
    locked: Sequence[Locked] = ()
    public_url: str | None = None
    is_open: bool = False
    memory: Memory = field(default_factory=Memory)
    max_json_bytes: int = 8 * 1024 * 1024
    max_body_bytes: int = 4 * 1024**3
    clock: Callable[[], float] = time.time
