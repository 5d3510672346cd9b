"""The report's page: one file that shows what the report says, whatever strangers call their photos."""

import functools
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seedtool.backfill.page import render, write
from seedtool.backfill.report import BINS, Failure, Point, Report, UserSum
from seedtool.errors import UsageError
from seedtool.files.writing import check_place
from seedtool.settings import Backfill

ENDED = datetime(2026, 11, 20, 3, 4, tzinfo=UTC)
VOID = {"meta", "br", "rect", "line", "polygon", "polyline"}
USER = "00000000-0000-4000-8000-000100010000"

TINY = Report(
    mode="live", region="us-east-1", users=1, users_elsewhere=0, assets=3, succeeded=3, failed=0, skipped=2, left=0,
    faces=6, dropped=1, auto_assigned=3, needs_person=3, suggested=1, adopted=0, decided_again=0,
    calls={"CreateCollection": 1, "IndexFaces": 3, "SearchFaces": 6}, billed={"IndexFaces": 3, "SearchFaces": 6}, throttled={}, cost=0.009, errors=(), notes=(),
    similarities={880: 1, 950: 2, 991: 4, 999: 1}, points=(Point(0.3, 1, 0, 3, 0), Point(1.2, 3, 0, 10, 0)),
    by_user=(UserSum(user_id=USER, succeeded=3, faces=6, auto_assigned=3, needs_person=3, cost=0.009),),
    seconds=1.2, interrupted=False, stopped="", ok=True,
)  # fmt: skip


def failure(number=0, name="IMG_0001.jpg", cause="there is no photo at x.jpg", remedy="Put it back."):
    return Failure(asset_id=f"asset-{number}", user_id=USER, file_name=name, cause=cause, remedy=remedy)


BIG = msgspec.structs.replace(
    TINY,
    users=500,
    assets=100_000,
    succeeded=98_000,
    failed=2_000,
    faces=196_000,
    auto_assigned=150_000,
    needs_person=46_000,
    suggested=20_000,
    calls={"IndexFaces": 100_400, "SearchFaces": 196_000},
    billed={"IndexFaces": 100_000, "SearchFaces": 196_000},
    throttled={"IndexFaces": 400},
    cost=296.0,
    errors=tuple(failure(i, f"IMG_{i:05}.jpg", f"no photo at uploads/{i}.jpg") for i in range(1000)),
    similarities={tenth: tenth for tenth in range(800, BINS)},
    points=tuple(Point(i * 6.3, i * 98, i * 2, i * 296, i // 3) for i in range(1, 1001)),
    by_user=tuple(UserSum(user_id=f"user-{i}", succeeded=196, cost=round(1 - i / 1000, 3)) for i in range(500)),
    seconds=6300.0,
    ok=False,
)


class Page(HTMLParser):
    """A page as a browser reads it: its text, and each element with its attributes. Every element is closed."""

    def __init__(self, source):
        super().__init__()
        self.texts, self.elements, self._open = [], [], []
        self.feed(source)
        self.close()
        assert self._open == []
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if not self._open or self._open[-1] != "style":
            self.texts.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def page(report=TINY, rules=None, **options):
    told = {"where": "AWS account 123456789012, us-east-1", "database": "library at db.example", "ended": ENDED}
    return Page(render(report, rules or Backfill(), **told | options))


def svg(source, name):
    (found,) = re.findall(rf'<svg class="wide"[^>]*"{name}-wide"[^>]*>.*?</svg>', source)
    return found


def test_it_says_what_the_report_says():
    text = page().text
    for said in (
        "Finished: every asset succeeded.",
        "assets succeeded 3 of 3, 1 user 2 skipped",
        "faces detected 6 1 more were too small",
        "linked to a person 3 50 %",
        "faces without a person 3 1 with suggestions",
        "cost $0.009",
        "library at db.example, AWS account 123456789012, us-east-1",
        "ended 2026-11-20 03:04 UTC after 1.2 s",
        "prices of 2026-11-20",
        "7 at 95 or more, 1 from 80 up to 95",
        "IndexFaces 3 0 3 $0.003",
        "CreateCollection 1 0 free",
        USER,
        "seedtool faces review",
    ):
        assert said in text, said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"interrupted": True, "left": 1234}, "Interrupted. 1,234 assets are left. The same command continues."),
        ({"stopped": "more than 2 dollars would be spent", "left": 1}, "Stopped: more than 2 dollars would be spent. 1 asset is left"),
        ({"failed": 1, "errors": (failure(),)}, "Finished. 1 asset failed: see below."),
        ({"users_elsewhere": 2, "left": 7}, "Another run is processing 2 users. 7 assets are left"),
        ({"notes": ("user x: no collection",)}, "There were other errors: see below."),
        ({"succeeded": 0, "assets": 0, "by_user": (), "points": (), "similarities": {}}, "There was nothing to do."),
    ],
)  # fmt: skip
def test_it_says_how_the_run_ended(changes, said):
    assert said in page(msgspec.structs.replace(TINY, **changes)).text


