import ipaddress
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine import settings
from telecine.settings import SettingsError


@pytest.fixture
def load(tmp_path):
    """Settings read from a text, an environment and flags, with nothing of this machine's own."""

    def load(text=None, *, environ=None, **more):
        if text is not None:
            (tmp_path / "telecine.toml").write_text(text)
        return settings.load(
            environ={"HOME": str(tmp_path), **(environ or {})}, folder=tmp_path, **more
        )

    return load


@pytest.fixture
def problems(load):
    def problems(text=None, **more):
        with pytest.raises(SettingsError) as caught:
            load(text, **more)
        return list(caught.value.problems)

    return problems


# ---------------------------------------------------------------- where values come from


def test_without_anything_every_setting_has_its_default(load, tmp_path):
    found = load()
    assert (found.server.host, found.server.port, found.file) == ("127.0.0.1", 8484, None)
    assert found.data.dir == tmp_path / ".local/share/telecine"
    assert list(found.providers) == ["local"]


def test_a_flag_beats_the_environment_beats_the_file(load):
    text = "[server]\nport = 1\n[jobs]\nslots = 1\n[local]\nthreads = 1"
    environ = {"TELECINE_SERVER_PORT": "2", "TELECINE_JOBS_SLOTS": "2"}
    found = load(text, environ=environ, flags={"server.port": 3, "jobs.slots": None})
    assert (found.server.port, found.jobs.slots, found.local.threads) == (3, 2, 1)


def test_an_empty_variable_is_not_set(load):
    assert load(environ={"TELECINE_SERVER_PORT": ""}).server.port == 8484


def test_the_short_name_of_a_variable_wins_over_the_regular_one(load):
    environ = {
        "TELECINE_PUBLIC_URL": "https://a.test",
        "TELECINE_SERVER_PUBLIC_URL": "https://b.test",
    }
    assert load(environ=environ).server.public_url == "https://a.test"
    del environ["TELECINE_PUBLIC_URL"]
    assert load(environ=environ).server.public_url == "https://b.test"


def test_the_file_of_the_users_config_folder_is_read_when_there_is_none_here(load, tmp_path):
    usual = tmp_path / "xdg/telecine/telecine.toml"
    usual.parent.mkdir(parents=True)
    usual.write_text("[server]\nport = 7")
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert load(environ=environ).file == usual
    assert load("[server]\nport = 8", environ=environ).server.port == 8


def test_relative_folders_start_at_the_file_that_names_them(load, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/x.toml").write_text('[data]\ndir = "here"')
    assert load(config=Path("sub/x.toml")).data.dir == tmp_path / "sub/here"
    assert load(environ={"TELECINE_DATA_DIR": "there"}).data.dir == tmp_path / "there"


def test_sizes_are_numbers_or_words(load):
    found = load('[media]\nmax_bytes = "1.5 GiB"\nmax_json_bytes = 4096')
    assert (found.media.max_bytes, found.media.max_json_bytes) == (3 * 2**29, 4096)


def test_networks_come_as_a_list_or_with_commas_and_single_addresses_are_networks(load):
    expected = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))
    assert load('[net]\nallow = ["10.0.0.0/8", "::1"]').net.allow == expected
    assert load(environ={"TELECINE_NET_ALLOW": "10.0.0.0/8, ::1,"}).net.allow == expected


def test_aliases_come_as_a_table_or_as_pairs(load):
    expected = {"google/gemini-2.5-flash": "vllm/Qwen/Qwen3", "*": "local/report"}
    text = '[models.aliases]\n"google/gemini-2.5-flash" = "vllm/Qwen/Qwen3"\n"*" = "local/report"'
    assert load(text).models.aliases == expected
    pairs = "google/gemini-2.5-flash=vllm/Qwen/Qwen3,*=local/report"
    assert load(environ={"TELECINE_MODELS_ALIASES": pairs}).models.aliases == expected


# ---------------------------------------------------------------- providers


def test_openrouter_is_there_when_its_key_is(load):
    found = load(environ={"OPENROUTER_API_KEY": "sk-or-1"}).providers["openrouter"]
    assert (found.type, found.api_key) == ("openrouter", "sk-or-1")
    assert found.base_url == "https://openrouter.ai/api/v1"


@pytest.mark.parametrize("variable", ["GEMINI_API_KEY", "GOOGLE_API_KEY"])
def test_gemini_is_there_when_one_of_its_keys_is(load, variable):
    found = load(environ={variable: "k"}).providers["gemini"]
    assert (found.type, found.api_key, found.api_key_env) == ("gemini", "k", variable)
    assert found.base_url == "https://generativelanguage.googleapis.com"


