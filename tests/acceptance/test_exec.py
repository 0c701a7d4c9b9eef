"""telecine exec, telecine.connect and serve --tls-port: programs that know fal's names alone."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys

import pytest
from tests.acceptance.conftest import ENDPOINT
from tests.acceptance.support.program import CANARY, CANARY_ID, Nowhere, execute, node, python
from tests.acceptance.support.server import COMMAND, KEY, Server, command, environment
from tests.acceptance.support.waiting import eventually

BODY = {"prompt": "hello", "model": "echo/echo"}
ECHO = "[providers.echo]\n"


@pytest.fixture
def nowhere(background, tmp_path):
    with Nowhere(background, tmp_path) as nowhere:
        yield nowhere


@pytest.fixture
def under(wire, nowhere, tmp_path):
    """Runs a command under exec, in front of `wire`; afterwards nobody must know the real key."""

    def under(command, *arguments, input=None, env=None):
        return execute(
            command,
            arguments=["--server", wire.url, *arguments],
            folder=tmp_path,
            env={**nowhere.env, "TELECINE_KEY": KEY, **(env or {})},
            input=input,
        )

    yield under
    for call in wire.calls:
        said = f"{call.line} {dict(call.headers)}".encode() + call.body
        assert CANARY_ID.encode() not in said, call.line
    assert CANARY_ID.encode() not in nowhere.sent
    assert not {name for name in nowhere.looked_up if "fal" in name}


@pytest.fixture
def alone(tmp_path):
    """Runs a command under exec with a server of that run's own."""
    (tmp_path / "telecine.toml").write_text(ECHO)

    def alone(command, *arguments, input=None, **env):
        arguments = ["--data", tmp_path / "data", *arguments]
        return execute(command, arguments=arguments, folder=tmp_path, env=env, input=input)

    return alone


def with_telecines_key(wire):
    """The calls that came with Telecine's key."""
    return [call for call in wire.calls if call.headers.get("authorization") == f"Key {KEY}"]


# ---------------------------------------------------------------- Python

EVERYTHING = """
import asyncio
import fal_client

endpoint, body = given
url = fal_client.upload(b"hello", "video/mp4", "a.mp4")

async def later():
    return [
        (await fal_client.run_async(endpoint, body))["output"],
        (await fal_client.subscribe_async(endpoint, body))["output"],
        [event async for event in fal_client.stream_async(endpoint, body)][-1]["output"],
        await fal_client.upload_async(b"hello", "video/mp4", "a.mp4"),
    ]

print(json.dumps({
    "outputs": [
        fal_client.run(endpoint, body)["output"],
        fal_client.subscribe(endpoint, body, with_logs=True)["output"],
        list(fal_client.stream(endpoint, body))[-1]["output"],
    ],
    "url": url,
    "token": fal_client.SyncClient()._get_realtime_token(endpoint),
    "later": asyncio.run(later()),
}))
"""
LARGE = """
import asyncio, hashlib, os
import fal_client, httpx

content = os.urandom(1 << 20) * 101
urls = [
    fal_client.upload(content, "video/mp4", "a.mp4"),
    asyncio.run(fal_client.upload_async(content, "video/mp4", "b.mp4")),
]
print(json.dumps([httpx.get(url, timeout=60).content == content for url in urls]))
"""


def test_fals_python_client_talks_to_telecine_sync_and_async(under, wire):
    got = under(python(EVERYTHING, [ENDPOINT, BODY])).answer
    assert got["outputs"] == ["hello"] * 3
    *outputs, url = got["later"]
    assert outputs == ["hello"] * 3
    assert got["url"].startswith("https://v3.fal.media/files/")
    assert url.startswith("https://v3.fal.media/files/")
    assert got["token"].count(".") == 2
    hosts = {call.headers["x-telecine-host"] for call in wire.calls[1:]}
    assert hosts == {"fal.run", "queue.fal.run", "rest.fal.ai", "v3.fal.media"}
    # The others are uploads, with the token that Telecine gave.
    others = [call for call in wire.calls if call not in with_telecines_key(wire)]
    assert {call.headers["x-telecine-host"] for call in others} == {"v3.fal.media"}
    assert {call.headers["authorization"][:10] for call in others} == {"Bearer eyJ"}


