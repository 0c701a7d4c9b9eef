import pytest
from tests.fakes.jobs import request

from telecine.jobs.runs import MAX_CHARACTERS, MAX_LINES, Run
from telecine.jobs.states import storable
from telecine.models import Delta, Done, Log


def new_run():
    return Run(request(), started_at=0, started=0, until=1)


def test_the_answer_is_all_deltas_in_order():
    run = new_run()
    for event in (Delta("a"), Delta(reasoning="hm"), Delta("b"), Done()):
        run.note(event, 0)
    assert '"output":"ab"' in run.success().result.body


def test_a_pipeline_that_just_stops_is_no_success():
    run = new_run()
    run.note(Delta("half"), 0)
    with pytest.raises(RuntimeError):
        run.success()


def test_a_log_without_end_is_cut_and_says_so():
    run = new_run()
    for number in range(MAX_LINES + 50):
        run.note(Log(f"line {number}"), 0)
    lines = run.take_lines()
    assert len(lines) == MAX_LINES
    assert "cut" in lines[-1].message


def test_a_long_line_is_cut():
    run = new_run()
    run.note(Log("x" * 100_000), 0)
    assert len(run.take_lines()[0].message) == MAX_CHARACTERS


def test_lines_given_back_come_before_newer_ones():
    run = new_run()
    run.note(Log("a"), 0)
    lines = run.take_lines()
    run.note(Log("b"), 0)
    run.give_back(lines)
    assert [line.seq for line in run.take_lines()] == [1, 2]


def test_any_text_becomes_storable():
    assert storable("a\0b\ud800c", 100).encode() == "a\N{REPLACEMENT CHARACTER}b?c".encode()
    assert storable("12345", 4) == "123…"
