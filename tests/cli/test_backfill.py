"""backfill and faces review, as an operator meets them: flags, questions, the line, Ctrl+C, the summary, the page."""

import json
import signal
import time
import urllib.request

import pytest

from seedtool.workflows.face_service import open_aws
from tests import processes

from .conftest import copy_of_this_project
from .test_terminal import CTRL_C, CTRL_D, at_a_terminal

ELENA = "00000000-0000-4000-8000-000100010000"


@pytest.fixture(scope="module")
def photos(home, tmp_path_factory):
    """A project with the photo library's pictures."""
    project = copy_of_this_project(tmp_path_factory.mktemp("photos"), photos=True)
    with (project.root / "pyproject.toml").open("a") as file:
        file.write("\n[tool.seedtool.backfill]\nvisibility = 0  # the stand-in shows a face at once\n")
    try:
        project.ok("db-reset --yes --seed photos")
        yield project
    finally:
        project.stop()


@pytest.fixture(scope="module")
def as_new():
    """The projects whose library is as a reset made it."""
    return []


@pytest.fixture
def unchanged(photos, as_new):
    """The photo library just after a reset, with no face of an earlier test, for a test that changes nothing."""
    if not as_new:
        service = open_aws(photos.settings)
        for collection in list(service.collection_ids()):
            service.rekognition().delete_collection(CollectionId=collection)
        photos.ok("db-reset --yes --seed photos")
        as_new.append(photos)
    return photos


@pytest.fixture
def library(unchanged, as_new):
    """The same, for a test that changes it; the emulator has good days."""
    as_new.clear()
    yield unchanged
    faults(unchanged)


def faults(project, **settings):
    request = urllib.request.Request(
        f"{project.emulator}/_seedtool/faults", json.dumps(settings).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request).read()


def outcomes(project):
    return project.query("SELECT state, count(*) FROM seedtool.backfill_assets GROUP BY 1 ORDER BY 1")


def test_a_backfill_and_its_review_from_beginning_to_end(library, tmp_path, approved):
    page = tmp_path / "report.html"
    done = library.ok("backfill --yes --html", page)
    assert "18 assets of 3 users to process, 3 skipped" in done.err
    assert "the embedded emulator (us-east-1); seedtool on the embedded server" in done.err
    assert "estimate: $0.05 for 18 IndexFaces + 36 SearchFaces, at 2 faces per photo (prices of 2026-11-20)" in done.err
    assert f"the report is in {page}" in done.err
    assert "assets     18  18 succeeded, 0 failed" in done.out
    assert "faces      51  23 linked to a person, 28 without a person (11 with suggestions)" in done.out
    assert "cost: 18 IndexFaces x $0.001 + 44 SearchFaces x $0.001 = $0.062" in done.out
    assert done.out.rstrip().endswith("28 faces wait for a person: seedtool faces review")
    assert "\r" not in done.err
    assert "Finished: every asset succeeded." in page.read_text(encoding="utf-8")
    assert ELENA in page.read_text(encoding="utf-8")

    listed = library.ok("faces review --json").json
    assert listed["total"] == len(listed["waiting"]) == 29
    first = listed["waiting"][0]
    text = library.ok("faces review --limit 3").out
    assert first["face_id"] in text
    assert "... and 26 more faces: --limit N, or --json" in text
    named = library.ok(f"faces review --json --new-person {first['face_id']}", "Nueva").json
    assert named["assigned"][0]["new_person"]
    assert named["search"]["linked"]
    assert named["waiting"] == 28 - len(named["search"]["linked"])
    again = library.run(f"faces review --json --assign {first['face_id']} Nueva")
    assert again.code == 2
    assert first["face_id"] in again.json["error"]["message"]
    approved(again.json["error"], again.code)
    skipped = library.ok(f"faces review --skip {listed['waiting'][5]['face_id']}")
    assert "stays without a person" in skipped.out
    assert "SearchFaces" not in skipped.out
    assert "searched again, 0 linked" in library.ok(f"faces review --search --user-id {ELENA}").out


