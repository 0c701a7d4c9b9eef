from hypothesis import given
from hypothesis import strategies as st

from telecine.media.child.frames import _Sampler
from telecine.media.child.reader import Timeline

SECONDS = st.none() | st.floats(-1e9, 1e9)


def test_the_files_own_start_is_zero():
    assert Timeline(1.4).at(1.4) == 0


def test_a_stream_that_starts_late_starts_late():
    assert Timeline(-0.5).at(1.5) == 2


def test_what_lies_before_the_start_is_at_the_start():
    assert Timeline(0.0).at(-0.02) == 0


def test_a_missing_time_is_guessed_from_the_one_before():
    line = Timeline(0.0)
    assert [line.at(s, step=0.5) for s in (None, None, 2.0, None)] == [0.0, 0.5, 2.0, 2.5]


def test_a_recording_that_starts_over_goes_on():
    line = Timeline(0.0)
    assert [line.at(s, step=1.0) for s in (0.0, 5.0, 0.0, 2.0)] == [0.0, 5.0, 6.0, 8.0]


@given(st.floats(-1e6, 1e6), st.lists(SECONDS))
def test_time_never_falls(start, stamps):
    line = Timeline(start)
    times = [line.at(seconds, step=0.04) for seconds in stamps]
    assert times == sorted(times)
    assert all(at >= 0 for at in times)


def test_the_first_frame_is_sampled_whatever_its_time():
    assert _Sampler(1).takes(0.7)


def test_rounded_timestamps_count_as_meant():
    sampler = _Sampler(2)
    assert [at for at in (0, 0.4995, 0.51, 0.9999, 1.04) if sampler.takes(at)] == [
        0,
        0.4995,
        0.9999,
    ]


@given(st.floats(0.1, 60), st.lists(st.floats(0, 1e6), min_size=1).map(sorted))
def test_no_two_samples_are_of_one_interval(fps, times):
    sampler = _Sampler(fps)
    taken = [at for at in times if sampler.takes(at)]
    assert taken[0] == times[0]
    assert len(taken) <= (times[-1] - times[0]) * fps + 2
