"""Which photos are processed: since a day, and where a condition on their rows holds, which can change nothing."""

import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from seedtool.backfill import Options, library, listing, plan
from seedtool.backfill.page import render
from seedtool.backfill.report import labelled
from seedtool.cli.backfill import _plan_lines, _report_lines
from seedtool.errors import UsageError

ROOT = Path(__file__).resolve().parents[3]

# The photos of an album are a minute apart, from this time on.
BEGIN = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def three(album):
    """A user's three photos."""
    ana = album.user("ana")
    return [album.photo(ana, "Ana") for _ in range(3)]


def chosen(album, **options):
    found = [each.asset_id for each in listing(album.db, Options(**options))]
    album.db.commit()
    return found


def test_since_a_day(album, three):
    times = [at for (at,) in album.db.execute("SELECT created_at FROM assets ORDER BY 1")]
    album.db.commit()
    assert chosen(album, since=times[1]) == three[1:]
    assert chosen(album, since=BEGIN.replace(tzinfo=None)) == three
    planned = plan(album.db, album.settings, Options(since=times[2]))
    assert (planned.assets, planned.skipped, planned.since) == (1, 0, times[2])
    # a day without a time zone begins where the session is
    album.db.execute("SET TimeZone = 'America/Santiago'")
    album.db.commit()
    for given, shown in (
        (BEGIN.replace(tzinfo=None), "since 2026-02-01 00:00 (America/Santiago)"),
        (BEGIN, "since 2026-02-01 00:00+00:00"),
    ):
        first, *_ = _plan_lines(plan(album.db, album.settings, Options(since=given)), priced=True)
        assert first == f"only assets {shown}"
    report = album.run(since=times[2])
    assert (report.succeeded, report.skipped) == (1, 0)
    assert album.run().succeeded == 2
    assert [row[0] for row in album.faces()] == ["IMG_0002.JPG", "IMG_0003.JPG", "IMG_0004.JPG"]


HOLDS = (
    "file_name LIKE '%3.JPG'",
    "file_name = 'IMG_0003.JPG' -- and no other",
    "/* one */ id IN (SELECT a.id FROM assets a JOIN users u ON u.id = a.user_id WHERE file_name ~ '3[.]')",
    "mod(right(split_part(file_name, '.', 1), 1)::int, 2) = 1 OR created_at IS NULL",
)


def test_where_a_condition_holds(album, three):
    nobody = album.user()
    for where in HOLDS:
        assert chosen(album, where=where) == [three[1]]
        planned = plan(album.db, album.settings, Options(where=where))
        assert (planned.users, planned.assets, planned.where) == (1, 1, where)
        assert chosen(album, where=where, user_id=nobody) == []
    report = album.run(where=where)
    assert (report.succeeded, report.skipped) == (1, 0)
    assert album.run(where=where).assets == 0
    assert album.run(where=where, reindex=True).succeeded == 1
    album.consistent()


WRONG = (
    ("no_such_column", "no_such_column"),
    ("state = 'done'", '"state"'),
    ("u.deleted", "u"),
    ("file_name", "boolean"),
    ("1 / (length(file_name) - 12) > 0", "division by zero"),
    ("file_name::int > 0", "invalid input syntax"),
    ("true; DELETE FROM assets", "syntax error"),
    ("true) ; DROP TABLE assets; SELECT (true", "syntax error"),
    ("/* true", "comment"),
    ("'", "unterminated"),
    ("nextval('numbers') > 0", "read-only"),
    ("remove() > 0", "read-only"),
    ("set_config('transaction_read_only', 'off', true) = 'off' AND remove() > 0", "read-write"),
    ("EXISTS (DELETE FROM assets RETURNING 1)", "syntax error"),
    ("EXISTS (WITH gone AS (DELETE FROM assets RETURNING 1) SELECT FROM gone)", "top level"),
    ("file_name = %s", "syntax error"),
    ("file_name = 'a\0'", ""),
    ("file_name = '\udcff'", "UTF-8"),
    ("  ", "empty"),
)


