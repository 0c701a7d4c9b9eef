"""Signatures of webhooks, as fal makes them: Ed25519 over four lines, public keys as a JWKS.

    {X-Fal-Webhook-Request-Id}
    {X-Fal-Webhook-User-Id}
    {X-Fal-Webhook-Timestamp}                          Unix seconds
    {hex SHA-256 of the body, byte for byte}

Receivers keep the public keys for up to a day. So a new key is shown for a day before it signs, and
an old one is still shown for a week after it signed last.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from telecine.errors import TelecineError

FILE = "webhook-keys.json"  # in the data folder

SHOWN_BEFORE_SECONDS = 24 * 3600.0
SHOWN_AFTER_SECONDS = 7 * 24 * 3600.0
ROTATE_SECONDS = 90 * 24 * 3600.0
SKEW_SECONDS = 300.0  # how far a delivery's timestamp may be from the receiver's clock

REQUEST_ID = "X-Fal-Webhook-Request-Id"
USER_ID = "X-Fal-Webhook-User-Id"
TIMESTAMP = "X-Fal-Webhook-Timestamp"
SIGNATURE = "X-Fal-Webhook-Signature"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key pair. It signs from `signs_from` until the next one does."""

    private: Ed25519PrivateKey
    created_at: float
    signs_from: float

    @property
    def x(self) -> str:
        """The public half, as base64url."""
        return _base64(self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @property
    def kid(self) -> str:
        """The key's thumbprint (RFC 7638): the same wherever it is computed."""
        members = f'{{"crv":"Ed25519","kty":"OKP","x":"{self.x}"}}'
        return _base64(hashlib.sha256(members.encode()).digest())

    def public(self) -> dict[str, str]:
        """As a JWK, with every member that some reader may want; fal's own read `x` alone."""
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "kid": self.kid,
            "use": "sig",
            "alg": "EdDSA",
            "x": self.x,
        }


class SigningKeys:
    """The installation's keys, in a file for this user only; made when there is none.

    Several processes may use the file: what one of them changes, the others see at their next
    call. Raises TelecineError for a file that it can not read.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float],
        rotate_seconds: float = ROTATE_SECONDS,
    ) -> None:
        self._path = path
        self._clock = clock
        self._rotate_seconds = rotate_seconds
        self._read: tuple[object, tuple[SigningKey, ...]] = (None, ())

    def sign(self, request_id: str, user_id: str, body: bytes) -> dict[str, str]:
        """The headers that go with `body`, to be sent within seconds."""
        now = self._clock()
        head = {REQUEST_ID: request_id, USER_ID: user_id, TIMESTAMP: str(int(now))}
        key = self._signing(now)
        return {**head, SIGNATURE: key.private.sign(_message(head, body)).hex()}

    def shown(self) -> Sequence[SigningKey]:
        """The keys that a receiver may meet: earlier, present, next."""
        return self._shown(self._keys(), self._clock())

    def signing(self) -> SigningKey:
        """The key that signs now."""
        return self._signing(self._clock())

    def jwks(self) -> dict[str, Any]:
        return {"keys": [key.public() for key in self.shown()]}

    def rotate(self, *, at_once: bool = False) -> SigningKey:
        """Bring in a new key; durable when this returns. It signs in a day; if a new one waits
        for its day already, that one is meant.

        `at_once` is for a key that leaked: the new one signs from now on, no other is shown any
        more, and receivers that remember the old ones refuse deliveries until they look again.
        """
        with self._locked() as folder:
            keys, now = self._keys_in_file(), self._clock()
            if at_once or not keys:
                keys = [_new(now, signs_from=now)]
            elif keys[-1].signs_from <= now:
                keys = [
                    *self._shown(keys, now),
                    _new(now, signs_from=now + SHOWN_BEFORE_SECONDS),
                ]
            else:
                return keys[-1]
            self._write(keys, folder)
            return keys[-1]

    def rotate_if_old(self) -> None:
        """Bring in a new key if the newest one has signed for `rotate_seconds`."""
        if self._keys()[-1].signs_from + self._rotate_seconds <= self._clock():
            self.rotate()

    def _signing(self, now: float) -> SigningKey:
        keys = self._keys()
        return next((key for key in reversed(keys) if key.signs_from <= now), keys[0])

    @staticmethod
    def _shown(keys: Sequence[SigningKey], now: float) -> list[SigningKey]:
        nexts = [*keys[1:], None]
        return [
            key
            for key, after in zip(keys, nexts, strict=True)
            if after is None or after.signs_from + SHOWN_AFTER_SECONDS > now
        ]

    # ------------------------------------------------------------ the file

    def _keys(self) -> Sequence[SigningKey]:
        """The keys of the file as it is now, oldest first; one at least."""
        version, keys = self._read
        if version is None or version != self._version():
            version = self._version()
            keys = tuple(self._keys_in_file()) or self._first()
            self._read = (version, keys)
        return keys

    def _first(self) -> tuple[SigningKey, ...]:
        with self._locked() as folder:
            keys = self._keys_in_file()  # somebody may have been faster
            if not keys:
                now = self._clock()
                keys = [_new(now, signs_from=now)]
                self._write(keys, folder)
            return tuple(keys)

    def _version(self) -> object:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _keys_in_file(self) -> list[SigningKey]:
        try:
            with open(self._path, encoding="utf-8") as file:
                os.fchmod(file.fileno(), 0o600)
                return [_key(entry) for entry in json.load(file)["keys"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TelecineError(
                f"{self._path} does not hold the keys that sign webhooks; restore it, or delete it"
                " to have new ones made"
            ) from error

    def _write(self, keys: Sequence[SigningKey], folder: int) -> None:
        """All or nothing, and durable. Under the lock: nobody else writes the draft."""
        draft = self._path.with_name(f"{self._path.name}.new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600)
            json.dump({"keys": [_entry(key) for key in keys]}, file, indent=2)
            file.flush()
            os.fsync(descriptor)
        os.rename(draft, self._path)
        os.fsync(folder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Alone among all processes; gives the folder, open. It is the lock, too: it stays."""
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield folder
        finally:
            os.close(folder)


