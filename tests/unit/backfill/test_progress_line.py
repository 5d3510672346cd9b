"""The line of a running backfill fits every terminal and keeps what matters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedtool.backfill import Progress
from seedtool.cli.backfill import progress_line as line


def progress(done=450, total=1000, failed=2, faces=912, left=200.0, **more):
    return Progress(
        done=done, total=total, succeeded=done - failed, failed=failed, faces=faces, seconds_left=left, **more
    )  # fmt: skip


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (199, f"[{'#' * 27}{'-' * 33}]  45%  450/1,000  448 succeeded  2 failed  912 faces  3m20s left"),
        (79, "[#####--------]  45%  450/1,000  448 succeeded  2 failed  912 faces  3m20s left"),
        (60, "[#######---------] 45% 450/1000 448 ok 2 bad 912 faces 3m20s"),
        (39, "[##---] 45% 450/1000 +448 -2 912f 3m20s"),
        (31, "45% 450/1000 +448 -2 912f 3m20s"),
        (30, "45% 450/1000 -2 3m20s"),
        (10, "45% 450/10"),
    ],
)
def test_it_is_shortened_before_anything_is_left_out(width, text):
    assert line(progress(), width) == text


def test_a_small_run_has_a_bar_in_forty_columns():
    assert (
        line(progress(done=9, total=18, failed=0, faces=25, left=3.2), 39) == "[##---] 50% 9/18 9 ok 0 bad 25 faces 3s"
    )


@pytest.mark.parametrize(
    ("left", "shown"), [(None, "?"), (0.2, "0s"), (59.4, "59s"), (3599, "59m59s"), (3600, "1h00m"), (90_000, "25h00m")]
)
def test_the_time_left_is_told_in_the_unit_that_matters(left, shown):
    assert f" {shown} left" in line(progress(left=left), 200)


def test_an_ending_run_says_so():
    assert line(progress(ending=True), 200).endswith("faces  ending")


def test_an_outage_takes_the_place_of_the_numbers():
    waits = progress(outage="rekognition: no answer", ends_in=594.0)
    assert line(waits, 79) == "45% 450/1000  no answer: tries again, ends in 9m54s"
    assert line(waits, 24) == "45% 450/1000 waits 9m54s"
    assert len(line(waits, 12)) == 12


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**8), st.none() | st.floats(0, 1e7))
def test_it_never_is_wider_than_the_terminal(done, more, faces, left):
    for width in range(200):
        text = line(progress(done=done, total=done + more, failed=0, faces=faces, left=left), width)
        assert len(text) <= width
        if width >= 40:
            assert "%" in text