def test_a_large_upload_of_the_python_client_comes_back_as_it_was(under, wire):
    assert under(python(LARGE)).answer == [True, True]
    assert len(wire.to("/multipart/")) > 20


def test_the_openai_sdk_reaches_telecine(under, wire):
    program = """
from openai import APIStatusError, OpenAI
ai = OpenAI(base_url="https://fal.run/openrouter/router/openai/v1", api_key=given, max_retries=0)
try:
    ai.chat.completions.create(model="echo/echo", messages=[{"role": "user", "content": "hello"}])
    print('"answered"')
except APIStatusError as error:
    print(json.dumps(error.status_code))
"""
    assert under(python(program, CANARY)).answer in ("answered", 404)
    path = "/openrouter/router/openai/v1/chat/completions"
    assert [call.line for call in with_telecines_key(wire)][1:] == [f"POST {path}"]


def test_a_websocket_is_refused_at_once(under):
    program = """
import asyncio, fal_client
async def connect():
    async with fal_client.realtime_async(given) as connection:
        await connection.recv()
try:
    asyncio.run(connect())
except Exception as error:
    print(json.dumps(error.response.status_code))
"""
    assert under(python(program, ENDPOINT)).answer == 404


# ---------------------------------------------------------------- JavaScript


def run_row(under, row, **context):
    command, said = node(row, **context)
    return under(command, input=said).answer


def test_fals_js_client_talks_to_telecine(under, wire):
    got = run_row(under, "everything")
    assert got["outputs"] == ["hello"] * 5
    assert got["events"] >= 1
    assert {call.headers["x-telecine-host"] for call in wire.calls[1:]} == {
        "fal.run",
        "queue.fal.run",
        "rest.fal.ai",
    }


@pytest.mark.parametrize("size", [1000, 91 * 1024 * 1024])
def test_uploads_of_the_js_client_come_back_as_they_were(under, wire, size):
    got = run_row(under, "uploads", bytes=size)
    assert got["isSame"]
    assert got["url"] == got["finalUrl"]
    assert got["url"].startswith("https://v3.fal.media/files/")
    assert bool(wire.to("/complete?")) is (size > 90 * 1024 * 1024)


def test_a_blob_in_an_input_is_uploaded_to_telecine(under, wire):
    assert run_row(under, "blob")["status"] == 422  # it is no video, which Telecine says
    assert [call.method for call in wire.calls[1:]] == ["POST", "PUT", "POST"]


def test_workers_are_led_to_telecine_whatever_they_inherit(under, wire):
    assert run_row(under, "workers") == ["hello"] * 4
    assert len(with_telecines_key(wire)[1:]) == 4


def test_child_processes_are_led_to_telecine(under):
    assert run_row(under, "child") == "hello"


def test_the_older_js_client_talks_to_telecine(under, wire):
    got = run_row(under, "older")
    assert got["data"]["output"] == "hello"
    assert got["back"] == "hello"
    assert "rest.alpha.fal.ai" in {call.headers["x-telecine-host"] for call in wire.calls[1:]}


def test_the_openai_js_sdk_reaches_telecine(under, wire):
    assert run_row(under, "openai") == "answered" or wire.calls[-1].status == 404
    assert wire.calls[-1].path.endswith("/openai/v1/chat/completions")


def test_whatever_opens_a_connection_in_node_is_led_to_telecine(under):
    assert run_row(under, "lowly") == ["hello", True, "hello", "hello", "hello"]


def test_a_call_that_is_given_up_is_given_up_at_telecine(under, wire):
    assert run_row(under, "aborted") == "AbortError"
    call = wire.calls[-1]
    assert call.ended.wait(10)
    assert not call.status  # it was left before there was an answer


