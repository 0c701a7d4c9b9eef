"""The environment that leads a program to Telecine, and the files that it names."""

from __future__ import annotations

import contextlib
import json
import shutil
import ssl
from collections.abc import Mapping
from pathlib import Path

from telecine.intercept.gateway import DOMAINS

PLACEHOLDER_KEY = "telecine:exec"  # fal's clients refuse to start without any

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
# Each names the file of all authorities that its readers trust.
_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# These name further ones, beside those that Node and Deno have built in.
_EXTRA = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")
# They would lead the clients away from fal's names, which are the ones that are stood for; the last
# one, to fal's login, whose host is not.
_REMOVED = (
    *("FAL_RUN_HOST", "FAL_QUEUE_RUN_HOST", "FAL_WS_RUN_HOST", "FAL_REST_HOST"),
    *("FAL_HOST", "FAL_GRPC_HOST", "FAL_CDN_HOST", "FAL_CDN_V3_HOST"),
    "FAL_FORCE_AUTH_BY_USER",
)
_LOCAL = ("localhost", "127.0.0.1", "::1")
_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def environment(
    given: Mapping[str, str],
    *,
    proxy_url: str,
    certificate: bytes,
    folder: Path,
    is_only_fal: bool,
) -> dict[str, str]:
    """`given`, changed so that calls to fal's hosts reach `proxy_url` and trust `certificate`.

    The files go to `folder`, which is private, holds the sockets `tls` and `plain`, and lives as
    long as the program.
    """
    made = {name: value for name, value in given.items() if name not in _REMOVED}
    for name in _PROXIES:
        made[name] = made[name.lower()] = proxy_url
    exceptions = _LOCAL if is_only_fal else (*_exceptions(given), *_LOCAL)
    made["NO_PROXY"] = made["no_proxy"] = ",".join(dict.fromkeys(exceptions))
    for name in _BUNDLES:
        usual = _read(given.get(name)) or _usual(given)
        made[name] = _write(folder / f"{name}.pem", usual + certificate)
    for name in _EXTRA:
        made[name] = _write(folder / f"{name}.pem", _read(given.get(name)) + certificate)
    made["NODE_OPTIONS"] = _node_options(given, _preload(folder, is_only_fal=is_only_fal))
    made.setdefault("NODE_USE_ENV_PROXY", "1")
    if not given.get("FAL_KEY") and not (given.get("FAL_KEY_ID") and given.get("FAL_KEY_SECRET")):
        made["FAL_KEY"] = PLACEHOLDER_KEY
    return made


def _exceptions(given: Mapping[str, str]) -> list[str]:
    """The user's own exceptions from proxies, without those that fal's names fall under."""
    text = given.get("no_proxy") or given.get("NO_PROXY") or ""
    return [each for each in map(str.strip, text.split(",")) if each and not _takes_in_fal(each)]


def _takes_in_fal(exception: str) -> bool:
    if exception == "*":
        return True
    name = exception.lower().partition(":")[0].lstrip("*.").rstrip(".")
    return bool(name) and any(
        f".{domain}".endswith(f".{name}") or name.endswith(f".{domain}") for domain in DOMAINS
    )


def _usual(given: Mapping[str, str]) -> bytes:
    """The authorities that programs on this machine trust."""
    found = _read(given.get("SSL_CERT_FILE")) or _read(ssl.get_default_verify_paths().cafile)
    for path in _SYSTEM_BUNDLES:
        found = found or _read(path)
    if not found:
        with contextlib.suppress(ImportError):
            import certifi

            found = _read(certifi.where())
    return found


def _read(path: str | None) -> bytes:
    """What `path` holds, ready for more to follow; nothing when it can not be read."""
    if not path:
        return b""
    try:
        return Path(path).read_bytes().rstrip() + b"\n"
    except OSError:
        return b""


def _write(path: Path, content: bytes) -> str:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return str(path)


def _preload(folder: Path, *, is_only_fal: bool) -> Path:
    """Put the file that Node loads first beside the sockets that it leads to."""
    facts = {"domains": DOMAINS, "onlyFal": is_only_fal}
    _write(folder / "preload.json", json.dumps(facts).encode())
    return Path(shutil.copyfile(Path(__file__).with_name("preload.cjs"), folder / "preload.cjs"))


def _node_options(given: Mapping[str, str], preload: Path) -> str:
    quoted = str(preload).replace("\\", "\\\\").replace('"', '\\"')
    return f'{given.get("NODE_OPTIONS", "")} --require "{quoted}"'.lstrip()
