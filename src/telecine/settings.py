"""Every setting: default, check, and one line of explanation.

The dataclasses below are the one table. A field `port` of section `server` is `port` under
`[server]` in the file and TELECINE_SERVER_PORT in the environment. A command-line flag wins over
the environment, the environment over the file, the file over the default. An empty variable is
one that is not set. `docs/reference/settings.md` is made from this table.
"""

from __future__ import annotations

import difflib
import ipaddress
import logging
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

_log = logging.getLogger("telecine.settings")

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Dialect = Literal[
    "vllm", "sglang", "llamacpp", "ollama", "dashscope", "zai", "kimi", "ark", "generic"
]
ProviderType = Literal["openrouter", "gemini", "openai", "anthropic", "local", "echo"]


class SettingsError(Exception):
    """The settings can not be used; `problems` are whole sentences, one per thing to mend."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


# ---------------------------------------------------------------- what a value may be


@dataclass(frozen=True, slots=True)
class Kind:
    """A check. `read` turns a value of the file into ours, `parse` a text of the environment into
    what the file would have held; both raise ValueError for what is not `allowed`."""

    allowed: str
    read: Callable[[Any], Any]
    parse: Callable[[str], Any] = str


def _expect(value: Any, *types: type) -> Any:
    # bool is an int to Python, and `slots = true` would be 1.
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise ValueError(f"not {types}")
    return value


def _require(is_fine: object) -> None:
    if not is_fine:
        raise ValueError("not allowed")


def _whole(low: int, high: int) -> Kind:
    def read(value: Any) -> int:
        number: int = _expect(value, int)
        _require(low <= number <= high)
        return number

    return Kind(f"a whole number from {low} to {high}", read, int)


def _seconds(low: float, high: float) -> Kind:
    def read(value: Any) -> float:
        number = float(_expect(value, int, float))
        _require(low <= number <= high)
        return number

    return Kind(f"a number of seconds from {low:g} to {high:g}", read, float)


def _days() -> Kind:
    def read(value: Any) -> float:
        number = float(_expect(value, int, float))
        _require(0 < number <= 36500)
        return number

    return Kind("a number of days above 0 and up to 36500", read, float)


_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)}
_UNITS |= {f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", 1)}


def _size(low: int) -> Kind:
    def read(value: Any) -> int:
        if isinstance(value, str):
            match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)
            if match is None or match[2].upper() not in _UNITS:
                raise ValueError("no unit")
            value = int(float(match[1]) * _UNITS[match[2].upper()])
        number: int = _expect(value, int)
        _require(low <= number <= 2**60)
        return number

    return Kind(f'bytes, or a size such as "512 MiB" or "2 GB", of at least {size(low)}', read)


def size(count: int) -> str:
    """2147483648 -> "2 GiB": the largest unit that leaves at most one decimal."""
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if count >= 1024**power and count * 10 % 1024**power == 0:
            return f"{count / 1024**power:g} {unit}"
    return f"{count} bytes"


def _flag() -> Kind:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

    def parse(text: str) -> bool:
        _require(text.lower() in words)
        return words[text.lower()]

    return Kind("true or false", lambda value: _expect(value, bool), parse)


def _text(allowed: str = "a text that is not empty", pattern: str = r".+") -> Kind:
    def read(value: Any) -> str:
        text: str = _expect(value, str)
        _require(re.fullmatch(pattern, text))
        return text

    return Kind(allowed, read)


_KEY = r"[!-9;-~]+(:[!-~]+)?"


def _choice(*words: str) -> Kind:
    def read(value: Any) -> str:
        _require(value in words)
        return str(value)

    return Kind("one of " + ", ".join(words), read)


def _url(*schemes: str, allowed: str, is_origin: bool = False, may_login: bool = False) -> Kind:
    def read(value: Any) -> str:
        text: str = _expect(value, str)
        parts = urlsplit(text)
        _require(parts.scheme in schemes and parts.hostname and not re.search(r"\s", text))
        _require(parts.port is None or parts.port > 0)
        _require(may_login or parts.username is None)
        _require(not is_origin or (parts.path in ("", "/") and not parts.query))
        return text.rstrip("/")

    return Kind(allowed, read)


def _store() -> Kind:
    allowed = "s3://BUCKET/PREFIX, gs://..., az://..., or file:///FOLDER"
    bucket = _url("s3", "gs", "az", may_login=True, allowed=allowed)

    def read(value: Any) -> str:
        is_folder = isinstance(value, str) and re.fullmatch(r"file:///\S+", value)
        return str(value).rstrip("/") if is_folder else str(bucket.read(value))

    return Kind(allowed, read)


def _optional(kind: Kind) -> Kind:
    return Kind(f"{kind.allowed}, or empty", lambda value: kind.read(value) if value else "")


def _folder() -> Kind:
    def read(value: Any) -> Path:
        text: str = _expect(value, str, Path)
        _require(str(text))
        try:
            return Path(text).expanduser()
        except RuntimeError as error:  # the home of a user whom nobody knows
            raise ValueError("no such home") from error

    return Kind("a folder; relative ones start at the settings file, else at the current one", read)


def _networks() -> Kind:
    def read(value: Any) -> tuple[Network, ...]:
        texts = [_expect(each, str) for each in _expect(value, list)]
        return tuple(ipaddress.ip_network(text, strict=False) for text in texts)

    def parse(text: str) -> list[str]:
        return [each.strip() for each in text.split(",") if each.strip()]

    return Kind('networks or single addresses, such as ["10.0.0.0/8", "192.168.1.7"]', read, parse)


def _names() -> Kind:
    def read(value: Any) -> tuple[str, ...]:
        names = tuple(_expect(each, str) for each in _expect(value, list))
        _require(names and all(names))
        return names

    return Kind('a list of names, such as ["a", "b"]', read)


def _forms() -> Kind:
    words = ("file", "url", "link", "frames")

    def read(value: Any) -> tuple[str, ...]:
        forms = tuple(_expect(each, str) for each in _expect(value, list))
        _require(set(forms) <= {*words} and len({*forms}) == len(forms))
        return forms

    return Kind(f"a list of {', '.join(words)}; empty if it takes no video", read)


def _dollars() -> Kind:
    def read(value: Any) -> Decimal:
        try:
            amount = Decimal(str(_expect(value, int, float, str)))
        except InvalidOperation as error:
            raise ValueError("no number") from error
        _require(amount.is_finite() and 0 <= amount < 10**6)
        return amount

    return Kind('US dollars per million tokens, such as 0.3 or "0.30"', read)


def _aliases() -> Kind:
    def read(value: Any) -> dict[str, str]:
        pairs: dict[str, str] = dict(_expect(value, dict))
        _require(all(name and target and isinstance(target, str) for name, target in pairs.items()))
        return pairs

    def parse(text: str) -> dict[str, str]:
        pairs = [pair.split("=", 1) for pair in text.split(",") if pair.strip()]
        _require(all(len(pair) == 2 for pair in pairs))
        return {name.strip(): target.strip() for name, target in pairs}

    return Kind('a table of "asked name" = "name to use"', read, parse)


# ---------------------------------------------------------------- the table


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is known of one setting, besides its default.

    `variable`: a shorter name in the environment, besides the regular one. `is_secret`: never
    shown, not even in an error. `may_stand_in_file` is False for what belongs in no file.
    `shown`: how the reference writes a default that is not a plain value.
    """

    kind: Kind
    help: str
    flag: str = ""
    variable: str = ""
    is_secret: bool = False
    may_stand_in_file: bool = True
    shown: str = ""


