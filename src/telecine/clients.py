"""Points fal's Python client, in this process, at a Telecine."""

from __future__ import annotations

import os
from types import ModuleType
from urllib.parse import urlsplit

_ADDRESSES = {
    "RUN_URL_FORMAT": "{url}/",
    "QUEUE_URL_FORMAT": "{url}/queue/",
    "REST_URL": "{url}/rest",
    "CDN_URL": "{url}/cdn",
    "REALTIME_URL_FORMAT": "ws{tail}/",
}
# Where a client keeps what it read and opened at its first call.
_REMEMBERED = ("_client", "_auth", "_token_manager")


def connect(url: str, key: str | None = None) -> None:
    """From here on `fal_client` calls the Telecine at `url`: runs, queue, streams and uploads,
    sync and async, by plain http too. `key`, if given, is used instead of FAL_KEY.

    Clients that the program makes are moved if they are made, or first used, after this.
    Raises ValueError when `url` is none, ImportError when fal_client is not installed, and
    RuntimeError when its version is one that this does not know.
    """
    url = url.rstrip("/")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ValueError(f"url must be one such as http://127.0.0.1:8484, not {url!r}")
    module = _client_module()
    if key is not None:
        os.environ["FAL_KEY"] = key
    for name, address in _ADDRESSES.items():
        setattr(module, name, address.format(url=url, tail=url.removeprefix("http")))
    for shared in _shared_clients():
        for name in _REMEMBERED:
            vars(shared).pop(name, None)


def _shared_clients() -> list[object]:
    """The ones behind fal_client.run and the like."""
    import fal_client

    names = ("sync_client", "async_client")
    return [getattr(fal_client, name) for name in names if hasattr(fal_client, name)]


def _client_module() -> ModuleType:
    try:
        import fal_client
    except ImportError as error:
        raise ImportError(
            "telecine.connect moves fal's Python client, which is not installed: "
            "pip install fal-client"
        ) from error
    module = getattr(fal_client, "client", None)
    if missing := [name for name in _ADDRESSES if not hasattr(module, name)]:
        version = getattr(fal_client, "__version__", "of unknown version")
        raise RuntimeError(
            f"fal-client {version} has no {missing[0]}, so telecine.connect can not move it; "
            "run the program with: telecine exec -- ..."
        )
    assert isinstance(module, ModuleType)
    return module
