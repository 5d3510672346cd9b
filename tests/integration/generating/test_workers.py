"""Workers die, and schedulers run tasks twice: each slice is there once all the same."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from seedtool.errors import LoadInterrupted, UsageError
from seedtool.generating import loading
from seedtool.listener import Listener
from seedtool.slices import ledger, running
from seedtool.slices.ledger import Slice
from tests.integration.generating.school import Poison
from tests.waiting import until

TABLES = ("families", "pupils", "photos")


def slices(count):
    return [Slice("a", each, each + 1) for each in range(count)]


def test_a_slice_that_kills_four_workers_is_named_and_the_others_are_done(tmp_path):
    done: list[int] = []
    with running.processes(2) as workers:
        results = running.run(slices(12), Poison(5, str(tmp_path)), workers)
        with pytest.raises(LoadInterrupted) as raised:
            done.extend(each.slice.first for each in results)
    assert len(list(tmp_path.iterdir())) == running.DEATHS
    assert raised.value.place["table"] == "a"
    assert "rows 6 to 6" in raised.value.message
    assert "--resume" in raised.value.remedy
    assert len(done) == len(set(done))
    assert 5 not in done


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ([], [(0, 10), (10, 20), (20, 25)]),
        ([(0, 10)], [(10, 20), (20, 25)]),
        ([(0, 7), (10, 20)], [(7, 10), (20, 25)]),
        ([(0, 25)], []),
        ([(0, 30)], []),
    ],
)
def test_the_slices_that_are_not_there_are_found(there, missing):
    found = ledger.missing([Slice("a", *each) for each in there], "a", 25, 10)
    assert [(each.first, each.last) for each in found] == missing


def test_a_slice_that_is_run_twice_is_written_once(school):
    school.load()
    rows = [school.checksum(table) for table in TABLES]
    with school.connect() as connection:
        load = ledger.find(connection.cursor(), "district")
        plan = loading.plan_of(connection, load, None)
        again = loading.write_slice(connection, "district", plan.known["pupils"], Slice("pupils", 0, 60))
    assert again.rows == 0
    assert [school.checksum(table) for table in TABLES] == rows


class Killing(Listener):
    """Kills a process when some rows are there."""

    def __init__(self, pid):
        self.pid = pid

    def progress(self, what, done, total=None):  # noqa: ARG002 - the listener's
        if self.pid and done > total / 5:
            os.kill(self.pid, signal.SIGKILL)
            self.pid = None


@pytest.mark.filterwarnings("ignore")
def test_a_worker_of_a_cluster_that_is_killed_costs_no_row_and_doubles_none(school, monkeypatch):
    distributed = pytest.importorskip("distributed")
    school.load(scale=20)
    rows = [school.checksum(table) for table in TABLES]
    school.unload()
    school.execute("ALTER TABLE photos ALTER COLUMN id RESTART")
    monkeypatch.setattr(loading, "ROWS_A_SLICE", 64)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
    ) as cluster:
        with distributed.Client(cluster) as client:
            victim = next(iter(client.run(os.getpid).values()))
        listener = Killing(victim)
        report = school.load(scale=20, scheduler=cluster.scheduler_address, listener=listener)
    assert listener.pid is None
    assert [school.checksum(table) for table in TABLES] == rows
    once = "SELECT count(*) = count(DISTINCT (relation, first)) AND sum(last - first) = {} FROM seedtool.slices"
    assert school.value(once.format(sum(each.rows for each in report.tables)))


def test_a_scheduler_that_does_not_answer_is_told(school):
    with pytest.raises(UsageError) as raised:
        school.load(scheduler="nonsense://x")
    assert raised.value.place["option"] == "--scheduler"
    assert "dask scheduler" in raised.value.remedy


def test_an_undoing_waits_for_a_worker_that_has_outlived_its_load(school, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("seedtool.generating.putting_off.build", interrupt)
        with pytest.raises(KeyboardInterrupt):
            school.load()
    school.execute("DELETE FROM seedtool.slices WHERE relation = 'photos'; DELETE FROM photos")
    with school.connect() as worker:
        load = ledger.find(worker.cursor(), "district")
        photos = loading.plan_of(worker, load, None).known["photos"]
        worker.commit()
        with worker.transaction():  # it has begun to write when the load is undone
            loading.write_slice(worker, "district", photos, Slice("photos", 0, 30))
            undoing = threading.Thread(target=school.unload)
            undoing.start()
            undoing.join(0.5)
            assert undoing.is_alive()
        undoing.join(30)
    assert [school.value(f"SELECT count(*) FROM {table}") for table in TABLES] == [0, 0, 0]
    with school.connect() as worker:  # and what begins later writes nothing
        assert loading.write_slice(worker, "district", photos, Slice("photos", 30, 60)).rows == 0
        ledger.write(worker.cursor(), load)
        ledger.stop(worker.cursor(), "district")  # nor while the undoing goes on
        worker.commit()
        assert loading.write_slice(worker, "district", photos, Slice("photos", 30, 60)).rows == 0


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    code = (
        "import os, time\nfrom seedtool.slices import running\n"
        "if __name__ == '__main__':\n"
        "    with running.processes(2) as workers:\n"
        "        print(workers.executor.submit(os.getpid).result(), flush=True)\n"
        "        time.sleep(60)\n"
    )
    (tmp_path / "parent.py").write_text(code)
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not os.path.exists(f"/proc/{worker}"))  # noqa: PTH110
