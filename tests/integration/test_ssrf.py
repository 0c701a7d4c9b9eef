"""Strangers' URLs against a whole server, on real sockets: none of them reaches anything inside.

The three ways in are a video's URL, a webhook's URL, and the target of the proxy route. Traps listen
on loopback and on this machine's own address, which stand for what is inside; `FRONT` stands for the
public Internet and is the only network that is opened. Every case is tried on a server as a user has
it, and not one connection may arrive in a trap.
"""

import asyncio
import contextlib
import socket
import sys
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address, ip_network
from urllib.parse import quote

import pytest
from tests.fakes.asgi import Browser

from telecine import app as whole
from telecine import settings
from telecine.net import Client, FetchRefused

FRONT = "127.0.0.9"
INNER = "127.0.0.1"
EP = "/openrouter/router/video"
PROXY = "/api/fal/proxy"
REDIRECTS = (301, 302, 303, 307, 308)


def own_address():
    """An address of this machine that is not loopback's, or loopback's where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return probe.getsockname()[0]
    return INNER


ALIAS = own_address()


def words(text):
    return text.split()


# ---------------------------------------------------------------- addresses

SPECIAL = words(
    """
    0.0.0.0 0.0.0.1 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.254 127.0.0.1 127.0.0.2 127.1.2.3
    127.255.255.255 169.254.0.1 172.16.0.1 172.31.255.255 192.0.0.8 192.0.0.171 192.0.2.1 192.88.99.1
    192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1
    239.255.255.250 240.0.0.1 255.255.255.254 255.255.255.255
    [::] [::1] [::2] [100::1] [2001::1] [2001:2::1] [2001:10::1] [2001:20::1] [2001:db8::1] [3fff::1]
    [4000::1] [5f00::1] [fc00::1] [fd12:3456::1] [fe80::1] [febf::1] [fec0::1] [ff01::1] [ff02::1]
    [ff0e::1]
    """
)

# Where clouds keep their machines' credentials.
METADATA = words(
    """
    169.254.169.254 169.254.169.253 169.254.170.2 169.254.170.23 169.254.169.123 169.254.0.23
    169.254.42.42 168.63.129.16 100.100.100.200 100.100.2.136 192.0.0.192 [fd00:ec2::254]
    [fd00:ec2::253] [fd00:ec2::23] [fd20:ce::254] [fd00:42::42] [fe80::a9fe:a9fe]
    """
)
METADATA_NAMES = words(
    """
    metadata metadata.google.internal metadata.goog metadata.azure.internal instance-data
    instance-data.ec2.internal metadata.tencentyun.com metadata.oraclecloud.internal
    kubernetes.default.svc kubernetes.default.svc.cluster.local host.docker.internal
    gateway.docker.internal
    """
)
LOCAL_NAMES = words(
    """
    localhost LOCALHOST localhost. localhost.localdomain foo.localhost ip6-localhost broadcasthost
    router.local printer.lan db.home.arpa vault.corp redis
    """
)


def spellings(text):
    """Ways to write an IPv4 address that some library or other understands."""
    address = IPv4Address(text)
    a, b, c, d = address.packed
    number, pair, high = int(address), f"{c << 8 | d}", int(address) >> 16
    low = f"{number & 0xFFFF:x}"
    teredo = f"2001:0:808:808:0:0:{(high ^ 0xFFFF):x}:{((number & 0xFFFF) ^ 0xFFFF):x}"
    wide = str.maketrans("0123456789", "０１２３４５６７８９")
    circled = str.maketrans("0123456789", "⓪①②③④⑤⑥⑦⑧⑨")
    bold = str.maketrans("0123456789", "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗")
    arabic = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
    return {
        "dotted": text,
        "final dot": f"{text}.",
        "two final dots": f"{text}..",
        "decimal": f"{number}",
        "decimal, wrapped around": f"{number + 2**32}",
        "octal": f"0{number:o}",
        "octal, python": f"0o{number:o}",
        "hex": f"0x{number:x}",
        "hex, capitals": f"0X{number:X}",
        "hex, padded": f"0x00000000{number:08x}",
        "dotted octal": f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        "dotted octal, padded": f"000{a:o}.000{b:o}.000{c:o}.000{d:o}",
        "dotted hex": f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}",
        "mixed": f"0x{a:x}.{b}.0{c:o}.{d}",
        "three parts": f"{a}.{b}.{pair}",
        "two parts": f"{a}.{number & 0xFFFFFF}",
        "two parts, hex": f"0x{a:x}.0x{number & 0xFFFFFF:x}",
        "parts over 255": f"{a + 256}.{b + 256}.{c + 256}.{d + 256}",
        "zeros": f"{a:03}.{b:03}.{c:03}.{d:03}",
        "sign": f"+{number}",
        "mapped": f"[::ffff:{text}]",
        "mapped, hex": f"[::ffff:{high:x}:{low}]",
        "mapped, in full": f"[0000:0000:0000:0000:0000:FFFF:{high:04X}:{int(low, 16):04X}]",
        "compatible": f"[::{text}]",
        "translated": f"[::ffff:0:{text}]",
        "nat64": f"[64:ff9b::{text}]",
        "nat64, local": f"[64:ff9b:1::{text}]",
        "6to4": f"[2002:{high:x}:{low}::1]",
        "teredo": f"[{teredo}]",
        "zone": f"[::ffff:{text}%25lo]",
        "zone, raw": f"[::ffff:{text}%lo]",
        "brackets": f"[{text}]",
        "full width": text.translate(wide),
        "full width dots": text.replace(".", "．"),
        "ideographic dots": text.replace(".", "。"),
        "half width dots": text.replace(".", "｡"),
        "circled": text.translate(circled),
        "bold": text.translate(bold),
        "arabic": text.translate(arabic),
        "percent": "".join(f"%{ord(c):02x}" for c in text),
        "percent dots": text.replace(".", "%2e"),
        "percent twice": text.replace(".", "%252e"),
        "soft hyphen": text.replace(".", ".\u00ad"),
        "zero width": text.replace(".", ".\u200b"),
    }


def addresses():
    """Case name -> what stands for the host."""
    for text in (*SPECIAL, *METADATA):
        yield f"address {text}", text
    for text in dict.fromkeys((INNER, ALIAS, "169.254.169.254")):
        for name, spelling in spellings(text).items():
            yield f"{text} as {name}", spelling


# ---------------------------------------------------------------- names

# What a name leads to; of several answers each lookup takes one, and the last one stays.
PRIVATE_ANSWERS = {
    "loopback.test": [INNER],
    "alias.test": [ALIAS],
    "127.0.0.1.nip.test": [INNER],
    "7f000001.nip.test": [INNER],
    "a9fea9fe.nip.test": ["169.254.169.254"],
    "metadata.test": ["169.254.169.254"],
    "ten.test": ["10.0.0.7"],
    "cgn.test": ["100.64.0.1"],
    "zero.test": ["0.0.0.0"],
    "broadcast.test": ["255.255.255.255"],
    "multicast.test": ["224.0.0.251"],
    "six.test": ["::1"],
    "unique-local.test": ["fd00:ec2::254"],
    "link-local.test": ["fe80::1"],
    "zoned.test": ["fe80::1%lo"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "nat64.test": ["64:ff9b::7f00:1"],
    "6to4.test": ["2002:7f00:1::1"],
    "first-public.test": [FRONT, INNER],
    "first-private.test": [INNER, FRONT],
    "both-families.test": [FRONT, "::1"],
    "many.test": [*(f"127.0.0.{last}" for last in (9,) * 30), "10.0.0.1"],
    "xn--bcher-kva.test": [INNER],
    "under_score.test": [INNER],
    "trailing.test.": [INNER],
    "a." * 100 + "long.test": [INNER],
    # What a resolver answers that followed CNAMEs: the address alone decides, not the last name.
    "cname-to-localhost.test": [INNER],
    "cname-to-metadata.test": ["169.254.169.254"],
    "cname-chain.test": [ALIAS],
    **{name: ["169.254.169.254"] for name in METADATA_NAMES},
    **{name.lower(): [INNER] for name in LOCAL_NAMES},
}
NAMES = [*PRIVATE_ANSWERS, "bücher.test", "LOOPBACK.test", "loopback。test", "ｌoopback.test"]

# ---------------------------------------------------------------- whole URLs

URLS = [
    # who is the host?
    "http://user@{inner}/",
    "http://user:word@{inner}/",
    "http://front.test@{inner}/",
    "http://front.test:80@{inner}/",
    "http://{inner}@front.test/",
    "http://front.test%40{inner}/",
    "http://front.test%2f@{inner}/",
    "http://front.test#@{inner}/",
    "http://front.test?@{inner}/x@front.test\\@{inner}/",
    "http://front.test\\@{inner}/",
    "http://{inner}\\@front.test/",
    "http://{inner}\\.front.test/",
    "http:\\\\{inner}\\",
    "http:/\\{inner}/",
    "http:{inner}/",
    "http:/{inner}/",
    "http:///{inner}/",
    "http://///{inner}/",
    "//{inner}/",
    "{inner}/",
    "http://{inner}:80:80/",
    "http://front.test:80:{inner}/",
    "http://front.test\t@{inner}/",
    "http://front.test\n{inner}/",
    "http://front.test\r\nHost: {inner}/",
    "http://front.test/\r\nHost: {inner}\r\n\r\nGET / HTTP/1.1",
    "http://front.test/%\x00{inner}",
    "http://[{inner}/",
    "http://{inner}]/",
    "http://[front.test]/",
    "http://[::ffff:127.0.0.1]@front.test/",
    "http://1.1.1.1 &@{inner}# @front.test/",
    "http://{inner}%00.front.test/",
    "http://{inner}%0d%0a.front.test/",
    "http://{inner}%23.front.test/",
    "http://{inner},front.test/",
    "http://front.test,{inner}/",
    "http://front.test;@{inner}/",
    "http://*@{inner}/",
    "http://{inner}:0/",
    "http://front.test:0/",
    "http://front.test:65536/",
    "http://front.test:99999999999999/",
    "http://front.test:-1/",
    "http://front.test:８０/",
    # schemes
    "file:///etc/passwd",
    "file://{inner}/etc/passwd",
    "FILE:///etc/passwd",
    "gopher://{inner}/_GET%20/",
    "ftp://{inner}/x",
    "ftps://{inner}/x",
    "sftp://{inner}/x",
    "tftp://{inner}/x",
    "dict://{inner}/stats",
    "ldap://{inner}/",
    "ws://{inner}/",
    "unix:///var/run/docker.sock",
    "http+unix://%2fvar%2frun%2fdocker.sock/",
    "jar:http://{inner}!/",
    "netdoc:///etc/passwd",
    "javascript:fetch('http://{inner}')",
    "about:blank",
    "view-source:http://{inner}/",
    "url:http://{inner}/",
    "rtsp://{inner}/",
    "rtmp://{inner}/",
    "concat:http://{inner}/|http://{inner}/",
    "hls+http://{inner}/",
    "tcp://{inner}",
    "udp://{inner}",
    "pipe:0",
]

# Where a public server sends its visitor.
LOCATIONS = [
    "http://{inner}/",
    "https://{inner}/",
    "//{inner}/",
    "http://{alias}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://0x7f000001:{port}/",
    "http://2130706433:{port}/",
    "http://127.1:{port}/",
    "http://loopback.test:{port}/",
    "http://localhost:{port}/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://user:word@{inner}/",
    "http://front.test@{inner}/",
    "http://{inner}\\@front.test/",
    "http:\\\\{inner}/",
    "/\\{inner}/",
    "file:///etc/passwd",
    "gopher://{inner}/_x",
    "ftp://{inner}/",
    "data:video/mp4;base64,AAAA",
    "javascript:alert(1)",
    "http://front.test:0/",
    "http://[/",
    "/chain/3",
    "/again",
    "http://{inner}/\x0bx",
    "\x00http://{inner}/",
    "http://front.test/%0d%0aHost:%20{inner}",
]

FAL_TRICKS = [
    "https://fal.run@{inner}/",
    "https://fal.run:443@{inner}/",
    "https://{inner}#fal.run",
    "https://{inner}?fal.run",
    "https://{inner}/fal.run",
    "https://{inner}\\@fal.run/",
    "https://fal.run\\@{inner}/",
    "https://fal.run.evil.test/",
    "https://evilfal.run/",
    "https://fal.run.:443@{inner}/",
    "https://fal.run%2f@{inner}/",
    "https://fal.run%00.{inner}/",
    "https://fal.run {inner}/",
    "https://fal.run\t{inner}/",
    "https://fal.run:8080/",
    "https://fal.run:443:443/",
    "https://ｆal.run/",
    "ftp://fal.run/",
    "file://fal.run/etc/passwd",
    "//fal.run/",
    "fal.run/",
    "https:fal.run",
    "https:///fal.run/",
    "https://rest.fal.ai/api/fal/proxy",
    "https://fal.run/api/fal/proxy",
    "https://fal.run/api/fal/proxy/",
    "https://fal.run//api//fal//proxy",
    "https://fal.run/%61pi/fal/proxy",
    "https://fal.run/../../etc/passwd",
    "https://fal.run/%2e%2e/%2e%2e/etc/passwd",
    "https://fal.run/a%2f..%2f..%2fetc",
    "https://v3.fal.media/files/../../etc/passwd",
    "https://v3.fal.media/files/b/%2e%2e/secret",
    "https://rest.fal.ai/storage/upload/initiate?file_url=http://{inner}/",
    "https://queue.fal.run/%00",
]


def cases(port):
    """Case name -> URL, for whoever fetches what a stranger names."""
    inner = f"{INNER}:{port}"
    for name, host in addresses():
        yield name, f"http://{host}:{port}/v.mp4"
    for host in NAMES:
        yield f"name {host[:40]}", f"http://{host}:{port}/v.mp4"
    for host in (*METADATA_NAMES, *LOCAL_NAMES):
        yield f"local name {host}", f"https://{host}/"
    for template in URLS:
        yield f"url {template!r}", template.format(inner=inner)


# ---------------------------------------------------------------- the world


class Trap:
    """Counts who comes, on every address of this machine if none is given. Nobody may."""

    def __init__(self, host=None, port=0):
        self.met = []
        self._at = host, port
        self._somebody_came = asyncio.Event()

    async def __aenter__(self):
        host, port = self._at
        if host is None and socket.has_dualstack_ipv6():
            listener = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        else:
            listener = socket.create_server((host or "", port))
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._meet, sock=listener)
        return self

    async def __aexit__(self, *error):
        self._server.close()

    async def came(self):
        await self._somebody_came.wait()
        self._somebody_came.clear()

    async def _meet(self, _reader, writer):
        self.met.append(writer.get_extra_info("sockname"))
        self._somebody_came.set()
        writer.close()


class Front:
    """A server on the public Internet. `/to/N/STATUS` leads to LOCATIONS[N]."""

    def __init__(self, trap):
        self._trap = trap
        self.heads = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._answer, FRONT, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error):
        self._server.close()

    async def _answer(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            writer.write(self._said(head.split()[1]))
            await writer.drain()
        writer.close()

    def _said(self, path):
        match path.strip("/").split("/"):
            case ["to", number, status]:
                location = LOCATIONS[int(number)].format(
                    inner=f"{INNER}:{self._trap.port}",
                    alias=f"{ALIAS}:{self._trap.port}",
                    port=self._trap.port,
                )
            case ["chain", "0"]:
                status, location = 302, f"http://{INNER}:{self._trap.port}/"
            case ["chain", number]:
                status, location = 302, f"/chain/{int(number) - 1}"
            case ["again"]:  # by then the name has another address
                status, location = 302, f"http://rebind.test:{self._trap.port}/"
            case _:
                return b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        return f"HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


class Resolver:
    """Knows the names above, counts lookups, and changes its mind about `rebind.test`."""

    def __init__(self):
        self.lookups = Counter()

    async def __call__(self, host, _port):
        host = host.lower()
        self.lookups[host] += 1
        if host == "front.test":
            return [FRONT]
        if host.startswith("rebind"):
            return [FRONT if self.lookups[host] == 1 else INNER]
        if host in PRIVATE_ANSWERS:
            return PRIVATE_ANSWERS[host]
        raise OSError("no such host")


@contextlib.asynccontextmanager
async def world(folder, monkeypatch):
    """A whole server, its traps, and the public Internet."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    config = folder / "telecine.toml"
    config.write_text("[auth]\nrequired = false\n[providers.echo]\n")
    found = settings.load(config=config, flags={"data.dir": folder / "data"}, environ={})
    (folder / "data").mkdir()
    found = replace(found, jobs=replace(found.jobs, queue_depth=5000, running_per_key=64))
    resolver = Resolver()

    def client(_settings):
        return Client(
            allow=[ip_network(f"{FRONT}/32")],
            proxy=None,
            connect_seconds=5,
            user_agent="telecine-test/1",
            resolve=resolver,
        )

    monkeypatch.setattr(whole, "client", client)
    async with Trap() as trap, Front(trap) as front, whole.opened(found) as opened:
        call = Browser(opened.asgi, key=None)
        yield call, trap, front, resolver
        assert trap.met == []


