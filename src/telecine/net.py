"""The only way out: one HTTP client, with address checks, caps on size and time.

    FetchError                       a sentence for whoever named the URL
      FetchRefused                   we will not go there: address, scheme, form of the URL
      FetchFailed                    we went, and it did not work: DNS, TCP, TLS, HTTP, time
      FetchTooLarge                  it works, and is larger than the cap

Strangers choose the URLs of videos and webhooks, so `Client.request` and `Client.download` treat
each as an attempt to reach something inside. A host is looked up once per hop; every address in the
answer must be public or inside `allow`; the connection is made to those very addresses. Redirects
are not followed by the HTTP library but walked by hand, each hop checked like the first.

What the operator configured (`Client.trusted`) is not checked: a model server on loopback is usual.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, cast

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
T = TypeVar("T")

_CHUNK = 64 * 1024
MAX_URL = 8190
_MAX_HEADER = 8190
_MAX_HEADERS = 128
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LOOKUPS_AT_ONCE = 128
_LOOKUPS_PER_ZONE = 4  # with 128, one stranger needs 32 domains with dead name servers to hold all
_UNTAKEN_MILLISECONDS = 60_000  # a stranger who takes nothing of what is sent is gone after that


class FetchError(Exception):
    """Base; `message` is fit for a caller: no query string, no credentials, no inner address."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class FetchRefused(FetchError):
    """The URL, or a redirect from it, leads where this client does not go."""


class FetchFailed(FetchError):
    """The other side did not deliver."""


class FetchTooLarge(FetchError):
    """More than `max_bytes`."""

    def __init__(self, message: str, *, max_bytes: int) -> None:
        super().__init__(message)
        self.max_bytes = max_bytes


# ---------------------------------------------------------------- addresses

# Not for strangers, after IANA's special-purpose registries and independent of the Python version
# (whose is_global counts multicast in). 168.63.129.16 looks public and is Azure's inside.
_SPECIAL_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# The one block of IPv6 that is given out, and what in it is not a host on the public Internet:
# protocol assignments with Teredo, documentation, 6to4, documentation again.
_PUBLIC_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(
    IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
# With DNS64 every IPv4 host has an address in here: what counts is the IPv4 address inside.
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether `address` is a host on the public Internet, whatever it is wrapped in."""
    address = _unwrapped(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    return address in _PUBLIC_V6 and not any(address in network for network in _SPECIAL_V6)


def is_allowed(address: Address, allow: Sequence[Network]) -> bool:
    """Whether a stranger's URL may lead to `address`."""
    inner = _unwrapped(address)
    return is_public(address) or any(inner in network or address in network for network in allow)


def _unwrapped(address: Address) -> Address:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


# ---------------------------------------------------------------- URLs

_AUTHORITY = re.compile(r"[^:/?#]+://([^/?#]*)")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)


def checked_url(text: str, allow: Sequence[Network]) -> URL:
    """`text` as a URL that may be tried: http or https, no credentials, no way to misread the host.

    An address written out is checked here; a name is checked when it is looked up.
    Raises FetchRefused. The URL must be used as it is returned: parsed again by another library it
    might mean another host.
    """
    text = text.strip(" \t\r\n")
    if len(text) > MAX_URL:
        raise FetchRefused(f"The URL is longer than {MAX_URL} characters")
    if _UNSAFE.search(text):
        raise FetchRefused("The URL holds control characters or a backslash; they must be encoded")
    try:
        url = URL(text)
        host, port = url.raw_host, url.port
    except ValueError as error:
        raise FetchRefused("The URL cannot be parsed; check host and port") from error
    if url.scheme not in ("http", "https"):
        raise FetchRefused("Only http:// and https:// URLs are fetched")
    if not host:
        raise FetchRefused("The URL names no host")
    authority = _AUTHORITY.match(text)
    if authority is None or "@" in authority[1]:
        raise FetchRefused("The URL holds a user name or password; those are never sent on")
    if not port:
        raise FetchRefused(f"The URL of {shown_text(host)} names port 0, which does not exist")
    if ("[" in authority[1]) != (":" in host):
        raise FetchRefused("The URL's host is in brackets, but not an IPv6 address")
    address = _literal(host)
    if address and not is_allowed(address, allow):
        raise _not_public(f"{host} is not a")
    return url.with_fragment(None)