# ---------------------------------------------------------------- curl


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_curl_talks_to_telecine_and_prints_what_it_prints(under):
    line = ["curl", "-sS", f"https://fal.run/{ENDPOINT}", "-H", f"Authorization: Key {CANARY}"]
    done = under([*line, "-H", "Content-Type: application/json", "-d", json.dumps(BODY)])
    assert json.loads(done.out)["output"] == "hello"
    assert not done.err


# ---------------------------------------------------------------- other hosts

GET = """
import httpx
try:
    print(json.dumps(httpx.get(given).status_code))
except httpx.HTTPError as error:
    print(json.dumps(str(error)))
"""


def test_other_hosts_are_reached_as_before_without_a_word_of_fal(under, nowhere, wire):
    assert "502" in under(python(GET, "https://example.org/x?y=1")).answer  # the sink refuses
    assert nowhere.sent.startswith(b"CONNECT example.org:443 HTTP/1.1\r\n")
    assert len(wire.calls) == 1  # exec's own, at the start


def test_with_only_fal_other_hosts_are_refused(under, nowhere, clips):
    assert "403" in under(python(GET, "https://example.org/"), "--only-fal").answer
    assert under(python(GET, "http://example.org/"), "--only-fal").answer == 403
    command, said = node("elsewhere", local=f"{clips}/jfk_slides.mp4")
    got = under(command, "--only-fal", input=said).answer
    assert "example.org is not one of fal's hosts" in got["byFetch"]
    assert "192.0.2.1 is not one of fal's hosts" in got["byHttp"]
    assert got["local"] == 200
    assert not nowhere.sent
    assert not nowhere.looked_up


def test_a_file_of_the_real_service_is_asked_for_without_a_key(under, nowhere):
    program = GET.replace("given)", "given[0], headers=given[1])")
    given = ["https://v3.fal.media/files/monkey/a.png", {"Authorization": f"Key {CANARY}"}]
    assert under(python(program, given), env={"NO_PROXY": ""}).answer == 502
    assert nowhere.sent.startswith(b"CONNECT v3.fal.media:443 HTTP/1.1\r\n")


# ---------------------------------------------------------------- what is shown


def test_each_call_is_shown_without_a_secret(under):
    done = under(python(EVERYTHING, [ENDPOINT, BODY]), "--print")
    lines = [line for line in done.err.splitlines() if line.startswith("telecine: ")]
    shown = {" ".join(line.split()[1:3]) for line in lines}
    assert f"POST fal.run/{ENDPOINT}" in shown
    assert f"POST queue.fal.run/{ENDPOINT}" in shown
    assert "POST rest.fal.ai/tokens/" in shown
    assert "POST v3.fal.media/files/upload" in shown
    assert lines[0].split()[3] == "200"
    for secret in (CANARY_ID, KEY.partition(":")[2], "eyJ", "?", "Bearer"):
        assert secret not in done.err


def test_nothing_is_said_without_being_asked(under):
    done = under(python("print(given)", "only this"))
    assert (done.out, done.err) == ("only this\n", "")


# ---------------------------------------------------------------- the program


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_code_is_the_programs(alone, code):
    assert alone(["sh", "-c", f"exit {code}"]).code == code


def test_a_program_that_a_signal_ended_ends_as_in_a_shell(alone):
    assert alone(["sh", "-c", "kill -TERM $$"]).code == 128 + signal.SIGTERM


def test_a_program_that_is_not_there_is_told(alone, tmp_path):
    done = alone(["no-such-program", "x"])
    assert (done.code, done.err) == (127, "telecine: no-such-program: no such program\n")
    assert alone([tmp_path]).code == 126
    assert not (tmp_path / "data").exists()


def test_a_script_without_an_interpreter_is_one_of_the_shells(alone, tmp_path):
    (tmp_path / "script").write_text("echo ran with $1\n")
    (tmp_path / "script").chmod(0o755)
    assert alone(["./script", "this"]).out == "ran with this\n"