def setting(default: Any, kind: Kind, help: str, **more: Any) -> Any:
    """A dataclass field that carries its Row. A type as default is called for a fresh value."""
    row = Row(kind=kind, help=help, **more)
    if isinstance(default, type):
        return field(default_factory=default, repr=not row.is_secret, metadata={"row": row})
    return field(default=default, repr=not row.is_secret, metadata={"row": row})


def rows(section: type) -> Iterator[tuple[str, Any, Row]]:
    """(name, default, Row) of every setting of a section; the default may be MISSING."""
    for each in fields(section):
        if row := each.metadata.get("row"):
            factory: Any = each.default_factory
            yield each.name, each.default if factory is MISSING else factory(), row


@dataclass(frozen=True, kw_only=True)
class Server:
    host: str = setting("127.0.0.1", _text(), "The address to listen on.", flag="--host")
    port: int = setting(
        8484, _whole(0, 65535), "The port; 0 takes any that is free.", flag="--port"
    )
    public_url: str | None = setting(
        None,
        _url(
            "http", "https", is_origin=True, allowed="an origin such as https://video.example.org"
        ),
        "What clients reach this server by, when a proxy stands in front; URLs in answers use it.",
        variable="TELECINE_PUBLIC_URL",
    )
    stop_seconds: float = setting(
        30.0, _seconds(0, 3600), "How long running requests may go on when the server is stopped."
    )


