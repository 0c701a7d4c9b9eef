import json
import re
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine import formats
from telecine.errors import InputError
from telecine.formats import Stops, mismatch


def schema(of):
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": of}}


PERSON = schema(
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name"],
        "additionalProperties": False,
    }
)


def test_an_answer_that_fits_is_no_mismatch():
    assert mismatch(PERSON, ' {"name": "Ada", "age": 36}\n') is None


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("Ada", "not JSON"),
        ('```json\n{"name": "Ada"}\n```', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"age": 36}', "'name' is a required property"),
        ('{"name": "Ada", "age": "old"}', r"\$.age: 'old' is not of type"),
        ('{"name": "Ada", "shoe": 37}', "'shoe' was unexpected"),
    ],
)
def test_a_mismatch_is_told_in_a_sentence(answer, says):
    assert re.search(says, mismatch(PERSON, answer))


def test_a_json_object_is_any_object_and_nothing_else():
    wanted = {"type": "json_object"}
    assert mismatch(wanted, "{}") is None
    assert "no object" in mismatch(wanted, "[]")


def test_text_is_never_a_mismatch():
    assert mismatch({"type": "text"}, "anything") is None


def test_a_schema_that_is_none_is_refused_where_it_stands():
    for wrong in ({"properties": {"a": {"type": "colour"}}}, {"$ref": 3}):
        with pytest.raises(InputError) as refused:
            formats.check_schema(schema(wrong))
        [problem] = refused.value.problems
        assert problem.loc[:4] == ("body", "response_format", "json_schema", "schema")


def test_what_a_schema_refers_to_is_not_fetched(monkeypatch):
    def connect(*_):
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", connect)
    for address in ("http://169.254.169.254/x", "file:///etc/passwd", "//host/x"):
        assert "cannot be checked" in mismatch(schema({"$ref": address}), "1")


def test_a_schema_that_branches_without_end_is_given_up():
    levels = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    endless = {"$defs": levels | {"d40": {}}, "$ref": "#/$defs/d0"}
    assert "without end" in mismatch(schema(endless), "1")
    assert "without end" in mismatch(schema({"$ref": "#"}), "1")


@pytest.mark.parametrize(
    "evil",
    [
        {"pattern": "^(a+)+$"},
        {"patternProperties": {"^(a+)+$": {}}},
        {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False},
        {"patternProperties": {"^(a+)+$": {}}, "unevaluatedProperties": False},
    ],
)
def test_a_schemas_regular_expressions_are_not_run(evil):
    name = "a" * 5000 + "!"
    assert mismatch(schema(evil), json.dumps({name: 1})) is None
    assert mismatch(schema(evil), json.dumps(name)) is None


def test_the_instruction_holds_the_schema_and_is_empty_for_text():
    assert json.dumps(PERSON["json_schema"]["schema"]) in formats.instruction(PERSON)
    assert formats.instruction({"type": "json_object"})
    assert formats.instruction({"type": "text"}) == ""


# ---------------------------------------------------------------- stop


def test_a_text_ends_where_the_first_stop_word_begins():
    stops = Stops(["END", "STOP"])
    assert [stops.take(piece) for piece in ("one E", "NX ST", "OP two END")] == ["one ", "ENX ", ""]
    assert (stops.is_over, stops.take("more"), stops.rest()) == (True, "", "")


def test_what_only_looked_like_a_stop_word_is_said_in_the_end():
    stops = Stops(["END"])
    assert stops.take("the EN") == "the "
    assert (stops.rest(), stops.is_over) == ("EN", False)


ALPHABET = st.text("ab", max_size=12)


@given(st.lists(ALPHABET, max_size=8), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_however_it_comes_in_pieces_the_same_is_said(pieces, words):
    stops = Stops(words)
    said = "".join([*map(stops.take, pieces)]) + stops.rest()
    whole = "".join(pieces)
    ends = [(at + len(word), at) for word in words if (at := whole.find(word)) >= 0]
    if not ends:
        assert said == whole
        return
    # A longer word that began earlier is known only when it is complete.
    assert stops.is_over
    assert whole.startswith(said)
    assert all(word not in said for word in words)