def test_of_geminis_two_keys_its_own_counts(load):
    environ = {"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": "b"}
    assert load("[providers.gemini]", environ=environ).providers["gemini"].api_key == "a"
    text = '[providers.gemini]\napi_key_env = "GOOGLE_API_KEY"'
    assert load(text, environ=environ).providers["gemini"].api_key == "b"


def test_anthropic_is_there_only_when_it_is_asked_for(load):
    environ = {"ANTHROPIC_API_KEY": "k"}
    assert "anthropic" not in load(environ=environ).providers
    found = load("[providers.anthropic]", environ=environ).providers["anthropic"]
    assert (found.api_key, found.base_url) == ("k", "https://api.anthropic.com")


def test_a_configured_provider_takes_its_key_from_the_variable_it_names(load):
    text = '[providers.mine]\ntype = "openai"\nbase_url = "http://gpu:8000/v1/"\napi_key_env = "K"'
    found = load(text, environ={"K": "secret"}).providers["mine"]
    assert (found.api_key, found.base_url, found.dialect) == (
        "secret",
        "http://gpu:8000/v1",
        "generic",
    )


def test_a_provider_whose_variable_is_not_set_is_there_without_a_key(load):
    found = load("[providers.openrouter]").providers["openrouter"]
    assert (found.api_key, found.api_key_env) == (None, "OPENROUTER_API_KEY")


def test_files_are_kept_in_the_data_folder_a_folder_or_a_bucket(load):
    assert load("").storage_dir == load("").data.dir / "objects"
    found = load('[storage]\nurl = "file:///mnt/all%20nodes"')
    assert found.storage_dir == Path("/mnt/all nodes")
    assert load('[storage]\nurl = "s3://bucket/videos"').storage.folder is None


@pytest.mark.parametrize("url", ["file://relative", "ftp://x/y", "file:///a b"])
def test_a_place_for_files_that_is_none_is_told(load, url):
    with pytest.raises(SettingsError, match=r"storage\.url: must be s3://"):
        load(f'[storage]\nurl = "{url}"')


# ---------------------------------------------------------------- what models take and cost


def test_the_operator_says_what_a_model_takes_and_costs(load):
    text = """
        [providers.vllm]
        type = "openai"
        base_url = "http://gpu:8000/v1"
        [models.catalog."vllm/Qwen/Qwen3-VL-8B-Instruct"]
        video = ["file", "frames"]
        hears = false
        max_bytes = "20 MB"
        max_seconds = 90
        price_prompt = "0.05"
        price_completion = 0.1
    """
    found = load(text).models.catalog["vllm/Qwen/Qwen3-VL-8B-Instruct"]
    assert (found.video, found.hears, found.max_bytes) == (("file", "frames"), False, 20_000_000)
    assert (found.price_prompt, found.price_completion) == (Decimal("0.05"), Decimal("0.1"))
    assert (found.max_videos, found.price_audio) == (None, None)


