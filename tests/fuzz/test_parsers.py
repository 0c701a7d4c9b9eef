"""Whatever text comes, a parser gives what it promises, or the one error that it promises.

The scanner, addressing, ranges, the wire, the Platform API's query and the planner have such tests
beside their own (tests/unit).
"""

import math
from ipaddress import ip_address, ip_network

from hypothesis import example, given
from hypothesis import strategies as st

from telecine import acl
from telecine.api.queue import _max_queue_length, _webhook_url
from telecine.endpoints import ENDPOINTS, parse_input
from telecine.errors import InputError
from telecine.files import safe_name
from telecine.intercept.forward import end_to_end
from telecine.intercept.gateway import is_fal
from telecine.media.scan import decode_data_uri
from telecine.models import RouterRequest
from telecine.net import FetchRefused, checked_url, is_allowed, shown_host, shown_text, shown_url
from telecine.openai import bodies

ODD = st.sampled_from([*".:/@[]%\\?#;,=\"' \t\r\n\0+-_0127xf", "%00", "127", "::", "0x", "．", "①"])
HOSTILE = st.text() | st.lists(ODD, max_size=20).map("".join)
URLS = st.tuples(st.sampled_from(["http://", "https://", "//", "file:", "HTTP:/"]), HOSTILE)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | HOSTILE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(HOSTILE, inner, max_size=4),
    max_leaves=12,
)
NONE_ALLOWED = ()
LOOPBACK = (ip_network("127.0.0.0/8"),)


@given(URLS.map("".join) | HOSTILE, st.sampled_from([NONE_ALLOWED, LOOPBACK]))
@example("http://[::ffff:127.0.0.1%25lo]/", NONE_ALLOWED)
def test_a_url_names_a_host_that_may_be_tried_or_is_refused(text, allow):
    try:
        url = checked_url(text, allow)
    except FetchRefused as refusal:
        assert refusal.message.isprintable()
        return
    assert url.scheme in ("http", "https")
    assert url.user is None
    assert url.password is None
    assert 0 < url.port < 65_536
    assert url.raw_host.isascii()
    try:
        address = ip_address(url.raw_host)
    except ValueError:
        assert not url.raw_host.rstrip(".").rpartition(".")[2].isdigit()
    else:
        assert is_allowed(address, allow)


@given(HOSTILE)
def test_what_is_shown_is_one_short_printable_line(text):
    for shown in (shown_text(text), shown_url(text), shown_host(text)):
        assert shown.isprintable()
        assert len(shown) <= 200


@given(HOSTILE.map("data:{}".format) | st.tuples(HOSTILE, HOSTILE).map("data:{0[0]},{0[1]}".format))
def test_a_data_uri_is_bytes_of_a_type_or_refused_with_a_sentence(text):
    try:
        content_type, content = decode_data_uri(text)
    except ValueError as error:
        assert str(error).startswith("The data URI ")
        return
    assert isinstance(content, bytes)
    assert content_type.isprintable()


@given(HOSTILE)
def test_a_file_name_is_safe_in_a_path_and_in_a_header(text):
    name = safe_name(text)
    assert 0 < len(name) <= 100
    assert name.isascii()
    assert not set(name) & set('/\\"\r\n\0 ;%')
    assert not name.startswith(".")
    assert safe_name(name) == name


@given(JSON)
def test_an_acl_is_read_or_refused_with_a_sentence(document):
    try:
        found = acl.parse(document)
    except ValueError as error:
        assert str(error)
        return
    assert found.default in ("allow", "forbid", "hide")


@given(
    st.sampled_from(sorted(ENDPOINTS)),
    JSON | st.fixed_dictionaries({"prompt": JSON, "model": JSON}),
)
def test_the_input_of_an_endpoint_is_read_or_refused_at_a_place(endpoint, document):
    try:
        request = parse_input(endpoint, document)
    except InputError as error:
        assert error.problems
        assert all(problem.loc for problem in error.problems)
        return
    assert isinstance(request, RouterRequest)


PARTS = st.lists(
    st.dictionaries(
        st.sampled_from(["type", "text", "image_url", "video_url", "input_audio", "file", "data"]),
        st.sampled_from(["text", "image_url", "video_url", "input_audio", "file"]) | JSON,
    ),
    max_size=3,
)
MESSAGES = st.lists(
    st.dictionaries(
        st.sampled_from(["role", "content", "type", "output"]),
        st.sampled_from(["user", "system", "tool", "message"]) | PARTS | JSON,
    )
    | JSON,
    max_size=3,
)
BODIES = st.dictionaries(
    st.sampled_from(["messages", "input", "instructions", "tools", "reasoning", "text", "stop"]),
    MESSAGES | JSON,
)


@given(st.sampled_from(["chat", "responses", "embeddings"]), BODIES)
def test_a_conversation_is_read_whatever_is_in_it(api, body):
    try:
        for name in bodies.media(api, body):
            assert isinstance(name.text, str)
    except InputError as error:
        assert all(problem.loc for problem in error.problems)
    told = bodies.plain(api, body)
    assert isinstance(told.prompt, str)
    bodies.wants_reasoning(body)
    bodies.effort(body)


@given(URLS.map("".join) | HOSTILE)
def test_the_address_of_a_webhook_is_a_url_or_refused(text):
    try:
        assert _webhook_url(text).lower().startswith(("http://", "https://"))
    except InputError as error:
        assert error.problems[0].loc == ("query", "fal_webhook")


@given(HOSTILE)
def test_a_length_of_the_queue_is_a_number_or_refused(text):
    try:
        assert 0 <= _max_queue_length(text) < math.inf
    except InputError as error:
        assert error.problems[0].loc == ("query", "fal_max_queue_length")


@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=30)), max_size=5))
def test_no_header_for_the_next_hop_goes_further(headers):
    named = [(b"Connection", b"keep-alive, x-a"), (b"X-A", b"1"), (b"TE", b"trailers")]
    kept = {name for name, _ in end_to_end([*headers, *named])}
    assert not kept & {b"connection", b"x-a", b"te", b"transfer-encoding", b"proxy-authorization"}


@given(HOSTILE)
def test_only_names_below_fals_domains_are_fals(text):
    name = text.lower().rstrip(".")
    is_below = name.endswith((".fal.run", ".fal.ai", ".fal.media", ".falrun.com"))
    assert is_fal(text) == (is_below or name in ("fal.run", "fal.ai", "fal.media", "falrun.com"))