def problem(
    headers: Mapping[str, str], body: bytes, jwks: Mapping[str, Any], *, now: float
) -> str | None:
    """What is wrong with a delivery, as a receiver sees it; None: it is signed by one of `jwks`.

    `headers` finds names in any case.
    """
    head = {name: headers.get(name, "") for name in (REQUEST_ID, USER_ID, TIMESTAMP)}
    try:
        signature = bytes.fromhex(headers.get(SIGNATURE, ""))
        age = now - int(head[TIMESTAMP])
    except ValueError:
        return "not signed: headers are missing or not in their form"
    if abs(age) > SKEW_SECONDS:
        return f"signed {abs(age):.0f} s {'ago' if age > 0 else 'ahead of this clock'}"
    message = _message(head, body)
    for key in jwks.get("keys", ()):
        with contextlib.suppress(InvalidSignature, KeyError, ValueError):
            Ed25519PublicKey.from_public_bytes(_bytes(key["x"])).verify(signature, message)
            return None
    return "the signature is of none of the keys"


def _message(head: Mapping[str, str], body: bytes) -> bytes:
    lines = (head[REQUEST_ID], head[USER_ID], head[TIMESTAMP], hashlib.sha256(body).hexdigest())
    return "\n".join(lines).encode()


def _new(now: float, *, signs_from: float) -> SigningKey:
    return SigningKey(Ed25519PrivateKey.generate(), now, signs_from)


def _entry(key: SigningKey) -> dict[str, Any]:
    """A key with its private half (RFC 8037), as it stands in the file."""
    return {
        **key.public(),
        "d": _base64(key.private.private_bytes_raw()),
        "created_at": key.created_at,
        "signs_from": key.signs_from,
    }


def _key(entry: Mapping[str, Any]) -> SigningKey:
    private = Ed25519PrivateKey.from_private_bytes(_bytes(entry["d"]))
    return SigningKey(private, float(entry["created_at"]), float(entry["signs_from"]))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