def reported(capsys, way, count, wrong, least):
    with capsys.disabled():
        sys.stdout.write(f"\n{way}: {count} cases, {len(wrong)} through ")
    assert wrong == {}
    assert count >= least


def is_refusal(answer):
    """An input error that says what is wrong, with nothing in it of what an inner server said."""
    problems = answer.json["detail"]
    return answer.status == 422 and all(isinstance(each["msg"], str) for each in problems)


# ---------------------------------------------------------------- the traps do their work


def test_a_trap_counts_whoever_comes(run):
    async def story():
        async with Trap() as trap:
            for host in dict.fromkeys((INNER, ALIAS)):
                _, writer = await asyncio.open_connection(host, trap.port)
                await trap.came()
                writer.close()

    run(story())


def test_what_is_allowed_is_reached(run, tmp_path, monkeypatch):
    async def story():
        async with world(tmp_path, monkeypatch) as (call, _, front, _):
            await call("POST", EP, video(f"http://front.test:{front.port}/v.mp4"))
            await call("POST", EP, video(f"http://{FRONT}:{front.port}/v.mp4"))
            assert len(front.heads) == 2

    run(story())


# ---------------------------------------------------------------- media


def video(url):
    return {"prompt": "p", "model": "echo/echo", "video_urls": [url]}