def test_a_program_that_the_system_refuses_is_told(alone, tmp_path):
    (tmp_path / "script").write_text("#!/no/such/interpreter\n")
    (tmp_path / "script").chmod(0o755)
    done = alone(["./script"])
    assert (done.code, done.err) == (126, "telecine: ./script: No such file or directory\n")


def test_input_output_and_umask_are_the_programs(alone, tmp_path):
    os.umask(was := os.umask(0o022))
    done = alone(["sh", "-c", "cat; umask; echo complaint >&2; touch made"], input="given\n")
    assert done.out == f"given\n{was:04o}\n"
    assert done.err == "complaint\n"
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o666 & ~was


def test_options_after_the_program_are_the_programs(alone):
    assert alone(["echo", "--print", "--", "-x"]).out == "--print -- -x\n"


WAITING = """
import os, signal, sys, time
def end(number, _frame):
    os.write(1, f"got {signal.Signals(number).name}\\n".encode())
    os._exit(33)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, end)
os.write(1, b"ready\\n")
while True:
    time.sleep(60)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_are_passed_on(tmp_path, name):
    line = [COMMAND, "exec", "--data", tmp_path / "data", "--", sys.executable, "-c", WAITING]
    process = subprocess.Popen(
        line, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.Signals[name])
    said, _ = process.communicate(timeout=100)
    assert said == f"got {name}\n"
    assert process.returncode == 33


COUNTING = """
import signal, sys, time
count = 0
def note(*_):
    global count
    count += 1