def test_a_second_reset_and_backfill_pay_for_no_photo_whose_faces_are_in_the_collections(library):
    rows = (
        "SELECT asset_id, rekognition_face_id, needs_assignment, auto_assigned FROM faces WHERE NOT deleted ORDER BY 1, 2",
        """SELECT f.rekognition_face_id, l.person_group_id, l.confidence FROM face_person_links l
        JOIN faces f ON f.id = l.face_id WHERE NOT l.deleted ORDER BY 1""",
        "SELECT asset_id, state, faces FROM seedtool.backfill_assets ORDER BY 1",
    )
    library.ok("backfill --yes -q")
    first = [library.query(each) for each in rows]
    library.ok("db-reset --yes --seed photos")
    again = library.ok("backfill --yes --json").json
    nobody = again["succeeded"] - again["adopted"]  # photos without a face leave no trace in a collection
    assert again["billed"].get("IndexFaces", 0) == nobody <= 1
    assert [library.query(each) for each in rows] == first


def test_without_a_terminal_nothing_begins_that_nobody_agreed_to(unchanged):
    refused = unchanged.run("backfill")
    assert refused.code == 3
    assert "estimate: " in refused.err
    assert "--yes (or --skip-prompt)" in refused.err
    assert unchanged.query("SELECT to_regclass('seedtool.backfill_assets') IS NULL") == [(True,)]


def test_a_dry_run_calls_nothing_and_writes_nothing(unchanged):
    before = unchanged.outside()
    told = unchanged.ok("backfill --dry-run --limit 2")
    assert "6 assets of 3 users to process" in told.out
    assert "dry run: nothing was called and nothing was written" in told.out
    listed = unchanged.ok(f"backfill --dry-run --json --user-id {ELENA}").json
    assert listed["assets"] == len(listed["listed"]) == 8
    assert {each["user_id"] for each in listed["listed"]} == {ELENA}
    assert unchanged.outside() == before
    assert unchanged.query("SELECT to_regclass('seedtool.backfill_assets') IS NULL") == [(True,)]


def test_an_asset_that_fails_is_told_with_its_file_user_and_cause(library):
    library.query(
        "UPDATE assets SET storage_url = 'nowhere.jpg', file_name = E'a\\x1b[2J.jpg' WHERE id = (SELECT id FROM assets"
        " WHERE user_id = %s AND approved AND face_detection_processed_at IS NULL AND NOT deleted"
        " AND mime_type LIKE 'image/%%' ORDER BY created_at, id LIMIT 1)",
        ELENA,
    )
    done = library.run("backfill --skip-prompt", "--user-id", ELENA)
    assert done.code == 1
    assert r"a\x1b[2J.jpg: there is no photo at nowhere.jpg" in done.out
    assert f", user elena.rojas@albums.example ({ELENA})" in done.out
    assert "7 succeeded, 1 failed" in done.out
    assert "backfill --retry-failed" in done.out


def test_a_budget_ends_it_cleanly(library):
    done = library.ok("backfill --yes --batch-size 1 --max-cost 0.01 --json").json
    assert done["cost"] <= 0.01
    assert done["left"] > 0
    assert "0.01 dollars" in done["stopped"]


def test_a_run_that_ends_with_an_error_says_what_it_has_spent(library):
    rules = [{"fault": "denied", "operation": "IndexFaces", "first": 5, "times": None}]
    faults(library, rules=rules)
    ended = library.run("backfill --yes --batch-size 1 --json")
    assert ended.code == 1
    assert ended.json["error"]["kind"] == "AccessDenied"
    report = ended.json["report"]
    assert report["succeeded"] in {3, 4}  # the fourth may be indexed and not decided
    assert (report["failed"], report["left"]) == (0, 18 - report["succeeded"])
    assert report["stopped"] == ended.json["error"]["message"]
    assert (report["calls"]["IndexFaces"], report["billed"]["IndexFaces"]) == (5, 4)
    assert report["cost"] == pytest.approx(sum(report["billed"].values()) / 1000)

    ended = library.run("backfill --yes --batch-size 1")
    assert ended.code == 1
    assert " left" in ended.out
    assert "cost: " in ended.out
    assert "1 more call ended with an error and will not be billed" in ended.out


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ("--html /nowhere/x.html --yes", {"option": "--html"}),
        ("--html report.html --dry-run", {"option": "--html"}),
        ("--user-id me", {"option": "--user-id"}),
        ("--user-id ffffffff-0000-4000-8000-000000000000", {"option": "--user-id"}),
        ("--interactive", {"option": "--interactive"}),
        ("--interactive --limit 3", {"option": "--interactive"}),
        ("--endpoint http://app.example/x", {"option": "--endpoint"}),
        ("--endpoint https://app.example/x", {"setting": "backfill_token"}),
        ("--endpoint https://app.example/x --max-cost 1", {"option": "--max-cost"}),
        ("--batch-size 0", {"option": "--batch-size"}),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_begins(photos, arguments, place):
    done = photos.run(f"backfill {arguments} --json")
    assert done.code == 2
    error = done.json["error"]
    assert error["place"] == place  # its words: test_messages.py
    assert error["remedy"]
    assert error["message"] in done.err