def test_no_video_url_reaches_inside(run, tmp_path, monkeypatch, capsys):
    async def story():
        wrong, count = {}, 0
        async with world(tmp_path, monkeypatch) as (call, trap, front, _):
            for name, url in cases(trap.port):
                count += 1
                answer = await call("POST", EP, video(url))
                if trap.met or not is_refusal(answer):
                    wrong[name] = url, answer.status, answer.body, trap.met[:]
                    trap.met.clear()
            if front.heads:
                wrong["front"] = front.heads
        reported(capsys, "video URLs", count, wrong, 200)

    run(story())


def test_no_redirect_of_a_video_leads_inside(run, tmp_path, monkeypatch, capsys):
    async def story():
        wrong, count = {}, 0
        async with world(tmp_path, monkeypatch) as (call, trap, front, resolver):
            for number, location in enumerate(LOCATIONS):
                for status in REDIRECTS:
                    resolver.lookups["rebind.test"] = 1
                    count += 1
                    url = f"http://front.test:{front.port}/to/{number}/{status}"
                    answer = await call("POST", EP, video(url))
                    if trap.met or not is_refusal(answer):
                        wrong[location, status] = answer.body, trap.met[:]
                        trap.met.clear()
            names = {
                line.partition(":")[0].lower()
                for head in front.heads
                for line in head.split("\r\n")[1:]
            }
            assert not names & {"authorization", "cookie", "referer", "proxy-authorization"}
        reported(capsys, "redirects of videos", count, wrong, 100)

    run(story())


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(run, tmp_path, monkeypatch):
    async def story():
        async with world(tmp_path, monkeypatch) as (call, _, front, resolver):
            # Whoever looked the name up once more would be told INNER.
            url = f"http://rebind.test:{front.port}/v.mp4"
            async with Trap(INNER, front.port) as trap:
                await call("POST", EP, video(url))
                assert resolver.lookups["rebind.test"] == 1
                assert ["host: rebind.test" in head.lower() for head in front.heads] == [True]
                assert is_refusal(await call("POST", EP, video(url)))
                assert len(front.heads) == 1
                assert trap.met == []

    run(story())