def test_a_condition_that_cannot_be_used_is_a_usage_error_and_changes_nothing(album, three, counters):
    album.db.execute("CREATE SEQUENCE numbers")
    album.db.execute(
        "CREATE FUNCTION remove() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM assets; RETURN 1; END'"
    )
    album.db.commit()
    for where, fault in WRONG:
        for use in (
            lambda options: plan(album.db, album.settings, options),
            lambda options: album.run(where=options.where),
        ):
            with pytest.raises(UsageError) as refused:
                use(Options(where=where))
            assert refused.value.place == {"option": "--where"}
            assert fault in refused.value.message
            assert refused.value.remedy
            album.db.rollback()
    assert album.db.execute("SELECT count(*) FROM assets").fetchone() == (3,)
    assert counters() == {}


def test_a_library_that_does_not_say_when_a_photo_was_created_has_no_since(album, three):
    album.db.execute("ALTER TABLE assets DROP created_at")
    album.db.commit()
    with pytest.raises(UsageError) as refused:
        album.run(since=BEGIN)
    assert refused.value.place == {"option": "--since"}
    assert "created_at in [tool.seedtool.backfill.assets]" in refused.value.remedy


def test_the_guide_has_the_costs_of_50_500_and_2_000_photos_that_a_dry_run_says(album, monkeypatch):
    monkeypatch.undo()  # the published quotas count here
    guide = (ROOT / "docs/guides/backfill.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| \$([\d.]+) \| (\w+) \| (\w+) \|$", guide, re.MULTILINE)
    assert [row[0] for row in table] == ["50", "500", "2,000"]
    ana, done = album.user("ana"), 0
    for photos, *rest in table:
        number = int(photos.replace(",", ""))
        album.db.execute(
            "INSERT INTO assets (user_id, storage_url, file_name, mime_type, approved)"
            " SELECT %s, 'x.jpg', 'x.jpg', 'image/jpeg', true FROM generate_series(%s::int, %s::int)",
            [ana, done + 1, number],
        )
        done = number
        times = []
        for region, quota in (("us-east-1", 50), ("sa-east-1", 5)):
            settings = msgspec.structs.replace(album.settings, region=region)
            planned = plan(album.db, settings, Options())
            *_, estimate, last = _plan_lines(planned, priced=True)
            said = re.fullmatch(
                rf"at least (\w+) at the quota of {quota} calls a second for each operation in {region}", last
            )
            times.append(said[1])
        index, search, cost = rest[:3]
        assert estimate.startswith(f"estimate: ${cost} for {index} IndexFaces + {search} SearchFaces, at 2 faces")
        assert times == rest[3:]


def test_a_terminal_says_who_the_users_are_and_files_only_when_asked(album, tmp_path):
    ana = album.user("ana")
    album.photo(ana, storage_url="nowhere.jpg")
    report = album.run()
    assert (report.failed, report.by_user[0].user_id) == (1, ana)
    (email,) = album.db.execute("SELECT email FROM users").fetchone()
    shown = labelled(report, library.labels(album.db, [ana]))
    assert any(f"user {email} ({ana})" in line for line in _report_lines(shown, {}, "here"))
    for each, says in ((report, 0), (shown, 2)):
        assert msgspec.json.encode(each).decode().count(email) == says
        page = render(each, album.settings.backfill, where="here", database="x", ended=BEGIN)
        assert page.count(email) == says
    assert [each.user_label for each in listing(album.db, Options(retry_failed=True), with_labels=True)] == [email]
    kept = album.db.execute("SELECT report::text FROM seedtool.backfill_runs").fetchone()[0]
    assert email not in kept
    album.db.execute("UPDATE users SET email = ''")
    assert library.labels(album.db, [ana]) == {ana: ana}
