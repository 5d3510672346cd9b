"""A seed that is killed, raced or large."""

import threading
import time

import psycopg
import pytest

from seedtool.errors import BlockedError, DatabaseError, SeedError
from seedtool.listener import Listener
from seedtool.postgres import cluster, server
from seedtool.postgres.psycopg_errors import RUN_AGAIN
from seedtool.seeding import ledger
from seedtool.seeding.fixtures import read_fixtures
from seedtool.seeding.merge import seed


@pytest.mark.parametrize("when", ["stage", "check", "write"])
def test_a_seed_whose_session_is_killed_has_changed_nothing(small_school, database, when):
    before = small_school.everything()
    small_school.write("guardians.csv", "id,email\ng1,other@x.example\ng9,new@x.example\n")
    small_school.write("pupils.csv", "id,name,guardian_id,best_friend\np1,Ñandú,g9,\n")
    fixtures = read_fixtures(small_school.root / "seeds", ["local"], small_school.root)

    class Killer(Listener):
        def step(self, name: str) -> None:
            if name == when:
                small_school.connection.execute("SELECT pg_terminate_backend(%s, 5000)", [victim.info.backend_pid])
                small_school.connection.commit()

    with server.connect(database) as victim, pytest.raises(DatabaseError) as caught:
        seed(victim, fixtures, listener=Killer())
    assert caught.value.remedy == RUN_AGAIN
    assert small_school.everything() == before
    small_school.seed()


def test_a_seed_killed_in_the_middle_of_its_statement_has_changed_nothing(small_school, database):
    before = small_school.everything()
    small_school.run("""
        CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.id = 50 THEN PERFORM pg_sleep(30); END IF; RETURN NEW; END $$;
        CREATE TRIGGER dawdle BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION dawdle()""")
    small_school.write("guardians.csv", "id,email\ng1,other@x.example\ng2,two@x.example\ng3,three@x.example\n")
    small_school.write("notes.csv", "id,body\n" + "".join(f"{n},x\n" for n in range(100)))
    fixtures = read_fixtures(small_school.root / "seeds", ["local"], small_school.root)
    with server.connect(database) as victim:
        failed: list[BaseException] = []

        def run() -> None:
            try:
                seed(victim, fixtures)
            except DatabaseError as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        while small_school.rows(sleeping) == [(0,)]:
            time.sleep(0.01)
        small_school.rows(f"SELECT pg_terminate_backend({victim.info.backend_pid}, 5000)")
        thread.join()
    assert failed[0].remedy == RUN_AGAIN
    assert small_school.everything() == before


def test_two_seeds_at_once_follow_one_another(project, database):
    project.write("notes.csv", "id,body\n" + "".join(f"{n},x\n" for n in range(2000)))
    project.write("pupils.csv", "id,name\np1,Ana\n")
    fixtures = read_fixtures(project.root / "seeds", ["local"], project.root)
    found: list[dict[str, tuple[int, int, int, int]]] = []

    def run() -> None:
        with server.connect(database) as connection:
            barrier.wait()
            found.append(project.counts(seed(connection, fixtures)))

    barrier = threading.Barrier(3)
    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each["notes"] for each in found) == [(0, 0, 2000, 0), (0, 0, 2000, 0), (2000, 0, 0, 0)]


def test_a_seed_tells_whom_it_waits_for_and_does_not_wait_for_ever(small_school, database, monkeypatch):
    monkeypatch.setattr(cluster, "QUIET_WAIT", 0.1)
    monkeypatch.setattr(cluster, "LONGEST_WAIT", 1)
    heard = []
    listener = Listener()
    listener.note = heard.append
    before = small_school.everything()
    with server.connect(database, autocommit=True, application="a colleague") as other:
        other.execute("SELECT pg_advisory_lock(%s)", [ledger._LOCK])
        fixtures = read_fixtures(small_school.root / "seeds", ["local"], small_school.root)
        with server.connect(database) as connection, pytest.raises(BlockedError, match="a colleague"):
            seed(connection, fixtures, listener=listener)
    assert [text for text in heard if "a colleague" in text] == heard != []
    assert small_school.everything() == before


def test_a_row_that_people_add_while_a_seed_prunes_is_never_taken_along(small_school, database):
    small_school.write("pupils.csv", "id,name\np1,Ñandú\np2,Zoë\n")
    fixtures = read_fixtures(small_school.root / "seeds", ["local"], small_school.root)
    with server.connect(database) as person, server.connect(database) as connection:
        person.execute("INSERT INTO marks VALUES ('p3', 'art', 5)")  # not committed: the seed has to wait
        failed: list[SeedError] = []

        def run() -> None:
            try:
                seed(connection, fixtures)
            except SeedError as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while small_school.rows(waiting) == [(0,)]:
            time.sleep(0.01)
        person.commit()
        thread.join()
    assert "row pupil_id=p3, subject=art of marks" in failed[0].message
    assert small_school.rows("SELECT count(*) FROM marks") == [(1,)]


def test_a_hundred_thousand_rows_take_seconds(project):
    project.write("guardians.csv", "id,email\n" + "".join(f"g{n},{n}@x.example\n" for n in range(1000)))
    project.write(
        "pupils.csv",
        "id,name,guardian_id,age,tags\n" + "".join(f'p{n},"Name, {n}",g{n % 1000},7,{{a}}\n' for n in range(100_000)),
    )
    started = time.monotonic()
    assert project.counts(project.seed())["pupils"] == (100_000, 0, 0, 0)
    assert project.counts(project.seed())["pupils"] == (0, 0, 100_000, 0)
    # generous for a busy machine: eight seconds for both were measured on two cores
    assert time.monotonic() - started < 60


def test_many_kinds_of_rows_make_a_long_statement_that_still_runs(project):
    columns = ["age", "mood", "born", "tags", "extra", "guardian_id", "best_friend"]
    lines = []
    for number in range(2 ** len(columns)):
        named = [name for bit, name in enumerate(columns) if number >> bit & 1 and name != "mood"]
        lines.append(f"- {{id: p{number}, name: x" + "".join(f", {name}: null" for name in named) + "}\n")
    project.write("pupils.yaml", "".join(lines))
    assert project.counts(project.seed())["pupils"] == (2 ** len(columns), 0, 0, 0)


def test_a_connection_that_returns_dicts_will_do(project, database):
    from psycopg.rows import dict_row

    project.write("pupils.csv", "id,name\np1,Ana\n")
    fixtures = read_fixtures(project.root / "seeds", ["local"], project.root)
    with psycopg.connect(database.conninfo, row_factory=dict_row, autocommit=True) as connection:
        seed(connection, fixtures)
    assert project.rows("SELECT name FROM pupils") == [("Ana",)]