signal.signal(signal.SIGINT, note)
print("ready", sys.stdin.isatty(), flush=True)
sys.stdin.readline()
print("interrupts", count, flush=True)
"""


def test_an_interrupt_from_the_terminal_reaches_the_program_once(tmp_path):
    """The terminal sends Ctrl-C to both; passed on as well, it would come twice."""
    pid, terminal = pty.fork()
    if pid == 0:
        line = ["exec", "--data", "data", "--", sys.executable, "-c", COUNTING]
        os.chdir(tmp_path)
        os.execve(COMMAND, [str(COMMAND), *line], environment())
    try:
        assert b"ready True" in read_until(terminal, b"True\r\n")
        os.write(terminal, b"\x03")
        read_until(terminal, b"^C")
        os.write(terminal, b"go on\n")
        assert b"interrupts 1\r\n" in read_until(terminal, b"interrupts 1\r\n")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        os.close(terminal)  # which ends what still runs there


def read_until(terminal, end):
    said = b""
    while end not in said:
        said += os.read(terminal, 1000)
    return said


# ---------------------------------------------------------------- which Telecine

SUBMIT = """
import fal_client
print(json.dumps(fal_client.submit(*given).request_id))
"""
RESULT = """
import fal_client
print(json.dumps(fal_client.result(*given)))
"""


def test_what_was_accepted_in_one_run_is_there_in_the_next(alone):
    job = alone(python(SUBMIT, [ENDPOINT, BODY])).answer
    assert alone(python(RESULT, [ENDPOINT, job])).answer["output"] == "hello"


def test_a_server_of_this_data_folder_is_used_while_it_runs(serving, tmp_path):
    server = serving()
    line = python(SUBMIT, [ENDPOINT, BODY])
    job = execute(line, arguments=["--data", server.data], folder=tmp_path, env={}).answer
    line = python(RESULT, [ENDPOINT, job])
    got = execute(line, arguments=["--data", server.data], folder=tmp_path, env={}).answer
    assert got["output"] == "hello"
    assert server.stop() == 0
    assert not (server.data / "address").exists()


def test_a_stale_address_is_no_hindrance(alone, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/address").write_text("http://127.0.0.1:9")
    assert alone(["true"]).code == 0


def test_a_server_that_asks_for_no_key_is_asked_without(serving, nowhere, tmp_path):
    server = serving(arguments=["--no-auth"])
    done = execute(
        python(EVERYTHING, [ENDPOINT, BODY]),
        arguments=["--server", server.origin],
        folder=tmp_path,
        env=nowhere.env,
    )
    assert done.answer["outputs"] == ["hello"] * 3


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"TELECINE_KEY": "wrong:key"}, "invalid key credentials (status 401); set TELECINE_KEY"),
        ({}, "set TELECINE_KEY"),
    ],
)
def test_a_wrong_key_is_told_before_the_program_starts(server, tmp_path, env, said):
    done = execute(
        ["touch", "started"], arguments=["--server", server.origin], folder=tmp_path, env=env
    )
    assert done.code == 1
    assert said in done.err
    assert not (tmp_path / "started").exists()


def test_a_server_that_is_not_there_is_told_with_how_to_start_it(tmp_path):
    line = ["--server", "http://127.0.0.1:9"]
    done = execute(["true"], arguments=line, folder=tmp_path, env={})
    assert done.code == 1
    assert "nothing answers at http://127.0.0.1:9" in done.err
    assert "telecine serve" in done.err


# ---------------------------------------------------------------- serve --tls-port

SUBSCRIBE = """
import fal_client
print(json.dumps(fal_client.subscribe(*given)["output"]))
"""


def test_pythons_client_needs_nothing_but_the_environment_that_the_banner_shows(tmp_path):
    server = Server(tmp_path, config=ECHO, arguments=["--tls-port", "0"]).start()
    try:
        assert eventually(lambda: "/queue\n" in server.banner), server.banner
        shown = [word for word in server.banner.split() if "=" in word and "://" not in word]
        env = dict(word.split("=", 1) for word in shown)
        assert set(env) >= {"SSL_CERT_FILE", "FAL_RUN_HOST", "FAL_QUEUE_RUN_HOST"}
        del env["FAL_KEY"]
        kept = (server.data / "tls/ca.pem").read_bytes()
        program = python(SUBSCRIBE, [ENDPOINT, BODY])
        done = subprocess.run(
            program,
            env=environment(**env, FAL_KEY=KEY),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.stdout, done.returncode) == ('"hello"\n', 0), done.stderr
    finally:
        assert server.stop() == 0
    assert server.start().stop() == 0
    assert (server.data / "tls/ca.pem").read_bytes() == kept, "clients trust it already"
    assert b"PRIVATE" not in kept


def test_a_certificate_that_lacks_a_name_is_made_anew(tmp_path):
    server = Server(tmp_path, config=ECHO, arguments=["--tls-port", "0"])
    server.start().stop()
    kept = (server.data / "tls/ca.pem").read_bytes()
    config = f'[server]\npublic_url = "https://video.example.org"\n{ECHO}'
    Server(tmp_path, config=config, arguments=["--tls-port", "0"]).start().stop()
    assert (server.data / "tls/ca.pem").read_bytes() != kept


# ---------------------------------------------------------------- telecine.connect

CONNECTED = """
import telecine
import fal_client

url, key = given.pop()
telecine.connect(url, key)
""" + EVERYTHING.removeprefix("\nimport asyncio\nimport fal_client\n").replace(
    "asyncio.run(later())", "__import__('asyncio').run(later())"
)


def test_one_line_in_a_python_program_moves_fals_client(wire, tmp_path):
    done = subprocess.run(
        python(CONNECTED, [ENDPOINT, BODY, [wire.url, KEY]]),
        cwd=tmp_path,
        env=environment(FAL_KEY=CANARY),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert got["outputs"] == ["hello"] * 3
    assert got["url"].startswith(wire.url)
    assert got["later"][:3] == ["hello"] * 3
    assert not [call for call in wire.calls if CANARY_ID in str(dict(call.headers))]


def test_help_names_every_option(tmp_path):
    said = command("exec", "--help", folder=tmp_path).stdout
    for option in ("--server", "--only-fal", "--print", "--data", "--config"):
        assert option in said