# ---------------------------------------------------------------- webhooks


def webhook(url):
    return f"/queue{EP}?fal_webhook={quote(url, safe='')}"


async def not_given_up(call, submitted):
    """Those deliveries that were not refused for good, once each had its first attempt."""
    rows = {name: await ended(call, request_id) for name, request_id in submitted.items()}
    return {name: row for name, row in rows.items() if not is_given_up(row)}


def is_given_up(row):
    """Refused, or nothing came of it that a later attempt would not meet as well."""
    came_to_nothing = ("could not be found", "in proper HTTP", "connection refused")
    if (row["state"], row["attempt"]) == ("dead", 1):
        return True
    return row["last_status"] is None and row["last_detail"].endswith(came_to_nothing)


async def ended(call, request_id):
    for _ in range(1000):
        answer = await call("GET", f"/telecine/v1/deliveries?request_id={request_id}")
        rows = answer.json["deliveries"]
        if rows and (rows[0]["ended_at"] or rows[0]["last_detail"]):
            break
        await asyncio.sleep(0.01)
    return rows[0]


def test_no_webhook_reaches_inside(run, tmp_path, monkeypatch, capsys):
    async def story():
        wrong, submitted, count = {}, {}, 0
        async with world(tmp_path, monkeypatch) as (call, trap, front, _):
            for name, url in cases(trap.port):
                count += 1
                answer = await call("POST", webhook(url), {"prompt": "p", "model": "echo/echo"})
                if answer.status == 200:
                    submitted[name] = answer.json["request_id"]
                elif answer.status != 422:
                    wrong[name] = answer.status, answer.body
            wrong |= await not_given_up(call, submitted)
            if front.heads or trap.met:
                wrong["reached"] = front.heads, trap.met[:]
                trap.met.clear()
        reported(capsys, "webhooks", count, wrong, 200)

    run(story())


