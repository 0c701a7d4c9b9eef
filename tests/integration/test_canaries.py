"""Secrets are planted everywhere, all is done with them that a user does, and then everything that
the server wrote is searched: output, log at DEBUG, database, files, answers, metrics."""

import asyncio
import base64
import contextlib
import json
import os
import re
import sys
from urllib.parse import quote, urlsplit

import aiohttp
import pytest

RUN, QUEUE = "/openrouter/router/video", "/queue/openrouter/router/video"
BOOTSTRAP = "11111111-2222-4333-8444-555555555555:" + "c0ffee" * 5 + "42"

# Told to the server, or to it in a URL: none of these may come out again.
PLANTED = {
    "provider key": "sk-planted-provider-7Qz1",
    "oddly shaped provider key": "plantedproviderkeywithoutanyform",
    "openrouter key": "sk-or-v1-planted5b2e",
    "proxy password": "planted-proxy-word",
    "bootstrap secret": BOOTSTRAP.partition(":")[2],
    "wrong key": "deadbeef" * 4,
    "video token": "planted-video-token",
    "video login": "planted-video-login",
    "webhook token": "planted-webhook-token",
}
# What has to be kept as it is, to be of use when it is due; it is in rows and nowhere else.
IN_ROWS = {"video token", "video login", "webhook token"}

OWN_FILES = {"secret", "webhook-keys.json"}

START = """
import logging, sys
from telecine import telemetry
quiet = telemetry.set_up_logging
def loud(**how):
    quiet(**{**how, "level": "DEBUG"})
    logging.getLogger().setLevel("DEBUG")
telemetry.set_up_logging = loud
from telecine.cli import main
sys.argv = ["telecine", *sys.argv[1:]]
main()
"""

CONFIG = """
[providers.echo]
[providers.up]
type = "openai"
base_url = "http://127.0.0.1:{port}/v1"
api_key_env = "UP_KEY"
models = ["m", "m400", "m401", "m429", "m500", "mbroken"]
[providers.odd]
type = "openai"
base_url = "http://127.0.0.1:{port}/v1"
api_key_env = "ODD_KEY"
models = ["m500", "m400"]
"""


async def blabber(reader, writer):
    """A provider that repeats in its errors whatever it was sent, and the key first of all."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1])) if length else b""
        status = int((re.search(rb'"model": ?"m(\d*)', body) or [b"", b"500"])[1] or 500)
        said = json.dumps({"error": {"message": f"You sent {head}", "code": status, "raw": head}})
        key = re.search(r"authorization: (.*)\r", head, re.IGNORECASE)
        writer.write(f"HTTP/1.1 {status} No\r\nX-Key: {key and key[1]}\r\n".encode())
        writer.write(
            f"Content-Type: application/json\r\nContent-Length: {len(said)}\r\n\r\n".encode()
        )
        writer.write(said.encode())
        await writer.drain()
    writer.close()


class Told:
    """A server's user, who keeps all that was answered."""

    def __init__(self, session, url):
        self._session = session
        self._url = url
        self.everything = b""

    async def __call__(self, method, path, document=None, *, key=BOOTSTRAP, keep=True, **headers):
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            given["Authorization"] = f"Key {key}"
        async with self._session.request(
            method, self._url + path, json=document, headers=given
        ) as answer:
            body = await answer.read()
            if keep is None:
                return answer.cookies
            if keep:
                self.everything += repr(answer.headers).encode() + body
            with contextlib.suppress(ValueError):
                return json.loads(body)


async def use(call):
    """All that users do; the secrets that the server made itself on the way."""
    made = {}
    asked = {"prompt": "p", "model": "echo/echo"}
    login = f"http://user:{PLANTED['video login']}@127.0.0.1/v.mp4"
    videos = [f"http://127.0.0.1/v.mp4?token={PLANTED['video token']}", login]
    hook = quote(f"http://127.0.0.1:9/hook?token={PLANTED['webhook token']}", safe="")
    wrong = f"{BOOTSTRAP.partition(':')[0]}:{PLANTED['wrong key']}"

    for model in ("up/m400", "up/m401", "up/m429", "up/m500", "up/mbroken", "odd/m500", "odd/m400"):
        for path in (RUN, f"{RUN}/stream", QUEUE):
            await call("POST", path, {**asked, "model": model, "receipt": True})
        chat = {"model": model, "messages": [{"role": "user", "content": "p"}]}
        await call("POST", "/openrouter/router/openai/v1/chat/completions", chat)
        await call("POST", "/openrouter/router/openai/v1/responses", {"model": model, "input": "p"})
    for url in videos:
        await call("POST", RUN, {**asked, "video_urls": [url], "receipt": True})
        await call("POST", QUEUE, {**asked, "video_urls": [url]})
    public = f"https://video.test/v.mp4?sig={PLANTED['video token']}"
    await call("POST", RUN, {**asked, "video_urls": [public]})  # by the proxy that is not there
    await call("POST", f"{QUEUE}?fal_webhook={hook}", asked)

    for attempt in (wrong, "x", f"x:{PLANTED['wrong key']}", ":", f"{BOOTSTRAP}x"):
        await call("POST", RUN, asked, key=attempt)
    await call("GET", f"/telecine/v1/requests?fal_jwt_token={PLANTED['wrong key']}", key=None)
    await call("POST", RUN, asked, key=None, Authorization=f"Bearer {PLANTED['wrong key']}")

    key = await call("POST", "/v1/keys", {"alias": "canary"}, keep=False)
    made["API key"] = key["key_secret"]
    await call("POST", RUN, asked, key=key["key"])
    limited = {"alias": "limited", "budget": "0.01", "per_minute": 1, "models": ["echo/*"]}
    limited = await call("POST", "/telecine/v1/keys", limited, keep=False)
    made["key with a budget"] = limited["key"].partition(":")[2]
    for model in ("echo/echo", "echo/echo", "up/m"):  # good, over its rate, not for it
        await call("POST", RUN, {**asked, "model": model}, key=limited["key"])
    made["session cookie"] = await sign_in(call, key["key"])
    await call("GET", "/telecine/v1/audit")
    await call("DELETE", f"/telecine/v1/keys/{limited['key_id']}")
    token = await call("POST", "/rest/tokens/", {"allowed_apps": ["router"]}, keep=False)
    made["token"] = token if isinstance(token, str) else token["token"]
    await call("POST", f"{RUN}?fal_jwt_token={made['token']}", asked, key=None)
    cdn = await call("POST", "/rest/storage/auth/token?storage_type=fal-cdn-v3", {}, keep=False)
    made["CDN token"] = cdn["token"]
    upload = await call("POST", "/rest/storage/upload/initiate", {}, keep=False)
    made["upload secret"] = upload["upload_url"].partition("?upload=")[2]
    made_url = urlsplit(upload["upload_url"])
    await call("PUT", f"{made_url.path}?{made_url.query}", {"a": 1}, key=None)

    for path in ("requests", "deliveries", "models", "providers", "usage", "keys"):
        listed = await call("GET", f"/telecine/v1/{path}")
        for row in (listed or {}).get(path, ()) if isinstance(listed, dict) else ():
            await call("GET", f"/telecine/v1/{path}/{row.get('id')}")
    for path in ("/metrics", "/health", "/ready", "/v1/keys", "/", "/telecine/v1/openapi.json"):
        await call("GET", path)
    return made