MENU, USER, SIZE, BEGIN = (
    "Number [5]: ",
    "Number or id of the user (empty: back): ",
    "Assets of each user [10]: ",
    "Begin? [y/N]: ",
)


@pytest.mark.parametrize(
    ("dialog", "code", "said"),
    [
        (((MENU, "2"), (BEGIN, "n")), 3, "not confirmed; nothing was changed"),
        (((MENU, "1"),), 0, "dry run: nothing was called"),
        (((MENU, "5"),), 0, "cancelled; nothing was done"),
        (((MENU, CTRL_D),), 0, "cancelled; nothing was done"),
        # the menu comes back after each wrong entry
        (((MENU, "9"), (MENU, "two"), (MENU, "-1"), (MENU, "")), 0, "There is no entry -1."),
        # a user by number, with the address; by id; a wrong one; nobody leads back to the menu
        (((MENU, "3"), (USER, "1"), (BEGIN, "n")), 3, "8 assets of 1 user to process"),
        (((MENU, "3"), (USER, "7"), (USER, "x"), (USER, ELENA), (BEGIN, "n")), 3, "8 assets of 1 user to process"),
        (((MENU, "3"), (USER, ""), (MENU, "5")), 0, "elena.rojas@albums.example"),
        # the size of a test
        (((MENU, "4"), (SIZE, "0"), (SIZE, "some"), (SIZE, "2"), (BEGIN, CTRL_D)), 3, "6 assets of 3 users to process"),
        (((MENU, "4"), (SIZE, ""), (BEGIN, "n")), 3, "18 assets of 3 users to process"),
    ],
)
def test_the_menu(unchanged, dialog, code, said):
    with at_a_terminal(unchanged, "backfill --interactive") as terminal:
        seen = ""
        for prompt, keys in dialog:
            terminal.read_until(prompt)
            seen, terminal.screen = seen + terminal.screen, ""
            terminal.type(keys if isinstance(keys, bytes) else f"{keys}\n".encode())
        ended, screen = terminal.end()
    assert (ended, said in seen + screen) == (code, True), seen + screen
    assert seen.count("What do you want to do?") == sum(prompt == MENU for prompt, _ in dialog)
    assert "Traceback" not in screen


@pytest.mark.parametrize("columns", [40, 200])
def test_ctrl_c_finishes_what_is_in_flight_and_the_same_command_goes_on(library, tmp_path, columns):
    faults(library, latency={"IndexFaces": 0.4})
    page = tmp_path / "page.html"
    command = f"backfill --yes --batch-size 2 --user-id {ELENA} --html {page}"
    with at_a_terminal(library, command, columns=columns) as terminal:
        terminal.read_until("0/8")
        terminal.type(CTRL_C)
        ended, screen = terminal.end()
    assert ended == 130
    assert "finishing what is in progress" in screen.replace("\r\n", " ")
    assert "interrupted; the same command continues" in screen
    assert "Interrupted." in page.read_text(encoding="utf-8")
    shown = [part for part in screen.replace("^C", "").split("\r") if "0/8" in part]
    assert shown
    assert [part for part in shown if len(part) >= columns] == []
    assert {state for state, _ in outcomes(library)} <= {"done"}
    faults(library)
    library.ok("backfill --yes -q --user-id", ELENA)
    assert outcomes(library) == [("done", 8)]