def _literal(host: str) -> Address | None:
    """The address that `host` writes out, None if it is a name."""
    try:
        if ":" in host or "%" in host:
            if "%" in host:
                raise ValueError("zone id")
            return IPv6Address(host)
        # "Ends in a number" (WHATWG): the resolver would read 0x7f.1, 017700000001 and their like
        # as addresses. Only the one usual way of writing an IPv4 address is taken.
        if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            return IPv4Address(host)
    except ValueError as error:
        raise FetchRefused(
            f"{shown_text(host)} is not the usual form of an address; "
            "write four decimal numbers, an IPv6 address without a zone, or a host name"
        ) from error
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise FetchRefused(f"{shown_text(host)} is not a host name")
    return None


def _not_public(says: str) -> FetchRefused:
    return FetchRefused(
        f"{says} public address. Other networks are reached only if the operator "
        "lists them in TELECINE_NET_ALLOW"
    )


def shown_url(text: str) -> str:
    """`text` cut down to what may stand in a log or a receipt: scheme, host and path."""
    try:
        url = URL(text.strip()[:MAX_URL])
        port = "" if url.port is None or url.is_default_port() else f":{url.port}"
        return shown_text(f"{url.scheme}://{url.host or ''}{port}{url.path}")
    except ValueError:
        return "an unreadable URL"


def shown_host(url: str) -> str:
    """The host in `url`, for a log."""
    try:
        return shown_text(URL(url.strip()).host or "the server")
    except ValueError:
        return "the server"


def shown_text(text: str, limit: int = 200) -> str:
    """`text` for a log: one line, not long."""
    shown = "".join(c if c.isprintable() else "?" for c in text[:limit])
    return shown if len(text) <= limit else shown[: limit - 3] + "..."


# Names that mean this machine or its network, whoever is asked for them: RFC 6761, 6762 and 8375,
# the usual ones for offices and clusters, and clouds' own names for the address of credentials.
_INNER_DOMAINS = (
    *(("localhost",), ("localdomain",), ("local",), ("internal",), ("intranet",), ("lan",)),
    *(("home",), ("corp",), ("private",), ("svc",), ("home", "arpa")),
    *(("metadata", "goog"), ("metadata", "tencentyun", "com")),
)


def _is_inner_name(host: str) -> bool:
    """Whether the name alone says that it is none on the public Internet."""
    labels = tuple(host.rstrip(".").lower().split("."))
    return len(labels) == 1 or any(labels[-len(end) :] == end for end in _INNER_DOMAINS)


# ---------------------------------------------------------------- the guard