@dataclass(frozen=True, kw_only=True)
class Data:
    dir: Path = setting(
        MISSING,
        _folder(),
        "Where the database, the files and the keys are kept; private to the user.",
        flag="--data",
        shown="$XDG_DATA_HOME/telecine, else ~/.local/share/telecine",
    )


@dataclass(frozen=True, kw_only=True)
class Database:
    url: str = setting(
        "",
        _optional(_url("postgresql", "postgres", may_login=True, allowed="postgresql://HOST/NAME")),
        "Empty: SQLite in the data folder. Nodes that share a PostgreSQL database are one"
        " installation.",
        is_secret=True,
    )
    connections: int = setting(
        10, _whole(3, 100), "Connections to PostgreSQL that this node opens at most, besides one."
    )


@dataclass(frozen=True, kw_only=True)
class Storage:
    url: str = setting(
        "",
        _optional(_store()),
        "Where uploaded and fetched files are kept; empty: in the data folder. What several nodes"
        " share is a bucket, or a folder that all of them see.",
        is_secret=True,
    )
    bytes_per_key: int = setting(
        0, _size(0), "What one key's uploaded files may take together; 0: no limit."
    )

    @property
    def folder(self) -> Path | None:
        """The folder that `url` names; None: it names none."""
        path = self.url.removeprefix("file://")
        return Path(unquote(path)) if path != self.url else None


@dataclass(frozen=True, kw_only=True)
class Auth:
    required: bool = setting(
        True,
        _flag(),
        "Whether calls need a key. False only while listening on loopback alone.",
        flag="--no-auth",
    )
    bootstrap_key: str | None = setting(
        None,
        _text("KEY_ID:KEY_SECRET, or another printable ASCII text without spaces", _KEY),
        "A first key that always works, for CI and containers.",
        variable="TELECINE_BOOTSTRAP_KEY",
        is_secret=True,
        may_stand_in_file=False,
    )


@dataclass(frozen=True, kw_only=True)
class Jobs:
    slots: int = setting(
        16, _whole(0, 1024), "Queued requests run at once here; 0: none.", flag="--jobs"
    )
    run_seconds: float = setting(
        3600.0, _seconds(1, 86400), "The longest that one request may run."
    )
    queue_depth: int = setting(
        100_000, _whole(1, 10_000_000), "Requests that may wait; more are answered with 429."
    )
    running_per_key: int = setting(
        0, _whole(0, 100_000), "Requests of one key that may run at once; 0: no limit."
    )
    running_per_model: int = setting(
        0, _whole(0, 100_000), "Requests to one model that may run at once; 0: no limit."
    )
    lost_seconds: float = setting(
        30.0,
        _seconds(5, 300),
        "With PostgreSQL: a node that was not seen for so long is gone, and others run its jobs.",
    )


@dataclass(frozen=True, kw_only=True)
class Net:
    allow: tuple[Network, ...] = setting(
        (), _networks(), "Private networks that video downloads may reach all the same."
    )
    proxy: str | None = setting(
        None,
        _url(
            "http", "https", may_login=True, allowed="a URL such as http://proxy.example.org:3128"
        ),
        "The HTTP proxy for everything that goes out; HTTPS_PROXY and the like are not read.",
        is_secret=True,
    )
    connect_seconds: float = setting(
        10.0, _seconds(0.1, 300), "How long a connection to a video's or a model's server may take."
    )
    fetch_seconds: float = setting(
        300.0, _seconds(1, 86400), "How long the download of one video may take."
    )
    max_redirects: int = setting(5, _whole(0, 20), "Redirects that a download follows.")


