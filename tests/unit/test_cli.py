import errno
import ipaddress
import json
import os
import socket
import stat
import sys
from pathlib import Path

import pytest

import telecine.cli
from telecine import settings
from telecine.cli import common, serve, usage
from telecine.cli.common import Failed
from telecine.cli.remote import Remote, _refusal
from telecine.errors import InputError, NotFound, Problem
from telecine.settings import Settings, SettingsError


def load(tmp_path, **environ):
    return settings.load(
        environ={"HOME": str(tmp_path), **environ}, folder=tmp_path, flags={"data.dir": tmp_path}
    )


@pytest.fixture
def telecine_command(monkeypatch, capsys, tmp_path):
    """Run `telecine ARGUMENTS` in this process; gives (exit code, stdout, stderr)."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("TELECINE_", "XDG_")):
            monkeypatch.delenv(name)
    umask = os.umask(0)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["telecine", *arguments])
        with pytest.raises(SystemExit) as ended:
            telecine.cli.main()
        return (ended.value.code or 0, *capsys.readouterr())

    yield run
    os.umask(umask)


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (SettingsError(["one", "two"]), 2, "telecine: one\ntelecine: two\n"),
        (Failed("no such file", code=2), 2, "telecine: no such file\n"),
        (NotFound("there is no key x"), 1, "telecine: there is no key x\n"),
        (ExceptionGroup("in a task", [NotFound("x is gone")]), 1, "telecine: x is gone\n"),
        (
            InputError(
                "two problems",
                problems=[
                    Problem(("body", "video_urls", 1), "is no video", "t"),
                    Problem(("body", "model"), "is not there", "t"),
                ],
            ),
            1,
            "telecine: video 2: is no video\ntelecine: is not there\n",
        ),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_an_exit_code(capsys, error, code, said):
    assert telecine.cli._tell(error) == code
    assert capsys.readouterr().err == said


def test_a_bug_is_told_without_a_traceback_and_with_one_when_asked_for(
    telecine_command, monkeypatch
):
    def broken(*_args, **_more):
        raise RuntimeError("wires crossed")

    monkeypatch.setattr(common, "load", broken)
    code, _, said = telecine_command("serve")
    assert code == 1
    assert "RuntimeError: wires crossed" in said
    assert "Traceback" not in said
    monkeypatch.setenv("TELECINE_DEBUG", "1")
    assert "Traceback" in telecine_command("serve")[2]


def test_a_wrong_setting_is_told_by_every_command(telecine_command, tmp_path):
    (tmp_path / "telecine.toml").write_text("[server]\nprot = 1")
    for command in (["serve"], ["doctor"], ["models"], ["keys", "list"], ["usage"], ["requests"]):
        code, _, said = telecine_command(*command)
        assert code == 2, command
        assert "line 2: server.prot is not a setting; did you mean server.port?" in said


def test_a_database_that_does_not_answer_is_said_before_anything_starts(telecine_command, tmp_path):
    (tmp_path / "telecine.toml").write_text('[database]\nurl = "postgresql://u:pw@127.0.0.1:1/x"')
    code, _, said = telecine_command("serve", "--port", "0")
    assert code == 1
    assert "postgresql://127.0.0.1:1/x cannot be opened" in said
    assert "pw" not in said


def test_a_worker_of_its_own_says_what_it_needs(telecine_command, tmp_path):
    code, _, said = telecine_command("worker")
    assert code == 2
    assert "database.url" in said
    (tmp_path / "telecine.toml").write_text('[database]\nurl = "postgresql://127.0.0.1:1/x"')
    code, _, said = telecine_command("worker")
    assert code == 2
    assert "storage.url" in said


def test_migrate_tells_what_is_missing_and_does_it(telecine_command):
    assert telecine_command("migrate", "--check")[0] == 1
    assert telecine_command("migrate")[0] == 0
    assert telecine_command("migrate", "--check")[0] == 0


# ---------------------------------------------------------------- the data folder


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_data_folder_is_private(tmp_path):
    assert common.prepare(tmp_path / "a/b") is None
    assert mode(tmp_path / "a/b") == 0o700


def test_an_open_data_folder_of_ours_is_closed_to_others(tmp_path):
    (tmp_path / "telecine.db").touch()
    tmp_path.chmod(0o755)
    assert common.prepare(tmp_path) is None
    assert mode(tmp_path) == 0o700


def test_an_open_folder_with_other_things_in_it_is_left_alone_and_warned_about(tmp_path):
    (tmp_path / "photos").touch()
    tmp_path.chmod(0o755)
    assert "chmod 700" in common.prepare(tmp_path)
    assert mode(tmp_path) == 0o755


def test_a_data_folder_that_can_not_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Failed, match=r"can not be made \(Not a directory\)"):
        common.prepare(tmp_path / "file/data")


# ---------------------------------------------------------------- keys


def test_a_key_is_made_listed_and_revoked(telecine_command, tmp_path):
    data = ["--data", str(tmp_path / "data")]
    code, out, _ = telecine_command("keys", "create", "--alias", "ci", "--json", *data)
    key = json.loads(out)
    assert code == 0
    assert key["key"] == f"{key['key_id']}:{key['key_secret']}"
    assert telecine_command("keys", "revoke", key["key_id"], *data)[0] == 0
    (row,) = json.loads(telecine_command("keys", "list", "--json", *data)[1])
    assert (row["alias"], row["scopes"], bool(row["revoked_at"])) == ("ci", ["API"], True)
    assert "key_secret" not in row
    assert key["key_secret"] not in telecine_command("keys", "list", *data)[1]


def test_revoking_a_key_that_is_not_there_fails(telecine_command, tmp_path):
    code, _, said = telecine_command("keys", "revoke", "nope", "--data", str(tmp_path / "data"))
    assert (code, said) == (1, "telecine: there is no key nope\n")


def test_an_unknown_scope_is_refused(telecine_command):
    code, _, said = telecine_command("keys", "create", "--scope", "root")
    assert (code, said) == (2, "telecine: ROOT is no scope; there are API, CALL, FILES, ADMIN\n")


# ---------------------------------------------------------------- serve


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_serving_without_keys_is_refused_unless_on_loopback(telecine_command, host):
    code, _, said = telecine_command("serve", "--no-auth", "--host", host)
    assert code == 2
    assert f"may listen on loopback alone, not on {host}" in said


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_loopback_has_several_names(host):
    assert serve._is_loopback(host)


def test_a_taken_port_is_told_with_the_remedy():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Failed, match=rf"127\.0\.0\.1 port {port}; choose another with --port"):
            serve.bind("127.0.0.1", port)


def test_port_0_is_one_free_port_on_every_address():
    sockets = serve.bind("localhost", 0)
    ports = {each.getsockname()[1] for each in sockets}
    assert all(ipaddress.ip_address(each.getsockname()[0]).is_loopback for each in sockets)
    for each in sockets:
        each.close()
    assert len(ports) == 1


def test_an_address_of_another_machine_is_told():
    with pytest.raises(Failed, match=r"203\.0\.113\.9 is no address of this machine"):
        serve.bind("203.0.113.9", 0)


def test_where_it_listens_is_told_in_the_data_folder_while_it_serves(tmp_path):
    where = load(tmp_path).address_file
    with serve._announced(load(tmp_path), "http://127.0.0.1:1"):
        assert where.read_text() == "http://127.0.0.1:1"
    assert not where.exists()


def test_it_serves_also_where_it_can_not_tell_the_other_commands(tmp_path, monkeypatch, caplog):
    def full(where, _):
        where.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with serve._announced(load(tmp_path), "http://127.0.0.1:1"):
        assert not load(tmp_path).address_file.exists()
    assert "not told where it listens (No space left on device)" in caplog.text


def test_the_banner_says_where_which_providers_and_how(tmp_path):
    found = load(tmp_path, OPENROUTER_API_KEY="sk-or-hidden")
    text = serve.banner(found, "http://127.0.0.1:8484", "id:secret")
    assert "listens on http://127.0.0.1:8484" in text
    assert "local/report" in text
    assert "openrouter: every video model" in text
    assert "export FAL_KEY=id:secret" in text
    assert "curl -sS http://127.0.0.1:8484/openrouter/router/video" in text
    assert "hidden" not in text
    assert len(text.splitlines()) <= 24


def test_the_banner_says_the_public_url_and_where_it_listens_all_the_same(tmp_path):
    found = load(tmp_path, TELECINE_PUBLIC_URL="https://video.example.org")
    text = serve.banner(found, "http://127.0.0.1:8484", None)
    assert "listens on http://127.0.0.1:8484" in text
    assert "Public   https://video.example.org" in text
    assert "curl -sS https://video.example.org/openrouter/router/video" in text


def test_the_banner_names_the_variable_that_unlocks_a_provider(tmp_path):
    text = serve.banner(load(tmp_path), "http://127.0.0.1:8484", None)
    assert "openrouter: needs a key in the environment variable OPENROUTER_API_KEY" in text
    assert f" keys create --data {tmp_path}" in text


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://localhost:80"),
        ("::1", "http://[::1]:80"),
    ],
)
def test_the_address_in_the_banner_can_be_called(host, url):
    assert serve.url_of(host, 80) == url


# ---------------------------------------------------------------- usage and run


def entry(**values):
    return {
        "provider": "p", "model": "m", "prompt_tokens": 1, "completion_tokens": 2, "cost": None,
        **values,
    }  # fmt: skip


def test_costs_add_up_exactly_and_unknown_ones_are_counted():
    entries = [entry(cost="0.1"), entry(cost="0.2"), entry(), entry(model="a", cost="0")]
    first, second = usage.per_model(entries)
    assert (first["model"], first["cost"]) == ("a", "0")
    assert (second["calls"], second["cost"], second["calls_of_unknown_cost"]) == (3, "0.3", 1)
    assert (second["prompt_tokens"], second["completion_tokens"]) == (3, 6)


def test_a_file_that_is_not_there_is_told_before_anything_starts(telecine_command):
    code, _, said = telecine_command("run", "none.mp4", "-p", "What?")
    assert (code, said) == (2, "telecine: none.mp4: no such file\n")


def test_a_server_that_is_no_url_is_told():
    with pytest.raises(Failed, match="--server must be a URL"):
        Remote("localhost:8484", key=None)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (403, '{"detail": "not allowed"}', "not allowed (status 403)"),
        (
            422,
            '{"detail": [{"loc": ["body", "video_urls", 0], "msg": "is no video"}]}',
            "body.video_urls.0: is no video (status 422)",
        ),
        (502, "<html>", "the server answered 502: <html>"),
    ],
)
def test_both_of_fals_error_bodies_become_a_sentence(status, body, said):
    assert _refusal(status, body) == said


def test_settings_need_a_data_folder_alone(tmp_path):
    assert Settings(data=settings.Data(dir=tmp_path)).server.port == 8484