def test_the_page_of_a_run_with_nothing_to_do_says_so_and_draws_nothing():
    nothing = {"succeeded": 0, "assets": 0, "users": 0, "by_user": (), "similarities": {}, "skipped": 21}
    found = page(msgspec.structs.replace(TINY, **nothing))
    assert "21 assets skipped: done or failed before, or processed by the application." in found.text
    assert not found.of("svg")
    assert "No faces were kept." not in found.text
    assert "Progress and throttling" not in found.text


def test_an_all_failed_run_shows_its_errors_and_draws_no_matches():
    errors = tuple(failure(i) for i in range(40))
    none = {"succeeded": 0, "faces": 0, "auto_assigned": 0, "needs_person": 0, "suggested": 0, "similarities": {}}
    found = page(msgspec.structs.replace(TINY, **none, assets=40, failed=40, errors=errors))
    assert "No face matched an earlier face at 80 or more." in found.text
    assert "40 failed assets, grouped by what to do about them." in found.text
    assert "IMG_0001.jpg there is no photo at x.jpg asset asset-39" in found.text


def test_an_endpoint_tells_only_counts():
    text = page(msgspec.structs.replace(TINY, similarities={}, suggested=0), decides=False).text
    assert "An application compared the faces. Its answers hold counts only." in text
    assert "3 without a person (50 %)" in text


def test_a_big_run_makes_a_page_of_bounded_size_and_the_rest_is_counted():
    source = render(BIG, Backfill(), where="AWS", database="library", ended=ENDED)
    assert len(source) < 200_000
    text = Page(source).text
    assert "98,000 of 100,000, 500 users" in text
    assert "200 of 2,000 failed assets" in text
    assert "SELECT * FROM seedtool.backfill_assets WHERE state = 'failed';" in text
    assert "The 40 of 500 users that cost most." in text
    assert "and 460 more users" in text
    assert "400 of 296,400 calls were throttled (0.1 %)" in text
    assert "ended 2026-11-20 03:04 UTC after 1 h 45 min" in text
    assert "log scale" in text
    assert "IndexFaces 100,400 400 (0.4 %) 100,000 $100.00" in text
    assert "all 296,400 400 296,000 $296.00" in text


def test_nothing_is_fetched_and_nothing_runs():
    source = render(BIG, Backfill(), where="AWS", database="library", ended=ENDED)
    assert not re.search(r"https?:|//|url\(|@import|<script|<link|<img|src=|href=", source)
    policies = [each["content"] for each in Page(source).of("meta") if "http-equiv" in each]
    assert policies[0].startswith("default-src 'none'")


def test_drawings_and_tables_can_be_read_aloud():
    source = render(BIG, Backfill(), where="AWS", database="library", ended=ENDED)
    found = Page(source)
    ids = {attributes["id"] for _, attributes in found.elements if "id" in attributes}
    for drawing in found.of("svg"):
        assert drawing["role"] == "img"
        assert {drawing["aria-labelledby"], drawing["aria-describedby"]} <= ids
    assert len(found.of("table")) == len(found.of("caption")) == 3
    assert all("scope" in each for each in found.of("th"))