@dataclass(frozen=True, kw_only=True)
class Media:
    max_bytes: int = setting(2 * 1024**3, _size(1024), "The largest video.")
    max_json_bytes: int = setting(
        8 * 1024**2, _size(1024), "The largest request body, not counting data URIs in it."
    )
    spool_bytes_per_key: int = setting(
        4 * 1024**3, _size(1024**2), "Temporary files of one key's unfinished requests, together."
    )
    processes: int = setting(2, _whole(1, 64), "Processes that open and decode videos.")
    process_memory_bytes: int = setting(
        1536 * 1024**2, _size(256 * 1024**2), "Memory that one of them may take."
    )
    process_cpu_seconds: int = setting(
        600, _whole(1, 86400), "CPU time in seconds that one of them may spend on one task."
    )
    youtube: Literal["off", "download"] = setting(
        "off",
        _choice("off", "download"),
        "Whether videos on YouTube are fetched with yt-dlp, for models that take no links.",
    )


@dataclass(frozen=True, kw_only=True)
class Retention:
    upload_days: float = setting(7.0, _days(), "How long uploaded files are kept.")
    payload_days: float = setting(30.0, _days(), "How long inputs and results are kept.")


@dataclass(frozen=True, kw_only=True)
class Local:
    weights_dir: Path | None = setting(
        None, _folder(), "Where speech weights lie; else those of the installed packages are used."
    )
    threads: int = setting(2, _whole(1, 256), "Threads of the embedded models.")


_UNSAID = "as its provider knows"


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """One `[models.catalog."PROVIDER/MODEL"]`: what is better known here than to its provider."""

    video: tuple[str, ...] | None = setting(
        None,
        _forms(),
        "The forms in which it takes videos, the preferred first: as a file, as a URL that its"
        " server fetches, as a YouTube link, as frames and transcript.",
        shown=_UNSAID,
    )
    hears: bool | None = setting(
        None, _flag(), "Whether the sound of a video reaches it.", shown=_UNSAID
    )
    max_videos: int | None = setting(None, _whole(1, 1000), "Videos in one request.", shown=_UNSAID)
    max_seconds: float | None = setting(
        None, _seconds(1, 864_000), "How long one video may be.", shown=_UNSAID
    )
    max_bytes: int | None = setting(None, _size(1024), "How large one video may be.", shown=_UNSAID)
    max_request_bytes: int | None = setting(
        None, _size(1024), "How large a request may be, media as Base64.", shown=_UNSAID
    )
    max_images: int | None = setting(
        None, _whole(1, 100_000), "Images in one request, frames of videos included.", shown=_UNSAID
    )
    context_tokens: int | None = setting(
        None, _whole(1, 10**9), "The tokens that it can have in mind at once.", shown=_UNSAID
    )
    price_prompt: Decimal | None = setting(
        None, _dollars(), "What tokens that go in cost; with price_completion.", shown=_UNSAID
    )
    price_completion: Decimal | None = setting(
        None, _dollars(), "What tokens that come out cost; with price_prompt.", shown=_UNSAID
    )
    price_cached: Decimal | None = setting(
        None, _dollars(), "What tokens cost that its cache had.", shown="price_prompt"
    )
    price_audio: Decimal | None = setting(
        None, _dollars(), "What tokens of sound cost.", shown="price_prompt"
    )