PLANTED = """
INSERT INTO faces (user_id, asset_id, rekognition_face_id, bounding_box, confidence)
SELECT user_id, id, gen_random_uuid()::text, '{"Left": 0.1, "Top": 0.1, "Width": 0.1, "Height": 0.1}', 0.99
FROM assets, generate_series(1, 2) WHERE user_id = %s AND NOT deleted RETURNING id"""


def test_the_review_page_says_where_it_is_and_ends_quietly(library, tmp_path):
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        page = processes.start(
            "seedtool", "faces", "review", "--web", "--json", cwd=library.root, stdout=stdout, stderr=stderr
        )
    try:
        deadline = time.monotonic() + 60
        while not out.read_text().endswith("\n"):
            assert page.poll() is None, err.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        url = json.loads(out.read_text())["url"]
        assert url.startswith("http://127.0.0.1:")
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(url) as answer:
            assert "<h1><bdi>Faces without a person</bdi></h1>" in answer.read().decode()
        port = url.split(":")[2].partition("/")[0]
        # Ctrl+C comes while a search waits for answers
        faults(library, latency={"SearchFaces": 60})
        answer = urllib.request.Request(f"http://127.0.0.1:{port}/answer", headers={"Accept": "application/json"})
        answer.data = f"user={ELENA}&face={library.query(PLANTED, ELENA)[0][0]}&do=name&name=Nueva".encode()
        with opener.open(answer) as told:
            assert json.load(told)["message"] == "1 face linked to the new person Nueva."
        with opener.open(f"http://127.0.0.1:{port}/news") as told:
            assert json.load(told)["searching"]
        taken = library.run(f"faces review --web --port {port}")
        assert (taken.code, f"127.0.0.1:{port}: Address already in use" in taken.err) == (2, True)
    finally:
        page.send_signal(signal.SIGINT)
    assert page.wait(30) == 0
    assert err.read_text() == "the page has ended; what was decided is written\n"


def test_who_has_how_many_faces_waiting(library, tmp_path):
    library.ok("backfill --yes -q")
    found = library.query(
        """SELECT u.id::text, u.email, count(*) FROM faces f JOIN users u ON u.id = f.user_id JOIN assets a
        ON a.id = f.asset_id WHERE f.needs_assignment AND NOT f.skipped AND NOT f.deleted AND NOT a.deleted
        AND NOT u.deleted GROUP BY u.id ORDER BY u.created_at"""
    )
    total = sum(count for *_, count in found)
    text = library.ok("faces review --users").out
    assert text.endswith(f"{total} faces wait for a person, of {len(found)} users\n")
    for user, email, count in found:
        assert f"{user}  {email}" in text
        assert f"{count}\n" in text
    # an address gets into a file only when that is asked for
    plain = library.ok("faces review --users --json")
    assert plain.json["total"] == total
    assert plain.json["users"] == [{"user_id": user, "waiting": count} for user, _, count in found]
    named = library.ok("faces review --users --json --with-labels").json["users"]
    assert [each["email"] for each in named] == [email for _, email, _ in found]
    file = tmp_path / "waiting.csv"
    library.ok("faces review --users -q --csv", file)
    assert file.read_text().splitlines() == ["user_id,waiting", *(f"{user},{count}" for user, _, count in found)]
    assert file.stat().st_mode & 0o077 == 0
    library.ok("faces review --users -q --with-labels --csv", file)
    assert file.read_text().splitlines()[1] == "{},{},{}".format(*found[0])
    away = library.run("faces review --users --json --csv", tmp_path / "no" / "waiting.csv")
    assert (away.code, away.json["error"]["place"]) == (2, {"option": "--csv"})


def test_flags_that_do_not_go_with_the_page_are_refused(photos):
    for flags, option in (
        ("--web --limit 3", "--web"),
        ("--web --skip 00000000", "--web"),
        ("--port 8000", "--port"),
        ("--open", "--open"),
        ("--users --web", "--users"),
        ("--users --limit 3", "--users"),
        ("--csv x.csv", "--csv"),
        ("--with-labels", "--with-labels"),
    ):
        refused = photos.run(f"faces review --json {flags}")
        assert refused.code == 2
        assert refused.json["error"]["place"] == {"option": option}