@functools.cache
def harmless(*, stopped, remedy):
    """The elements of a page whose values are all an x, or empty."""
    report = msgspec.structs.replace(
        TINY,
        failed=1,
        stopped=stopped,
        errors=(msgspec.structs.replace(failure(name="x", cause="x", remedy=remedy), asset_id="x", user_id="x"),),
        notes=("x",),
        by_user=(UserSum(user_id="x"),),
        calls={"x": 1},
    )
    return [tag for tag, _ in page(report).elements]


@given(st.text(), st.text(max_size=20))
@example("<b>", "</b>")
@example('" onclick="', "' onclick='")
def test_no_value_becomes_markup(name, other):
    report = msgspec.structs.replace(
        TINY,
        failed=1,
        stopped=other,
        errors=(msgspec.structs.replace(failure(name=name, cause=other, remedy=name), asset_id=other, user_id=name),),
        notes=(name,),
        by_user=(UserSum(user_id=name),),
        calls={name: 1},
    )
    hostile = page(report, where=name, database=other)
    assert [tag for tag, _ in hostile.elements] == harmless(stopped=other and "x", remedy=name and "x")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", "".join(hostile.texts))


def test_a_long_value_is_cut_in_its_middle():
    text = page(msgspec.structs.replace(TINY, failed=1, errors=(failure(name="a" * 9999 + ".jpg"),))).text
    assert re.search(r"a{100}…a{96}\.jpg", text)


@pytest.mark.parametrize(
    ("review", "assign"), [(80, 95), (0, 100), (0, 0), (92.5, 92.5), (99.9, 99.95), (99, 100), (61.3, 88.8)]
)
def test_every_match_is_in_a_bar_and_the_thresholds_stand_where_they_are(review, assign):
    rules = Backfill(review=review, assign=assign)
    found = {tenth: 1 + tenth % 7 for tenth in range(int(review * 10), BINS, 3)}
    drawing = svg(
        render(msgspec.structs.replace(TINY, similarities=found), rules, where="", database="", ended=ENDED), "similarity"
    )  # fmt: skip
    bars = re.findall(r'<rect class="(linked|review)"[^>]*><title>([\d.]+) to ([\d.]+): ([\d,]+)<', drawing)
    assert sum(int(number) for *_, number in bars) == sum(found.values())
    for kind, start, end, _ in bars:
        assert 0 <= float(start) < float(end) <= 100.01
        assert (float(start) >= assign - 0.1) == (kind == "linked") or assign - 0.1 <= float(start) <= assign
    assert drawing.count('class="threshold"') == len({review, assign})
    for value in {review, assign}:
        assert f">{value:g}</text>" in drawing
    assert not re.search(r'(?:width|height)="-|nan|inf', drawing)


@given(
    st.lists(st.tuples(st.floats(0, 1e6), *[st.integers(0, 10**7)] * 4), min_size=1, max_size=30),
    st.integers(0, 10**7),
)
def test_any_course_can_be_drawn(steps, assets):
    sums = [sorted(column) for column in zip(*steps, strict=True)]
    points = tuple(Point(*row) for row in zip(*sums, strict=True))
    source = render(msgspec.structs.replace(TINY, points=points, assets=assets), Backfill(), where="", database="", ended=ENDED)  # fmt: skip
    Page(source)
    assert not re.search(r'(?:width|height)="-|"nan|"inf', source)


def test_the_page_is_written_in_one_step(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    check_place(path)
    assert path.read_text() == "old"
    write(path, "new \udcff")
    assert path.read_text() == "new ?"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o444


@pytest.mark.parametrize("place", ["nowhere/report.html", ".", "/proc/report.html"])
def test_a_place_that_cannot_be_written_is_refused_beforehand(tmp_path, place, approved):
    with pytest.raises(UsageError) as refused:
        check_place(tmp_path / Path(place))
    assert refused.value.place == {"option": "--html"}
    assert refused.value.remedy
    approved(refused.value)


def test_a_page_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("an old one")
    path.chmod(0o644)
    write(path, "<p>names of files</p>")
    assert path.stat().st_mode & 0o777 == 0o600