class _SystemResolver:
    """The system's lookups, each in a thread of its own: they block, and nobody can end them.

    Whoever gives up leaves the thread behind until the system gives up too. So that a stranger's
    name server which never answers holds up nobody else, lookups below one domain are few at once.
    """

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(_LOOKUPS_AT_ONCE)
        self._zones: weakref.WeakValueDictionary[str, asyncio.Semaphore] = (
            weakref.WeakValueDictionary()
        )

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        zone = ".".join(host.rstrip(".").lower().split(".")[-2:])
        share = self._zones.setdefault(zone, asyncio.Semaphore(_LOOKUPS_PER_ZONE))
        await share.acquire()
        try:
            await self._all.acquire()
        except BaseException:
            share.release()
            raise

        def ended(_: object) -> None:
            share.release()
            self._all.release()

        lookup = _in_thread(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        lookup.add_done_callback(ended)
        found = await asyncio.shield(lookup)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """The outcome of `work`, in a thread that does not keep the program from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(outcome: T | None, error: Exception | None) -> None:
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast(T, outcome))

    def run() -> None:
        outcome, failure = None, None
        try:
            outcome = work()
        except Exception as error:  # noqa: BLE001 -- it is for whoever awaits the future
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            loop.call_soon_threadsafe(settle, outcome, failure)

    threading.Thread(target=run, name="telecine-dns", daemon=True).start()
    return future


class _Guard(AbstractResolver):
    """Looks names up and refuses a name as a whole if one of its addresses is not allowed."""

    def __init__(self, resolve: Resolve, allow: Sequence[Network], seconds: float) -> None:
        self._resolve = resolve
        self._allow = allow
        self._seconds = seconds

    async def addresses(self, host: str, port: int) -> list[Address]:
        """All that `host` has. Raises FetchRefused if one is not allowed, FetchFailed if none."""
        try:
            async with asyncio.timeout(self._seconds):
                texts = await self._resolve(host, port)
        except TimeoutError as error:
            raise FetchFailed(
                f"The host name {shown_text(host)} could not be looked up in {self._seconds:g} s"
            ) from error
        except (OSError, UnicodeError) as error:
            raise FetchFailed(f"The host name {shown_text(host)} could not be found") from error
        found = [ip_address(text) for text in texts]
        if not found:
            raise FetchFailed(f"The host name {shown_text(host)} has no address")
        if not all(is_allowed(address, self._allow) for address in found):
            raise _not_public(f"The host {shown_text(host)} does not lead to a")
        return found

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in await self.addresses(host, port)
        ]

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        """The last look, at what is really connected to, however it got there."""
        family, kind, proto, _, target = info
        if not is_allowed(ip_address(target[0]), self._allow):
            raise PermissionError(errno.EACCES, "not an allowed address")
        made = socket.socket(family, kind, proto)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # else what it never takes would keep the socket
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNTAKEN_MILLISECONDS)
        return made

    async def close(self) -> None:
        """Nothing of its own is open."""


# ---------------------------------------------------------------- the client


class Sink(Protocol):
    """Where a download goes. What `write` raises ends the download and reaches its caller."""

    def write(self, chunk: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What the last server said. `final_url` has lost its query string: it is for people."""

    content_type: str
    final_url: str


class Client:
    """Every connection that leaves this program. An async context manager.

    `allow`: networks that strangers' URLs may reach although they are not public. `proxy`: an HTTP
    proxy for all that is not on a private address; names are checked here as far as they can be
    looked up here, and the proxy, which looks up once more, has the last word. `resolve` gives all
    addresses of a host; the default asks the system. `connect_seconds` is also what callers of
    `trusted` should wait for a connection. Ports are not restricted: an address that may be reached
    may be reached on all. No proxy, credential or cookie comes from the environment.
    """

    def __init__(
        self,
        *,
        allow: Sequence[Network],
        proxy: str | None,
        connect_seconds: float,
        user_agent: str,
        resolve: Resolve | None = None,
    ) -> None:
        self._allow = tuple(allow)
        self._proxy = URL(proxy) if proxy else None
        self.connect_seconds = connect_seconds
        self._user_agent = user_agent
        self._resolve = resolve
        self._stack = contextlib.AsyncExitStack()
        self._sessions: tuple[aiohttp.ClientSession, aiohttp.ClientSession] | None = None

    async def __aenter__(self) -> Self:
        resolve = self._resolve or _SystemResolver()
        self._guard = _Guard(resolve, self._allow, self.connect_seconds)
        guarded = self._session(
            aiohttp.TCPConnector(
                limit=0,
                force_close=True,
                use_dns_cache=False,
                resolver=self._guard,
                socket_factory=self._guard.socket,
            ),
            # A compressed answer could be a thousand times larger than the cap on what arrives.
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
        )
        await self._stack.enter_async_context(guarded)
        trusted = self._session(
            aiohttp.TCPConnector(limit=0),
            middlewares=(self._through_proxy,) if self._proxy else (),
        )
        await self._stack.enter_async_context(trusted)
        self._sessions = guarded, trusted
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._sessions = None
        await self._stack.aclose()

    def _session(
        self, connector: aiohttp.TCPConnector, *, headers: Mapping[str, str] = {}, **more: Any
    ) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": self._user_agent, **headers},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.connect_seconds),
            trust_env=False,
            max_line_size=_MAX_HEADER,
            max_field_size=_MAX_HEADER,
            max_headers=_MAX_HEADERS,
            **more,
        )

    def _opened(self) -> tuple[aiohttp.ClientSession, aiohttp.ClientSession]:
        if self._sessions is None:
            raise RuntimeError("net.Client is not open: use it in `async with`")
        return self._sessions

    def trusted(self) -> aiohttp.ClientSession:
        """The session for servers that the operator configured. No address is checked.

        It has no time limit beyond connecting: callers bring theirs.
        """
        return self._opened()[1]

    async def _through_proxy(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if not _is_near(request.url.raw_host or ""):
            request.update_proxy(self._proxy, None, None)
        return await handler(request)

    @contextlib.asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request to a stranger's URL. The answer's body is unread and may be endless.

        No redirect is followed. There is no time limit beyond connecting: callers bring theirs.
        Raises FetchRefused and FetchFailed, the latter also out of the reading of the body.
        """
        guarded, trusted = self._opened()
        target = checked_url(url, self._allow)
        through = await self._proxy_for(target)
        with _translated(target):
            async with (trusted if through else guarded).request(
                method,
                target,
                headers={"Accept-Encoding": "identity", **(headers or {})},
                data=data,
                allow_redirects=False,
                auto_decompress=False,
                proxy=through,
                middlewares=(),
            ) as response:
                yield response

    async def _proxy_for(self, url: URL) -> URL | None:
        """The proxy, unless there is none or `url` is on an allowed private network."""
        if self._proxy is None:
            return None
        host = url.raw_host or ""
        literal = _literal(host)
        try:
            found = [literal] if literal else await self._guard.addresses(host, url.port or 0)
        except FetchFailed:
            # Behind a proxy there is often no DNS for names outside, and the proxy looks them up.
            if _is_inner_name(host):
                raise _not_public(f"The host {shown_text(host)} does not lead to a") from None
            return self._proxy
        return self._proxy if all(map(is_public, found)) else None

    async def download(
        self, url: str, sink: Sink, *, max_bytes: int, max_seconds: float, max_redirects: int
    ) -> Downloaded:
        """GET `url` into `sink`. `max_seconds` is for all of it, so that a slow drip ends too.

        Raises FetchRefused, FetchFailed, FetchTooLarge, and what `sink.write` raises.
        """
        host = shown_host(url)
        try:
            async with asyncio.timeout(max_seconds):
                return await self._download(url, sink, max_bytes, max_redirects)
        except TimeoutError as error:
            raise FetchFailed(
                f"The download from {host} took longer than {max_seconds:g} s"
            ) from error

    async def _download(
        self, url: str, sink: Sink, max_bytes: int, max_redirects: int
    ) -> Downloaded:
        for _ in range(max_redirects + 1):
            async with self.request("GET", url) as response:
                if response.status in _REDIRECTS and "Location" in response.headers:
                    url = _next_hop(response.url, response.headers["Location"])
                    continue
                _check_answer(response, max_bytes)
                await _pour(response, sink, max_bytes)
                return Downloaded(response.content_type, shown_url(str(response.url)))
        raise FetchFailed(f"{shown_host(url)} was the end of more than {max_redirects} redirects")


def _is_near(host: str) -> bool:
    """Whether the operator's proxy is left out: this machine, and private addresses written out."""
    try:
        return not is_public(ip_address(host))
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


def _next_hop(url: URL, location: str) -> str:
    # The raw text is checked before it is joined: joining would clean it up first.
    if _UNSAFE.search(location):
        raise FetchRefused(f"{url.host} redirects to a URL with control characters or a backslash")
    try:
        return str(url.join(URL(location)))
    except ValueError as error:
        raise FetchRefused(f"{url.host} redirects to something that is not a URL") from error


def _check_answer(response: aiohttp.ClientResponse, max_bytes: int) -> None:
    host = response.url.host
    if response.status != 200:
        try:
            phrase = f"{response.status} {HTTPStatus(response.status).phrase}"
        except ValueError:
            phrase = str(response.status)
        raise FetchFailed(f"{host} answered {phrase} instead of the file")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise FetchFailed(f"{host} sends the file compressed, although it was asked not to")
    if (response.content_length or 0) > max_bytes:
        raise _too_large(response, max_bytes)


async def _pour(response: aiohttp.ClientResponse, sink: Sink, max_bytes: int) -> None:
    taken = 0
    async for chunk in response.content.iter_chunked(_CHUNK):
        taken += len(chunk)
        if taken > max_bytes:
            raise _too_large(response, max_bytes)
        sink.write(chunk)


def _too_large(response: aiohttp.ClientResponse, max_bytes: int) -> FetchTooLarge:
    return FetchTooLarge(
        f"The file at {response.url.host} is larger than {max_bytes} bytes",
        max_bytes=max_bytes,
    )


@contextlib.contextmanager
def _translated(url: URL) -> Iterator[None]:
    """aiohttp's exceptions become ours, at this one border."""
    host = shown_text(url.host or "")
    try:
        yield
    except aiohttp.ClientProxyConnectionError as error:
        raise FetchFailed("The proxy (TELECINE_NET_PROXY) cannot be reached") from error
    except aiohttp.ClientHttpProxyError as error:
        raise FetchFailed(
            f"The proxy (TELECINE_NET_PROXY) answered {error.status} for {host}"
        ) from error
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError) as error:
        raise FetchFailed(f"No secure connection to {host}: {_why_no_tls(error)}") from error
    except aiohttp.ServerTimeoutError as error:
        raise FetchFailed(f"{host} did not accept a connection in time") from error
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, PermissionError):
            raise _not_public(f"The host {host} does not lead to a") from error
        # the exception's own words name the address
        why = os.strerror(error.os_error.errno) if error.os_error.errno else "connection failed"
        raise FetchFailed(f"{host} cannot be reached: {why.lower()}") from error
    except aiohttp.ClientPayloadError as error:
        raise FetchFailed(f"{host} broke off in the middle of the file") from error
    except aiohttp.ClientConnectionError as error:
        raise FetchFailed(f"{host} closed the connection") from error
    except aiohttp.ClientError as error:
        raise FetchFailed(f"{host} does not answer in proper HTTP") from error


def _why_no_tls(error: Exception) -> str:
    reason = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    return str(
        getattr(reason, "verify_message", "") or getattr(reason, "reason", "") or "TLS error"
    )