def test_no_redirect_of_a_webhook_is_followed(run, tmp_path, monkeypatch, capsys):
    async def story():
        wrong, submitted = {}, {}
        async with world(tmp_path, monkeypatch) as (call, trap, front, _):
            for number, location in enumerate(LOCATIONS):
                for status in REDIRECTS:
                    url = f"http://front.test:{front.port}/to/{number}/{status}"
                    answer = await call("POST", webhook(url), {"prompt": "p", "model": "echo/echo"})
                    submitted[location, status] = answer.json["request_id"]
            wrong |= await not_given_up(call, submitted)
            if trap.met or len(front.heads) != len(submitted):
                wrong["reached"] = trap.met[:], len(front.heads)
                trap.met.clear()
        reported(capsys, "redirects of webhooks", len(submitted), wrong, 100)

    run(story())


# ---------------------------------------------------------------- the proxy route


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_the_proxy_route_connects_to_nothing(run, tmp_path, monkeypatch, capsys, method):
    async def story():
        wrong, count = {}, 0
        async with world(tmp_path, monkeypatch) as (call, trap, front, resolver):
            tricks = [
                (f"trick {each}", each.format(inner=f"{INNER}:{trap.port}")) for each in FAL_TRICKS
            ]
            for name, url in [*cases(trap.port), *tricks]:
                count += 1
                # As a server hands on what stood on the wire; line ends can not stand there.
                value = url.replace("\r", "").replace("\n", "").encode().decode("latin-1")
                body = {} if method in ("GET", "DELETE") else {"body": b"{}"}
                answer = await call(method, PROXY, headers={"x-fal-target-url": value}, **body)
                is_answered = answer.status not in (400, 401, 404, 405, 422)
                if trap.met or (is_answered and "/storage/upload/initiate" not in url):
                    wrong[name] = answer.status, answer.body, trap.met[:]
                    trap.met.clear()
            assert front.heads == []
            assert not resolver.lookups
        reported(capsys, f"proxy route, {method}", count, wrong, 200)

    run(story())


# ---------------------------------------------------------------- through the operator's proxy


async def unknown(_host, _port):
    raise OSError("no such host")


@pytest.mark.parametrize("name", sorted({*METADATA_NAMES, *LOCAL_NAMES}))
def test_a_proxy_is_not_asked_for_inner_names_that_nobody_here_can_look_up(run, name):
    async def story():
        async with Trap() as trap:
            net = Client(
                allow=(),
                proxy=f"http://{INNER}:{trap.port}",
                connect_seconds=5,
                user_agent="telecine-test/1",
                resolve=unknown,
            )
            async with net:
                for scheme in ("http", "https"):
                    with pytest.raises(FetchRefused):
                        async with net.request("GET", f"{scheme}://{name}/"):
                            pass
            assert trap.met == []

    run(story())
