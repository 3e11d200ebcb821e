"""Presentation times: monotonic, summed up, resampled."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tal_cli.extractors.video.clock import Clock, Holds, decimate, decimation, nominal_rate, resample, rhythm


def ticked(stamps: list[float | None], fps: float = 25.0) -> Clock:
    clock = Clock(fps)
    for stamp in stamps:
        clock.tick(stamp)
    return clock


@given(st.lists(st.none() | st.floats(-1e12, 1e12), min_size=1, max_size=60))
def test_times_increase_whatever_the_stamps_are(stamps: list[float | None]) -> None:
    times = ticked(stamps).times
    assert times[0] == 0
    assert all(before < after for before, after in itertools.pairwise(times))


def test_times_count_from_the_first_frame() -> None:
    clock = ticked([5.0, 5.04, 5.08])
    assert list(clock.times) == pytest.approx([0, 0.04, 0.08])
    assert clock.start == 5.0


def test_missing_and_repeated_stamps_take_one_step() -> None:
    assert list(ticked([0, None, 0.08, 0.08, 0.16]).times) == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])


def test_a_new_clock_in_the_middle_goes_on_where_the_old_one_stopped() -> None:
    assert list(ticked([100, 100.04, 3, 3.04]).times) == pytest.approx([0, 0.04, 0.08, 0.12])


def test_an_absurd_jump_is_no_gap() -> None:
    assert list(ticked([0, 0.04, 1e6, 1e6 + 0.04]).times) == pytest.approx([0, 0.04, 0.08, 0.12])


def test_rhythm_of_a_constant_rate_is_the_containers_claim() -> None:
    found = rhythm(ticked([round(index / 30, 3) for index in range(300)], fps=30.0).times, 30.0)
    assert (found.fps, found.step, found.constant) == (30.0, 1 / 30, True)


def test_rhythm_is_measured_where_the_claim_is_wrong() -> None:
    found = rhythm([index / 24 for index in range(100)], 25.0)
    assert found.constant
    assert found.fps == pytest.approx(24)


def test_rhythm_of_a_gap_is_variable() -> None:
    found = rhythm([index / 25 + (index > 50) for index in range(100)], 25.0)
    assert not found.constant
    assert found.step == pytest.approx(0.04)


def test_a_jump_in_joined_streams_is_a_new_clock() -> None:
    clock = Clock(25.0, longest_step=10.0)
    for stamp in (0, 0.04, 100.0, 100.04, 5.0):
        clock.tick(stamp)
    assert list(clock.times) == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert clock.jumps == 2


@pytest.mark.parametrize(
    ("average", "claimed", "nominal"),
    [
        (25, 25, 25),
        (25, None, 25),
        (1.04, 25, 25),
        (1, 1, 1),
        (29.7, 90000, 30),
        (7, 1000, 30),
        (60, 60, 60),
        (50, 24, 50),
    ],
)
def test_held_frames_are_repeated_at_the_rate_of_the_recording(
    average: float, claimed: float | None, nominal: float
) -> None:
    assert nominal_rate(average, claimed) == nominal


def test_a_held_frame_is_shown_at_every_step_until_the_next_one() -> None:
    holds = Holds(25.0)
    found = list(holds.fill([(0.0, "a"), (0.04, "b"), (1.0, "c"), (1.04, "d")]))
    assert [time for time, _ in found] == pytest.approx([index / 25 for index in range(27)])
    assert "".join(frame for _, frame in found) == "a" + 24 * "b" + "cd"
    assert holds.repeated == 23
    assert rhythm(holds.times, 25.0).constant


def test_a_lost_frame_is_no_held_frame() -> None:
    holds = Holds(25.0)
    times = [0.0, 0.04, 0.16, 0.2]
    assert [time for time, _ in holds.fill((time, time) for time in times)] == times


@given(st.lists(st.floats(0.001, 3.0), min_size=1, max_size=40), st.floats(1.0, 60.0))
def test_no_step_is_long_once_held_frames_are_repeated(steps: list[float], nominal: float) -> None:
    stamps = [0.0, *itertools.accumulate(steps)]
    found = [time for time, _ in Holds(nominal).fill((time, time) for time in stamps)]
    assert set(stamps) <= set(found)
    gaps = [after - before for before, after in itertools.pairwise(found)]
    assert all(0 < gap <= max(0.12, 3.5 / nominal) + 1e-9 for gap in gaps)


@pytest.mark.parametrize(
    ("fps", "limit", "factor"),
    [(30, None, 1), (30, 30, 1), (30.02, 30, 1), (60, 30, 2), (59.94, 30, 2), (50, 30, 2), (120, 30, 4), (25, 30, 1)],
)
def test_decimation_is_the_smallest_factor(fps: float, limit: float | None, factor: int) -> None:
    assert decimation(fps, limit) == factor


def test_decimate_keeps_the_first_of_each_group() -> None:
    kept = list(decimate(((index / 60, index) for index in range(7)), 3))
    assert [image for _, image in kept] == [0, None, None, 3, None, None, 6]


def resampled(times: list[float], rate: float, step: float) -> list[tuple[float, int]]:
    pairs = resample(((time, index) for index, time in enumerate(times)), rate, lambda: step)
    return [(time, index) for time, index in pairs if index is not None]


def test_resampling_to_the_same_rate_changes_nothing() -> None:
    times = [index / 25 for index in range(40)]
    assert resampled(times, 25.0, 0.04) == [(pytest.approx(time), index) for index, time in enumerate(times)]


def test_resampling_down_takes_every_second_frame() -> None:
    assert [index for _, index in resampled([index / 30 for index in range(10)], 15.0, 1 / 30)] == [0, 2, 4, 6, 8]


def test_resampling_up_repeats_frames_over_gaps() -> None:
    assert [index for _, index in resampled([0.0, 0.1, 0.5, 0.6], 10.0, 0.1)] == [0, 1, 1, 1, 1, 2, 3]


@given(
    st.lists(st.floats(0.001, 2.0), min_size=1, max_size=40),
    st.floats(1.0, 60.0),
)
def test_resampled_times_are_regular_and_frames_in_order(steps: list[float], rate: float) -> None:
    times = [0.0]
    for step in steps:
        times.append(times[-1] + step)
    found = resampled(times, rate, 0.04)
    assert [time for time, _ in found] == pytest.approx([index / rate for index in range(len(found))])
    images = [index for _, index in found]
    assert images == sorted(images)
    for time, index in found:
        # The image is the last that came to this tick or before it.
        assert times[index] <= time + 0.5 / rate
    assert abs(len(found) - (times[-1] + 0.04) * rate) < 2