@dataclass(frozen=True, kw_only=True)
class Models:
    aliases: Mapping[str, str] = setting(
        dict,
        _aliases(),
        'Other names for models; "*" stands for every name that nothing else answers to.',
        shown="{}",
    )
    catalog: Mapping[str, ModelSettings] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ProviderSettings:
    """One `[providers.NAME]`. `api_key` is what the variable `api_key_env` held; never printed."""

    type: ProviderType = setting(
        MISSING,
        _choice("openrouter", "gemini", "openai", "anthropic", "local", "echo"),
        "What speaks there; needed unless NAME is one of these words.",
        shown="NAME",
    )
    base_url: str | None = setting(
        None,
        _url("http", "https", allowed="a URL such as http://localhost:8000/v1, without a login"),
        "Where its API begins; needed for type openai.",
        shown="the maker's",
    )
    api_key_env: str | None = setting(
        None,
        _text("the name of an environment variable", r"[A-Za-z_][A-Za-z0-9_]*"),
        "The environment variable that holds its key; keys themselves never stand in the file.",
        shown="OPENROUTER_API_KEY and the like; none for type openai",
    )
    dialect: Dialect = setting(
        "generic",
        _choice(
            "vllm", "sglang", "llamacpp", "ollama", "dashscope", "zai", "kimi", "ark", "generic"
        ),
        "Which server it is, for type openai.",
    )
    video: Literal["native", "frames"] | None = setting(
        None,
        _choice("native", "frames"),
        "Send videos as files, or as frames and transcript.",
        shown="from the catalog",
    )
    models: tuple[str, ...] | None = setting(
        None, _names(), "Its models.", shown="asked from the server"
    )
    api_key: str | None = field(default=None, repr=False)


SECTIONS: dict[str, type] = {
    "server": Server,
    "data": Data,
    "database": Database,
    "storage": Storage,
    "auth": Auth,
    "jobs": Jobs,
    "net": Net,
    "media": Media,
    "retention": Retention,
    "local": Local,
    "models": Models,
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All of them. `file` is the settings file that was read, if there was one."""

    data: Data
    server: Server = Server()
    database: Database = Database()
    storage: Storage = Storage()
    auth: Auth = Auth()
    jobs: Jobs = Jobs()
    net: Net = Net()
    media: Media = Media()
    retention: Retention = Retention()
    local: Local = Local()
    models: Models = field(default_factory=Models)
    providers: Mapping[str, ProviderSettings] = field(default_factory=dict)
    file: Path | None = None

    @property
    def database_file(self) -> Path:
        return self.data.dir / "telecine.db"

    @property
    def secret_file(self) -> Path:
        return self.data.dir / "secret"

    @property
    def address_file(self) -> Path:
        """Where a server that serves this data folder says how it is reached on this machine."""
        return self.data.dir / "address"

    @property
    def storage_dir(self) -> Path:
        return self.storage.folder or self.data.dir / "objects"

    @property
    def copies_dir(self) -> Path:
        """Where what lies in a bucket is copied to while it is in use."""
        return self.data.dir / "copies"

    @property
    def spool_dir(self) -> Path:
        return self.data.dir / "spool"


# ---------------------------------------------------------------- the file, with line numbers


@dataclass(frozen=True, slots=True)
class _File:
    """A settings file: what it holds, and in which line each key path stands."""

    path: Path
    document: dict[str, Any]
    lines: Mapping[tuple[str, ...], int]

    def place(self, *keys: str) -> str:
        """ "telecine.toml, line 3"; of the innermost of `keys` that has a line."""
        for count in range(len(keys), 0, -1):
            if line := self.lines.get(keys[:count]):
                return f"{self.path}, line {line}"
        return str(self.path)


def _read_file(path: Path) -> _File:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SettingsError([f"{path}: not a text in UTF-8"]) from None
    except OSError as error:
        raise SettingsError([f"{path}: can not be read ({error.strerror})"]) from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([_syntax_problem(path, text, str(error))]) from None
    return _File(path, document, _lines(text))


def _syntax_problem(path: Path, text: str, message: str) -> str:
    at = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if at is None:
        return f"{path}: not valid TOML: {message}"
    line = at[1] or str(len(text.splitlines()))
    return f"{path}, line {line}: not valid TOML: {message[: at.start()]}"


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """Where each key of a valid TOML text stands: tomllib does not tell.

    A statement is the fewest lines that parse, so arrays and texts over several lines are one.
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    start, pending = 1, ""
    for number, line in enumerate(text.splitlines(), 1):
        if not pending:
            start = number
        pending += line + "\n"
        try:
            statement = tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            continue
        pending = ""
        if line.lstrip().startswith("[") and start == number:
            table = next(_paths(statement), ())
            found.setdefault(table, start)
        else:
            for keys in _paths(statement):
                found.setdefault(table + keys, start)
    return found


def _paths(tree: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(tree, list) and len(tree) == 1:
        tree = tree[0]
    if not isinstance(tree, dict) or not tree:
        if above:
            yield above
        return
    for key, value in tree.items():
        yield from _paths(value, (*above, key))


# ---------------------------------------------------------------- putting it together

# Where each type's API begins, and the variables that may hold its key.
_DEFAULTS_BY_TYPE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "openrouter": ("https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",)),
    "gemini": (
        "https://generativelanguage.googleapis.com",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    ),
    "anthropic": ("https://api.anthropic.com", ("ANTHROPIC_API_KEY",)),
}
NEED_A_KEY = tuple(_DEFAULTS_BY_TYPE)
KEY_VARIABLES = {kind: names for kind, (_, names) in _DEFAULTS_BY_TYPE.items()}
# There without a table when their key is. Not anthropic: what asks for OpenRouter's models of that
# name would go elsewhere as soon as a key for another program stood in the environment.
BY_KEY_ALONE = ("openrouter", "gemini")


