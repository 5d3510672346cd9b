"""The page of a report, as a browser shows it: whole on a telephone, in light and dark, without anything from outside."""

import re

import msgspec

from seedtool.refreshing.page import page
from seedtool.refreshing.report import Kept, Proven, Report, TableReport

REPORT = Report(
    database="staging on db.staging.example:5432",
    source="production on <b>db</b>.a-very-long-name-of-a-host-in-a-network.example.internal:5432",
    outcome="refreshed",
    began="2026-11-28T01:23:45.678+00:00",
    by="operator@machine",
    policy="staging/policy.toml",
    policy_hash="168380c0bcb790aeb156e24c195c996675a8985715859fad328ece3db38e7242",
    key="4167caab7ab56ce6",
    faces="placeholder",
    tables=tuple(
        TableReport(
            table=f"a_table_with_a_long_name_{number}",
            rows=1_234_567,
            bytes=987_654_321,
            seconds=3.25,
            how="masked",
            chosen="all rows",
            masked={"first_name": "first_name", "<script>": "token"},
            kept=(Kept(column="id"), Kept(column="house", reason="a house of the school & no person's")),
        )
        for number in range(12)
    ),
    proof=Proven(findings=(), counts={"rows of the copy": 14_814_804}, seconds=12.5),
    seconds={"schema": 0.2, "copy": 3.1},
    notes=("the role postgres may write at the source",),
)


def test_a_name_of_a_table_or_column_is_no_markup():
    text = page(REPORT)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "a house of the school &amp; no person&#x27;s" in text
    assert not re.search(r"(src|href)=|url\(|@import", text)


def test_what_the_proof_found_and_shared_faces_stand_at_the_top():
    finding = {"kind": "leak", "table": "notes", "column": "text", "what": "it holds an e-mail address"}
    refused = msgspec.structs.replace(REPORT, proof=Proven(findings=(finding,), counts={}, seconds=1.0), faces="share")
    text = page(refused)
    assert "1 finding. The database was not replaced" in text.replace("\n", " ")
    assert "production’s face collection" in text
    assert text.index("<td>notes</td><td>text</td>") < text.index("<h2>Tables</h2>")
    cells = msgspec.structs.replace(REPORT.proof, look="cells")
    assert "did not look within texts" in page(msgspec.structs.replace(REPORT, proof=cells))
    assert "not proven" in page(msgspec.structs.replace(REPORT, proof=None))


def test_the_page_fits_a_telephone_and_a_wide_screen_in_light_and_dark(tmp_path, chromium):
    (tmp_path / "report.html").write_text(page(REPORT), encoding="utf-8")
    backgrounds = set()
    for width, scheme in ((320, "light"), (1400, "dark")):
        shown = chromium.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        shown.goto((tmp_path / "report.html").as_uri())
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        backgrounds.add(shown.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert shown.locator("details").first.locator("li").count() == 2
        shown.close()
    assert len(backgrounds) == 2