def test_a_model_of_a_provider_whose_key_is_elsewhere_may_be_set_here(load):
    text = '[models.catalog."openrouter/a/b"]\nmax_videos = 2'
    assert load(text).models.catalog["openrouter/a/b"].max_videos == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[models]\ncatalog = 3", "line 2: models.catalog: must be tables such as"),
        ("[models.catalog]\n'local/x' = 3", "line 2: models.catalog.local/x: must be a table"),
        ("[models.catalog.'vlm/x']", "line 1: models.catalog.vlm/x: must be a table named"),
        ("[models.catalog.gemini]", "line 1: models.catalog.gemini: must be a table named"),
        ("[models.catalog.'gemini/x']\nvidoe = []", "line 2: models.catalog.gemini/x.vidoe is not a setting; did you mean models.catalog.gemini/x.video?"),
        ("[models.catalog.'gemini/x']\nvideo = ['film']", "line 2: models.catalog.gemini/x.video"),
        ("[models.catalog.'gemini/x']\nvideo = ['url', 'url']", "line 2: models.catalog.gemini/x.video"),
        ("[models.catalog.'gemini/x']\nprice_prompt = 'cheap'", "line 2: models.catalog.gemini/x.price_prompt"),
        ("[models.catalog.'gemini/x']\nprice_prompt = -1", "line 2: models.catalog.gemini/x.price_prompt"),
        ("[models.catalog.'gemini/x']\nprice_prompt = nan", "line 2: models.catalog.gemini/x.price_prompt"),
        ("[models.catalog.'gemini/x']\nprice_prompt = 1", "line 1: models.catalog.gemini/x: price_prompt and price_completion go together"),
        ("[models.catalog.'gemini/x']\nprice_audio = 1", "line 1: models.catalog.gemini/x: price_prompt and price_completion are missing"),
        ("[models.catalog.'local/report']\nhears = true", "line 1: models.catalog.local/report: what embedded models take cannot be set"),
        ("[providers.local]\nvideo = 'frames'", "line 2: providers.local.video: the embedded models"),
        ("[models]\ncatalogue = 3", "line 2: models.catalogue is not a setting; did you mean models.catalog?"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_catalog_is_told_with_its_line(problems, tmp_path, text, said):
    told = problems(text)
    assert any(f"{tmp_path}/telecine.toml, {said}" in each for each in told), told


# ---------------------------------------------------------------- Kubernetes


def test_what_kubernetes_tells_of_a_service_of_our_name_is_no_setting(load, caplog):
    environ = {
        "TELECINE_SERVER_SERVICE_HOST": "10.0.0.7",
        "TELECINE_SERVER_SERVICE_PORT": "8484",
        "TELECINE_SERVER_SERVICE_PORT_HTTP": "8484",
        "TELECINE_SERVER_PORT": "tcp://10.0.0.7:8484",
        "TELECINE_SERVER_PORT_8484_TCP": "tcp://10.0.0.7:8484",
        "TELECINE_SERVER_PORT_8484_TCP_PROTO": "tcp",
        "TELECINE_SERVER_PORT_8484_TCP_PORT": "8484",
        "TELECINE_SERVER_PORT_8484_TCP_ADDR": "10.0.0.7",
        "TELECINE_DATABASE_PORT": "tcp://10.0.0.8:5432",
        "TELECINE_DATABASE_SERVICE_HOST": "10.0.0.8",
        "TELECINE_JOBS_SLOTS": "3",
    }
    found = load(environ=environ)
    assert (found.server.port, found.jobs.slots) == (8484, 3)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "TELECINE_SERVER_PORT," in said
    assert "TELECINE_JOBS_SLOTS" not in said


def test_a_port_is_still_taken_from_the_environment(load, problems):
    assert load(environ={"TELECINE_SERVER_PORT": "9"}).server.port == 9
    assert problems(environ={"TELECINE_SERVER_PORT": "http://x"})


# ---------------------------------------------------------------- secrets


def test_no_secret_is_in_the_repr_of_settings(load):
    environ = {
        "OPENROUTER_API_KEY": "hidden",
        "TELECINE_BOOTSTRAP_KEY": "id:hidden",
        "TELECINE_DATABASE_URL": "postgresql://u:hidden@db/x",
        "TELECINE_NET_PROXY": "http://u:hidden@proxy:3128",
    }
    assert "hidden" not in repr(load(environ=environ))


def test_a_bad_secret_is_not_repeated_in_the_error(problems):
    environ = {"TELECINE_BOOTSTRAP_KEY": "hidden :x", "TELECINE_NET_PROXY": "socks5://u:hidden@x"}
    said = problems(environ=environ)
    assert [each.split(":")[0] for each in said] == ["TELECINE_BOOTSTRAP_KEY", "TELECINE_NET_PROXY"]
    assert "hidden" not in "".join(said)


def test_keys_do_not_stand_in_the_file(problems, tmp_path):
    text = '[auth]\nbootstrap_key = "a:hidden"\n[providers.openrouter]\napi_key = "hidden"'
    said = problems(text)
    assert said == [
        f"{tmp_path}/telecine.toml, line 2: auth.bootstrap_key is a secret and does not stand in "
        "this file: set TELECINE_BOOTSTRAP_KEY",
        f"{tmp_path}/telecine.toml, line 4: keys do not stand in this file: put it into an "
        'environment variable and name that, as in api_key_env = "VLLM_API_KEY"',
    ]


def test_a_key_may_end_in_a_line_break_but_hold_none(load, problems):
    environ = {"OPENROUTER_API_KEY": " sk-or-1\n"}
    assert load(environ=environ).providers["openrouter"].api_key == "sk-or-1"
    found = problems(environ={"OPENROUTER_API_KEY": "sk-or\n1"})
    assert found == ["OPENROUTER_API_KEY: a key has no line breaks or control characters in it"]


# ---------------------------------------------------------------- what is said of mistakes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nport = 99999", "line 2: server.port = 99999: must be a whole number from 0 to 65535"),
        ("[jobs]\n\nslots = true", "line 3: jobs.slots = true: must be a whole number from 0 to 1024"),
        ("server.port = 'x'", 'line 1: server.port = "x": must be a whole number from 0 to 65535'),
        ("server = {port = 1.5}", "line 1: server.port = 1.5: must be a whole number from 0 to 65535"),
        ("[auth]\nrequired = 1", "line 2: auth.required = 1: must be true or false"),
        ("[server]\nprot = 1", "line 2: server.prot is not a setting; did you mean server.port?"),
        ("[sever]", "line 1: sever is not a setting; did you mean server?"),
        ("server = 3", "line 1: server is a group of settings: [server]"),
        (
            "[net]\nallow = [\n  '10.0.0.0/8',\n  'x = 1',\n]\nmax_redirects = -1",
            "line 6: net.max_redirects = -1: must be a whole number from 0 to 20",
        ),
        ("[media]\nmax_bytes = '2 furlongs'", 'line 2: media.max_bytes = "2 furlongs": must be bytes'),
        ("[server]\npublic_url = 'https://a.test/x'", "line 2: server.public_url"),
        ("[providers.vllm]\ntype = 'openai'", "line 1: providers.vllm: type openai needs base_url"),
        ("[providers.vllm]\ntipe = 'openai'", "line 2: providers.vllm.tipe is not a setting"),
        ("[providers.vllm]\ntype = 'vllm'", 'line 2: providers.vllm.type = "vllm": must be one of'),
        ("[providers]\nvllm = 3", "line 2: providers.vllm: must be a table"),
        ("[providers.'a/b']", "line 1: providers.a/b: must be a table"),
        ("[a]\nx = ", "line 2: not valid TOML: Invalid value"),
        ("[a]\nx = 1\nx = 2\n", "line 3: not valid TOML: Cannot overwrite a value"),
        ("x = '''\n\n", "line 2: not valid TOML"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_told_with_its_line_and_what_is_allowed(
    problems, tmp_path, text, said
):
    told = problems(text)
    assert any(f"{tmp_path}/telecine.toml, {said}" in each for each in told), told


def test_a_mistake_in_the_environment_is_told_with_the_variable(problems):
    assert problems(environ={"TELECINE_JOBS_SLOTS": "many"}) == [
        'TELECINE_JOBS_SLOTS = "many": must be a whole number from 0 to 1024'
    ]


def test_a_variable_that_is_no_setting_is_told_with_the_nearest(problems):
    (said,) = problems(environ={"TELECINE_SERVER_PROT": "1"})
    assert said.startswith(
        "TELECINE_SERVER_PROT is not a setting; did you mean TELECINE_SERVER_PORT"
    )


def test_a_mistake_in_a_flag_is_told_with_the_flag(problems):
    assert problems(flags={"server.port": -1}) == [
        "--port = -1: must be a whole number from 0 to 65535"
    ]


def test_all_mistakes_are_told_at_once(problems):
    said = problems("[server]\nport = -1\nx = 1", environ={"TELECINE_JOBS_SLOTS": "many"})
    assert len(said) == 3


def test_a_named_file_that_is_not_there_is_an_error(problems, tmp_path):
    assert problems(config=Path("none.toml")) == [
        f"{tmp_path}/none.toml: can not be read (No such file or directory)"
    ]


def test_a_file_that_is_not_text_is_an_error(problems, tmp_path):
    (tmp_path / "telecine.toml").write_bytes(b"\xff\xfe")
    assert problems() == [f"{tmp_path}/telecine.toml: not a text in UTF-8"]


@given(st.text(max_size=200))
def test_any_text_of_the_environment_is_taken_or_refused_with_a_sentence(text):
    for section, kind in settings.SECTIONS.items():
        for name, _, row in settings.rows(kind):
            variable = settings.variables(section, name, row)[0]
            try:
                settings.load(environ={"HOME": "/nowhere", variable: text}, folder=Path("/nowhere"))
            except SettingsError as error:
                assert error.problems[0].startswith(variable)


# ---------------------------------------------------------------- the table itself


def test_every_default_passes_its_own_check_and_every_line_of_explanation_ends_as_one():
    for section, kind in settings.SECTIONS.items():
        for name, default, row in settings.rows(kind):
            assert row.help.endswith("."), (section, name)
            if not row.shown and default is not None:
                given = list(default) if isinstance(default, tuple) else default
                assert row.kind.read(given) == default, (section, name)