def load(
    *,
    config: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Settings:
    """All settings, from `flags` ("server.port" -> value), the environment, the file and defaults.

    `folder` is where ./telecine.toml and relative paths are looked for; default: the current one.
    Raises SettingsError with everything that is wrong.
    """
    environ = _own(os.environ if environ is None else environ)
    folder = Path.cwd() if folder is None else folder
    path = _find_file(config, environ, folder)
    file = _read_file(path) if path else _File(folder / "telecine.toml", {}, {})
    reader = _Reader(file, dict(flags or {}), environ, folder)
    sections = {name: reader.section(name, kind) for name, kind in SECTIONS.items()}
    providers = reader.providers()
    sections["models"]["catalog"] = reader.catalog(providers)
    reader.find_unknown()
    if reader.problems:
        raise SettingsError(reader.problems)
    sections["data"].setdefault("dir", _home(environ, "XDG_DATA_HOME", ".local/share") / "telecine")
    made = {name: SECTIONS[name](**values) for name, values in sections.items()}
    return Settings(**made, providers=providers, file=path)


# What Kubernetes tells every pod of a service called telecine-server, say.
_OF_A_SERVICE = re.compile(
    r"TELECINE_\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_A_SERVICES_PORT = re.compile(r"(tcp|udp|sctp)://")


def _own(environ: Mapping[str, str]) -> Mapping[str, str]:
    """`environ` without the variables that are no settings but a service's."""
    others = [
        name
        for name, text in environ.items()
        if _OF_A_SERVICE.fullmatch(name)
        or (re.fullmatch(r"TELECINE_\w+_PORT", name) and _A_SERVICES_PORT.match(text))
    ]
    if not others:
        return environ
    _log.warning(
        "%s ignored: Kubernetes sets such for a service of that name; enableServiceLinks: false "
        "keeps them away",
        ", ".join(sorted(others)),
    )
    return {name: text for name, text in environ.items() if name not in others}


def _find_file(config: Path | None, environ: Mapping[str, str], folder: Path) -> Path | None:
    if config is not None:
        return folder / config.expanduser()
    here = folder / "telecine.toml"
    usual = _home(environ, "XDG_CONFIG_HOME", ".config") / "telecine" / "telecine.toml"
    return next((path for path in (here, usual) if path.is_file()), None)


def _home(environ: Mapping[str, str], variable: str, otherwise: str) -> Path:
    # The XDG specification: a relative path there is to be ignored.
    given = Path(environ.get(variable, ""))
    if given.is_absolute():
        return given
    return Path(environ.get("HOME") or Path.home()) / otherwise


def variables(section: str, name: str, row: Row) -> list[str]:
    """The environment variables of a setting; the first one that is set counts."""
    regular = f"TELECINE_{section}_{name}".upper()
    return [row.variable, regular] if row.variable else [regular]


class _Reader:
    """Takes every value from where it is given, and collects what is wrong."""

    def __init__(
        self, file: _File, flags: dict[str, Any], environ: Mapping[str, str], folder: Path
    ) -> None:
        self.problems: list[str] = []
        self._file = file
        self._flags = flags
        self._environ = environ
        self._folder = folder

    def section(self, section: str, kind: type) -> dict[str, Any]:
        """The values given for a section, checked; the strongest source last."""
        values: dict[str, Any] = {}
        table = self._table(section)
        for name, _, row in rows(kind):
            if name in table:
                self._take_from_file(values, (section, name), table[name], row)
            for variable in reversed(variables(section, name, row)):
                if text := self._environ.get(variable):
                    self._take(values, name, text, row, variable, is_text=True)
            if (flag := self._flags.get(f"{section}.{name}")) is not None:
                self._take(values, name, flag, row, row.flag)
        return values

    def providers(self) -> dict[str, ProviderSettings]:
        found = {
            name: provider
            for name in self._table("providers")
            if (provider := self._provider(name)) is not None
        }
        found.setdefault("local", ProviderSettings(type="local"))
        for name in BY_KEY_ALONE:
            if name not in self._table("providers") and self._key_variable(name):
                found[name] = self._completed({"type": name})
        return found

    def _provider(self, name: str) -> ProviderSettings | None:
        table = self._file.document["providers"][name]
        place = self._file.place("providers", name)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or not isinstance(table, dict):
            self.problems.append(
                f"{place}: providers.{name}: must be a table such as [providers.vllm], "
                "its name made of letters, digits, dots, dashes and underscores"
            )
            return None
        values: dict[str, Any] = {}
        before = len(self.problems)
        for key, _, row in rows(ProviderSettings):
            given = table.get(key, name if key == "type" else None)
            if given is not None:
                self._take_from_file(values, ("providers", name, key), given, row)
        if len(self.problems) > before:
            return None
        if values["type"] == "openai" and "base_url" not in values:
            self.problems.append(
                f"{place}: providers.{name}: type openai needs base_url, "
                "such as http://localhost:8000/v1"
            )
            return None
        if values["type"] == "local" and "video" in values:
            self.problems.append(
                f"{self._file.place('providers', name, 'video')}: providers.{name}.video: the "
                "embedded models are sent nothing; leave it out"
            )
            return None
        return self._completed(values)

    def catalog(self, providers: Mapping[str, ProviderSettings]) -> dict[str, ModelSettings]:
        tables = self._table("models").get("catalog", {})
        if not isinstance(tables, dict):
            self.problems.append(
                f"{self._file.place('models', 'catalog')}: models.catalog: must be tables such as "
                '[models.catalog."vllm/Qwen/Qwen3-VL-8B-Instruct"]'
            )
            return {}
        found = {name: self._model(name, table, providers) for name, table in tables.items()}
        return {name: model for name, model in found.items() if model is not None}

    def _model(
        self, name: str, table: Any, providers: Mapping[str, ProviderSettings]
    ) -> ModelSettings | None:
        place = f"{self._file.place('models', 'catalog', name)}: models.catalog.{name}"
        provider, _, model = name.partition("/")
        # A key may be missing on this machine, and its provider with it.
        known = sorted({*providers, *_DEFAULTS_BY_TYPE})
        if not isinstance(table, dict) or not model or provider not in known:
            self.problems.append(
                f"{place}: must be a table named PROVIDER/MODEL; providers: {', '.join(known)}"
            )
            return None
        keys = [key for key, *_ in rows(ModelSettings)]
        for key in table.keys() - set(keys):
            self._unknown(("models", "catalog", name, key), keys)
        values: dict[str, Any] = {}
        for key, _, row in rows(ModelSettings):
            if key in table:
                self._take_from_file(values, ("models", "catalog", name, key), table[key], row)
        if provider in providers and providers[provider].type == "local":
            self.problems.append(f"{place}: what embedded models take cannot be set")
        if len({"price_prompt", "price_completion"} & table.keys()) == 1:
            self.problems.append(f"{place}: price_prompt and price_completion go together")
        elif {"price_cached", "price_audio"} & table.keys() and "price_prompt" not in table:
            self.problems.append(f"{place}: price_prompt and price_completion are missing")
        return ModelSettings(**values)

    def _completed(self, values: dict[str, Any]) -> ProviderSettings:
        base_url, usual = _DEFAULTS_BY_TYPE.get(values["type"], (None, ()))
        values.setdefault("base_url", base_url)
        if "api_key_env" not in values:
            values["api_key_env"] = self._key_variable(values["type"]) or next(iter(usual), None)
        variable = values["api_key_env"] or ""
        api_key = self._environ.get(variable, "").strip() or None
        if api_key is not None and not api_key.isprintable():
            self.problems.append(
                f"{variable}: a key has no line breaks or control characters in it"
            )
        return ProviderSettings(**values, api_key=api_key)

    def _key_variable(self, kind: str) -> str | None:
        """The first of the usual variables that holds a key for that type of provider."""
        _, usual = _DEFAULTS_BY_TYPE.get(kind, ("", ()))
        return next((name for name in usual if self._environ.get(name)), None)

    def find_unknown(self) -> None:
        """Names that are no settings, in the file and in the environment."""
        known = {name: [each for each, *_ in rows(kind)] for name, kind in SECTIONS.items()}
        known["models"].append("catalog")
        for section, table in self._file.document.items():
            if section not in known and section != "providers":
                self._unknown((section,), [*known, "providers"])
            elif section in known and isinstance(table, dict):
                for name in table:
                    if name not in known[section]:
                        self._unknown((section, name), known[section])
        provider_keys = [name for name, *_ in rows(ProviderSettings)]
        for name, table in self._table("providers").items():
            for key in table if isinstance(table, dict) else ():
                if key not in provider_keys:
                    self._unknown(("providers", name, key), provider_keys)
        self._find_unknown_variables()

    def _unknown(self, keys: tuple[str, ...], names: Sequence[str]) -> None:
        above, place = keys[:-1], self._file.place(*keys)
        if keys[-1] == "api_key":
            self.problems.append(
                f"{place}: keys do not stand in this file: put it into an environment variable "
                'and name that, as in api_key_env = "VLLM_API_KEY"'
            )
            return
        text = f"{place}: {'.'.join(keys)} is not a setting"
        self.problems.append(text + _nearest(keys[-1], names, ".".join((*above, ""))))

    def _find_unknown_variables(self) -> None:
        known = [
            variable
            for section, kind in SECTIONS.items()
            for name, _, row in rows(kind)
            for variable in variables(section, name, row)
        ]
        ours = tuple(f"TELECINE_{section.upper()}_" for section in (*SECTIONS, "providers"))
        for variable, text in self._environ.items():
            if text and variable.startswith(ours) and variable not in known:
                self.problems.append(f"{variable} is not a setting" + _nearest(variable, known))

    def _table(self, section: str) -> dict[str, Any]:
        table = self._file.document.get(section, {})
        if isinstance(table, dict):
            return table
        problem = f"{self._file.place(section)}: {section} is a group of settings: [{section}]"
        if problem not in self.problems:
            self.problems.append(problem)
        return {}

    def _take_from_file(
        self, values: dict[str, Any], keys: tuple[str, ...], given: Any, row: Row
    ) -> None:
        place, key = self._file.place(*keys), ".".join(keys)
        if not row.may_stand_in_file:
            self.problems.append(
                f"{place}: {key} is a secret and does not stand in this file: set {row.variable}"
            )
            return
        self._take(values, keys[-1], given, row, f"{place}: {key}", base=self._file.path.parent)

    def _take(
        self,
        values: dict[str, Any],
        name: str,
        given: Any,
        row: Row,
        source: str,
        *,
        is_text: bool = False,
        base: Path | None = None,
    ) -> None:
        try:
            value = row.kind.read(row.kind.parse(given) if is_text else given)
        except (ValueError, TypeError, OverflowError):
            shown = "" if row.is_secret else f" = {_shown(given)}"
            self.problems.append(f"{source}{shown}: must be {row.kind.allowed}")
            return
        if isinstance(value, Path):
            value = (self._folder / (base or "") / value).absolute()
        values[name] = value


def _shown(value: Any) -> str:
    try:
        text = str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a very long number"
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest(name: str, names: Sequence[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(name, names, n=2)
    if close:
        return "; did you mean " + " or ".join(prefix + each for each in close) + "?"
    return f"; there are {', '.join(names)}" if len(names) <= 12 else ""