async def sign_in(call, key):
    """As the page does; the cookie, which then stands for the key."""
    same = {"Sec_Fetch_Site": "same-origin"}
    cookies = await call("POST", "/telecine/v1/session", {"key": key}, key=None, keep=None, **same)
    cookie = cookies["telecine_session"].value
    same["Cookie"] = f"telecine_session={cookie}"
    for path in ("session", "requests", "keys"):
        await call("GET", f"/telecine/v1/{path}", key=None, **same)
    await call("POST", RUN, {"prompt": "p", "model": "up/m500"}, key=None, **same)
    await call("DELETE", "/telecine/v1/session", key=None, **same)
    return cookie


def kept(data):
    """What the server made for itself, each in a file of its own; to be found in that one alone."""
    signing = json.loads((data / "webhook-keys.json").read_text())
    secret = (data / "secret").read_text().strip()
    return {
        "secret": secret.encode(),
        "secret in Base64": base64.b64encode(bytes.fromhex(secret)),
        **{f"webhook key {key['kid']}": key["d"].encode() for key in signing["keys"]},
    }


@contextlib.asynccontextmanager
async def serving(folder):
    """The command itself, with its output in files. Gives its address."""
    upstream = await asyncio.start_server(blabber, "127.0.0.1", 0)
    config = folder / "telecine.toml"
    config.write_text(CONFIG.format(port=upstream.sockets[0].getsockname()[1]))
    environ = {name: text for name, text in os.environ.items() if "proxy" not in name.lower()}
    environ |= {
        "OPENROUTER_API_KEY": PLANTED["openrouter key"],
        "UP_KEY": PLANTED["provider key"],
        "ODD_KEY": PLANTED["oddly shaped provider key"],
        "TELECINE_BOOTSTRAP_KEY": BOOTSTRAP,
        "TELECINE_NET_PROXY": f"http://me:{PLANTED['proxy password']}@127.0.0.1:9",
    }
    command = ["serve", "--port", "0", "--data", str(folder / "data"), "--config", str(config)]
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-c", START, *command, env=environ, stdout=out, stderr=err
        )
        try:
            yield await address(folder, server)
        finally:
            with contextlib.suppress(ProcessLookupError):
                server.terminate()
            await server.wait()
            upstream.close()


async def address(folder, server):
    while server.returncode is None:
        for file in (folder / "data").glob("address*"):
            if text := file.read_text().strip():
                return text
        await asyncio.sleep(0.05)
    raise AssertionError((folder / "err").read_text())


def written(folder):
    """Every file that the server left: path -> bytes. What it was given itself is none of them."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "telecine.toml"
    }


@pytest.mark.timeout(120)
def test_no_secret_is_in_anything_that_the_server_wrote(tmp_path):
    async def story():
        async with serving(tmp_path) as url, aiohttp.ClientSession() as session:
            call = Told(session, url)
            return await use(call), call.everything

    made, answers = asyncio.run(story())
    files = written(tmp_path)
    log = files[next(path for path in files if path.name == "err")]
    assert b"webhook 1 to" in log, "the log is there to be searched"
    assert answers.count(b"You sent") > 10, "the provider gave the key away, and was repeated"
    assert any(path.suffix == ".db" for path in files)
    secrets = {name: secret.encode() for name, secret in {**PLANTED, **made}.items()}
    own = kept(tmp_path / "data")
    found = []
    for name, secret in {**secrets, **own}.items():
        places = {"answers": answers, **files}
        for place, content in places.items():
            is_row = ".db" in str(place) and name in IN_ROWS
            is_its_own = name in own and getattr(place, "name", "") in OWN_FILES
            if secret in content and not is_row and not is_its_own:
                at = content.index(secret)
                found.append((name, str(place), content[max(0, at - 80) : at + 40]))
    assert found == []
