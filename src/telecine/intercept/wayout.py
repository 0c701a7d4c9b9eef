"""How this machine reaches the hosts that are not fal's: directly, or by the user's own proxy."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import urllib.request
from asyncio import StreamReader, StreamWriter
from urllib.parse import unquote

from yarl import URL

CONNECT_SECONDS = 30.0


class NoWay(Exception):
    """There is no connection to be had; the message says why."""


class WayOut:
    """Follows HTTPS_PROXY and its like as the program would have, had they not been replaced."""

    def __init__(self) -> None:
        self._proxies = urllib.request.getproxies_environment()

    def proxy(self, scheme: str, host: str) -> URL | None:
        """The proxy that leads to `host`; None: none is needed. Raises NoWay."""
        if _is_here(host):
            return None
        text = self._proxies.get(scheme) or self._proxies.get("all")
        if not text or urllib.request.proxy_bypass(host):
            return None
        try:
            url = URL(text if "://" in text else f"http://{text}")
        except ValueError:
            raise NoWay("The proxy that the environment names is not a URL") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise NoWay(f"telecine exec can not go through a proxy of type {url.scheme}")
        return url

    async def connect(self, host: str, port: int) -> tuple[StreamReader, StreamWriter]:
        """A connection whose other end is `host`. Raises NoWay."""
        proxy = self.proxy("https", host)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if proxy is None:
                    return await asyncio.open_connection(host, port)
                return await _through(proxy, host, port)
        except TimeoutError:
            raise NoWay(f"{host} did not accept a connection in time") from None
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise NoWay(f"{host} cannot be reached: {reason}") from error


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


async def _through(proxy: URL, host: str, port: int) -> tuple[StreamReader, StreamWriter]:
    reader, writer = await asyncio.open_connection(
        proxy.host, proxy.port, ssl=True if proxy.scheme == "https" else None
    )
    try:
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{_login(proxy)}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        writer.close()
        raise NoWay(f"The proxy {proxy.host} does not answer in proper HTTP") from error
    except BaseException:
        writer.close()
        raise
    status = head.split(b" ", 2)[1:2]
    if not status or not status[0].startswith(b"2"):
        writer.close()
        said = status[0].decode("latin-1") if status else "nothing"
        raise NoWay(f"The proxy {proxy.host} answered {said} for {host}")
    return reader, writer


def _login(proxy: URL) -> str:
    if proxy.user is None:
        return ""
    login = f"{unquote(proxy.raw_user or '')}:{unquote(proxy.raw_password or '')}"
    return f"Proxy-Authorization: Basic {base64.b64encode(login.encode()).decode()}\r\n"
