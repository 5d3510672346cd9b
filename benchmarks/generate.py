"""Generated rows beside psql's `\\copy`, prebuilt blocks, Faker, Mimesis, SQLAlchemy and drizzle-seed: in turn, on one server.

A rival that makes a million rows in minutes makes fewer; its seconds are those of a million at its rate. Seconds of CPU
are compared where no server takes part. Beside the seconds of a clock stand those of the processors of client and
server, which a busy machine does not change.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from psycopg import sql

from seedtool.generating import loading, recipe, rows
from seedtool.generating.facts import Facts
from seedtool.generating.planning import Plan
from seedtool.postgres import programs, server
from seedtool.postgres.catalog import read_catalog
from seedtool.postgres.copying import send_while_making
from seedtool.postgres.server import Target
from seedtool.settings import load as load_settings
from seedtool.values.cells import block
from seedtool.values.hashing import key_of, stream
from seedtool.values.kinds import Context, kind

ROOT = Path(__file__).resolve().parents[1]
RUNS = 3
STUDENTS = int(os.environ.get("SEEDTOOL_BENCH_ROWS", "1000000"))
#: What the slow rivals make.
FEW = min(100_000, STUDENTS)

SCHEMA = """
CREATE TABLE guardians (
  id text PRIMARY KEY, first_name text NOT NULL, last_name text NOT NULL, email text NOT NULL UNIQUE, phone text,
  identification_number text NOT NULL UNIQUE);
CREATE TABLE students (
  id text PRIMARY KEY, guardian_id text NOT NULL REFERENCES guardians, sex text NOT NULL, first_name text NOT NULL,
  middle_name text, last_name text NOT NULL, second_last_name text, email text NOT NULL UNIQUE,
  identification_number text NOT NULL UNIQUE, birth_date date NOT NULL, enrolled_at timestamptz NOT NULL,
  grade int NOT NULL, status text NOT NULL, phone text, address text, height numeric(5,1), consent boolean NOT NULL,
  notes text);
CREATE INDEX ON students (guardian_id);
CREATE INDEX ON students (last_name, first_name);
CREATE INDEX ON students (birth_date);
"""
RECIPE = """
locale = "es_CL"

[rows]
guardians = {guardians}
students = "2 per guardians"

[tables.guardians]
id = "guardian-{{n:07}}"
first_name = "first_name"
last_name = "last_name"
email = {{ kind = "email", of = ["first_name", "last_name"] }}
phone = "phone"
identification_number = "rut"

[tables.students]
id = "student-{{n:07}}"
sex = "sex"
first_name = {{ kind = "first_name", sex_of = "sex" }}
middle_name = {{ kind = "first_name", sex_of = "sex", nulls = 0.2 }}
last_name = "last_name"
second_last_name = "last_name"
email = {{ kind = "email", of = ["first_name", "last_name"] }}
identification_number = "rut"
birth_date = {{ kind = "birth_date", on = 2026-03-01 }}
enrolled_at = {{ kind = "timestamp", min = 2024-03-01, max = 2026-03-31, pattern = "working hours", zone = "-03" }}
grade = {{ kind = "integer", min = 1, max = 12 }}
status = {{ kind = "choice", values = ["active", "inactive"], weights = [97, 3] }}
phone = "phone"
address = "address"
height = {{ kind = "normal", mean = 140, deviation = 15, min = 90, max = 200, places = 1 }}
consent = {{ kind = "boolean", share = 0.9 }}
notes = {{ kind = "catch_phrase", nulls = 0.5 }}
"""

BARE = """
CREATE TABLE bare (
  id text, first_name text, last_name text, email text, rut text, born date, seen timestamp, grade int, status text,
  phone text)
"""
BARE_RECIPE = """
locale = "es_CL"

[rows]
bare = {count}

[tables.bare]
id = "student-{{n:07}}"
first_name = "first_name"
last_name = "last_name"
email = {{ kind = "email", of = ["first_name", "last_name"] }}
rut = "rut"
born = {{ kind = "date", min = 2008-01-01, max = 2019-12-31 }}
seen = "timestamp"
grade = {{ kind = "integer", min = 1, max = 12 }}
status = {{ kind = "choice", values = ["active", "inactive"] }}
phone = "phone"
"""

#: Eight kinds of values of a student, as text with tabs and newlines between them.
MIXED = [
    ("first_name", {"locale": "es_CL"}),
    ("last_name", {"locale": "es_CL"}),
    ("rut", {}),
    ("date", {}),
    ("integer", {"max": 99}),
    ("choice", {"values": ["active", "inactive"], "weights": [95, 5]}),
    ("template", {"format": "student-{n:06}"}),
    ("city", {"locale": "es_CL"}),
]

Row = tuple[str, str, float, float, float]


def rows_of(environ: Mapping[str, str], folder: Path) -> Iterator[Row]:
    """Yield what was measured: what, its rival, the bar, and both.

    Args:
        environ: SEEDTOOL_HOME in it is a folder of the measurement's own.
        folder: a temporary folder for the rivals' files.
    """
    yield from _values()
    os.environ["SEEDTOOL_HOME"] = f"{environ['SEEDTOOL_HOME']}/generate"
    target = server.find(load_settings(ROOT))
    try:
        yield from _indexed(target, folder)
        yield from _bare(target)
        yield from _rivals(target, folder)
        yield from _workers(target)
    finally:
        if target.embedded is not None:
            target.embedded.stop()


# Values alone #########################################################################################################


def _values() -> Iterator[Row]:
    kinds = [kind(word, **parameters) for word, parameters in MIXED]
    keys = [key_of(b"bench", word) for word, _ in MIXED]
    count = 500_000

    def formatted() -> None:
        for first in range(0, count, rows.ROWS_A_BLOCK):
            numbers = np.arange(first, first + rows.ROWS_A_BLOCK, dtype=np.int64)
            context = Context(numbers)
            block([each.make(stream(key, numbers), context) for each, key in zip(kinds, keys, strict=True)])

    ours = _cpu(formatted) / (count * len(MIXED)) * 8e6
    yield "8,000,000 formatted values of 8 kinds, one core", "8,000,000 a second", 1.0, ours, 1.0
    for locale, bar in (("es_CL", 1 / 1000), ("es", 1 / 75)):
        with suppress(ImportError):
            yield f"1,000,000 full names, {locale}", f"Faker, {locale}", bar, _names(locale), _faker(locale)
    with suppress(ImportError):
        yield "1,000,000 full names, es", "Mimesis, es", 1 / 20, _names("es"), _mimesis()


def _cpu(work: Callable[[], object], runs: int = RUNS) -> float:
    measured = []
    for _ in range(runs):
        started = time.process_time()
        work()
        measured.append(time.process_time() - started)
    return statistics.median(measured)


def _names(locale: str) -> float:
    made, key = kind("full_name", locale=locale), key_of(b"bench", "name")

    def names() -> None:
        for first in range(0, 1_000_000, rows.ROWS_A_BLOCK):
            numbers = np.arange(first, first + rows.ROWS_A_BLOCK, dtype=np.int64)
            made.make(stream(key, numbers), Context(numbers))

    return _cpu(names)


def _faker(locale: str) -> float:
    import faker

    fake = faker.Faker(locale)
    fake.name()
    return _cpu(lambda: [fake.name() for _ in range(5000)]) * 200


def _mimesis() -> float:
    from mimesis import Person
    from mimesis.locales import Locale

    person = Person(Locale.ES)
    person.full_name()
    return _cpu(lambda: [person.full_name() for _ in range(50_000)]) * 20


# Into PostgreSQL ######################################################################################################


def _fresh(target: Target, name: str, schema: str) -> Target:
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    made = target.at(name)
    with server.connect(made, autocommit=True) as connection:
        connection.execute(schema)
        connection.execute("CHECKPOINT")
    return made


def _load(target: Target, content: str) -> float:
    found = recipe.read(content.encode(), "bench", "bench.toml")
    started = time.perf_counter()
    loading.load(target, found, loading.Options())
    return time.perf_counter() - started


def _processors(target: Target, work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of the processors that work takes: those of this process and its children, and the server's.

    The server's are those of sessions that have ended: the postmaster has them when it has waited for them (proc(5)).
    """
    with server.connect(target, target.maintenance) as connection:
        found = connection.execute("SELECT setting FROM pg_settings WHERE name = 'data_directory'").fetchone()
    postmaster = int((Path(found[0] if found else "") / "postmaster.pid").read_text().split()[0])

    def spent() -> tuple[float, float]:
        time.sleep(0.3)  # the postmaster has to hear of the end of sessions
        fields = Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        client = sum(each.ru_utime + each.ru_stime for each in usages)
        return client, sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    before = spent()
    work()
    client, served = spent()
    return client - before[0], served - before[1]


def _indexed(target: Target, folder: Path) -> Iterator[Row]:
    content = RECIPE.format(guardians=STUDENTS // 2)
    files = {name: folder / f"{name}.txt" for name in ("guardians", "students")}
    made = _fresh(target, "ours", SCHEMA)
    _load(made, content)
    with server.connect(made) as connection, connection.cursor() as cursor:
        for name, file in files.items():
            with file.open("wb") as out, cursor.copy(f"COPY {name} TO STDOUT") as copy:
                for data in copy:
                    out.write(data)
    theirs = _fresh(target, "theirs", SCHEMA)

    def copied() -> None:
        for name, file in files.items():
            _psql(theirs, f"\\copy {name} FROM '{file}'")

    ours, rival, our_cpu, their_cpu = [], [], [], []
    for _ in range(RUNS):
        theirs = _fresh(target, "theirs", SCHEMA)
        their_cpu.append(_processors(target, lambda: rival.append(_clock(copied))))
        made = _fresh(target, "ours", SCHEMA)
        our_cpu.append(_processors(target, lambda: ours.append(_load(made, content))))  # noqa: B023 - called at once
    for file in files.values():
        file.unlink()
    what = f"`seed load`: {STUDENTS:,} students of 18 columns and {STUDENTS // 2:,} guardians, indexed, with keys"
    yield what, "`psql \\copy` of the same rows", 0.5, statistics.median(ours), statistics.median(rival)
    client, served = min(our_cpu)
    what = f"the same, processors of client ({client:.1f} s) and server ({served:.1f} s)"
    yield what, "`psql \\copy` of the same rows", 1.0, client + served, sum(min(their_cpu))


def _clock(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _psql(target: Target, command: str) -> None:
    with server.connect(target) as connection:
        tools = programs.fitting(connection.info.server_version)[0]
    options = ("-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", command)
    done = programs.run(tools, "psql", *options, target=target, database=target.name)
    if done.code:
        sys.exit(done.errors)


def _plan(target: Target, content: str) -> Plan:
    found = recipe.read(content.encode(), "bench", "bench.toml")
    with server.connect(target) as connection:
        return Plan(found, read_catalog(connection), Facts(connection), "1", recipe.units_of(found, 1), 0, None)


def _bare(target: Target) -> Iterator[Row]:
    planned = _plan(_fresh(target, "bare", BARE), BARE_RECIPE.format(count=STUDENTS)).tables[0]
    ready = [each.data for each in rows.blocks(planned, 0, STUDENTS)]
    ours, rival = [], []
    for _ in range(RUNS):
        rival.append(_copy(_fresh(target, "bare", BARE), iter(ready)))
        ours.append(_copy(_fresh(target, "bare", BARE), (each.data for each in rows.blocks(planned, 0, STUDENTS))))
    what = f"{STUDENTS:,} rows of 10 columns, made and sent into a bare table"
    yield what, "the same blocks, made beforehand", 1.4, statistics.median(ours), statistics.median(rival)


def _copy(target: Target, blocks: Iterator[bytes], where: str = "") -> float:
    with server.connect(target) as connection, connection.cursor() as cursor:
        started = time.perf_counter()
        with cursor.copy(f"COPY bare FROM STDIN {where}") as copy:
            send_while_making(connection)
            for data in blocks:
                copy.write(data)
        connection.commit()
        return time.perf_counter() - started


# Rivals that make rows ################################################################################################


def _rivals(target: Target, folder: Path) -> Iterator[Row]:
    measured = []
    made, theirs = (_fresh(target, name, SCHEMA) for name in ("ours", "theirs"))
    content = RECIPE.format(guardians=STUDENTS // 2)
    our_cpu = sum(_processors(target, lambda: measured.append(_load(made, content))))
    their_cpu = sum(_processors(target, lambda: measured.append(_add_all(theirs))))
    ours, alchemy = measured[0] / (STUDENTS * 1.5) * 1e6, measured[1] / (FEW * 1.5) * 1e6
    yield "1,000,000 rows of the same tables", f"Faker and `add_all`, {FEW:,} students", 1 / 100, ours, alchemy
    # the rival works in one process and waits for the server, and both of our processors are busy at once
    what = "the same, processors of client and server"
    rates = our_cpu / (STUDENTS * 1.5) * 1e6, their_cpu / (FEW * 1.5) * 1e6
    yield what, f"Faker and `add_all`, {FEW:,} students", 1 / 50, *rates
    drizzle = _drizzle(_fresh(target, "theirs", SCHEMA), folder)
    if drizzle is not None:
        seconds = drizzle / (FEW * 1.5) * 1e6
        yield "1,000,000 rows of the same tables", f"drizzle-seed, {FEW:,} students", 1 / 30, ours, seconds


def _add_all(target: Target) -> float:
    import faker
    from sqlalchemy import MetaData, create_engine
    from sqlalchemy.ext.automap import automap_base
    from sqlalchemy.orm import Session

    engine = create_engine("postgresql+psycopg://", creator=lambda: server.connect(target))
    base = automap_base(metadata=MetaData())
    base.prepare(autoload_with=engine)
    guardian, student = base.classes.guardians, base.classes.students
    fake = faker.Faker("es_CL")
    started = time.perf_counter()
    with Session(engine) as session:
        for first in range(0, FEW // 2, 5000):
            numbers = range(first, min(first + 5000, FEW // 2))
            session.add_all(
                guardian(
                    id=f"guardian-{n:07}",
                    first_name=fake.first_name(),
                    last_name=fake.last_name(),
                    email=f"{n}{fake.email()}",
                    phone=fake.phone_number(),
                    identification_number=f"{n}-{fake.random_digit()}",
                )
                for n in numbers
            )
            session.flush()
            session.add_all(
                student(
                    id=f"student-{n:07}",
                    guardian_id=f"guardian-{n // 2:07}",
                    sex=fake.random_element(["female", "male"]),
                    first_name=fake.first_name(),
                    middle_name=fake.first_name(),
                    last_name=fake.last_name(),
                    second_last_name=fake.last_name(),
                    email=f"{n}{fake.email()}",
                    identification_number=f"{n}-{fake.random_digit()}",
                    birth_date=fake.date_of_birth(minimum_age=6, maximum_age=18),
                    enrolled_at=fake.date_time_between("-2y"),
                    grade=fake.random_int(1, 12),
                    status=fake.random_element(["active", "inactive"]),
                    phone=fake.phone_number(),
                    address=fake.street_address(),
                    height=fake.random_int(90, 200),
                    consent=fake.boolean(),
                    notes=fake.catch_phrase(),
                )
                for n in (number for each in numbers for number in (2 * each, 2 * each + 1))
            )
            session.flush()
        session.commit()
    seconds = time.perf_counter() - started
    engine.dispose()  # its database is dropped next
    return seconds


DRIZZLE = """
import { drizzle } from 'drizzle-orm/node-postgres';
import { pgTable, text, date, timestamp, integer, boolean, doublePrecision } from 'drizzle-orm/pg-core';
import { seed } from 'drizzle-seed';
import pg from 'pg';
const guardians = pgTable('guardians', { id: text().primaryKey(), first_name: text(), last_name: text(),
  email: text().unique(), phone: text(), identification_number: text().unique() });
const students = pgTable('students', { id: text().primaryKey(), guardian_id: text().references(() => guardians.id),
  sex: text(), first_name: text(), middle_name: text(), last_name: text(), second_last_name: text(),
  email: text().unique(), identification_number: text().unique(), birth_date: date(), enrolled_at: timestamp(),
  grade: integer(), status: text(), phone: text(), address: text(), height: doublePrecision(), consent: boolean(),
  notes: text() });
const [settings, count] = [JSON.parse(process.argv[2]), Number(process.argv[3])];
const client = new pg.Pool(settings);
const db = drizzle(client);
await client.query('SELECT 1');
const began = process.hrtime.bigint();
await seed(db, { guardians, students }, { count }).refine(f => ({
  guardians: { count: count / 2, columns: { first_name: f.firstName(), last_name: f.lastName(), email: f.email(),
    phone: f.phoneNumber() } },
  students: { count, columns: { sex: f.valuesFromArray({ values: ['female', 'male'] }), first_name: f.firstName(),
    middle_name: f.firstName(), last_name: f.lastName(), second_last_name: f.lastName(), email: f.email(),
    birth_date: f.date(), enrolled_at: f.timestamp(), grade: f.int({ minValue: 1, maxValue: 12 }),
    status: f.valuesFromArray({ values: ['active', 'inactive'] }), phone: f.phoneNumber(),
    address: f.streetAddress(), height: f.number({ minValue: 90, maxValue: 200, precision: 10 }),
    consent: f.boolean(), notes: f.loremIpsum() } },
}));
console.log(Number(process.hrtime.bigint() - began) / 1e9);
await client.end();
"""


def _drizzle(target: Target, folder: Path) -> float | None:
    """Return the seconds of drizzle-seed; None where npm or its registry is not there."""
    if shutil.which("npm") is None:
        return None
    place = folder / "drizzle"
    place.mkdir()
    (place / "package.json").write_text('{"type": "module"}')
    (place / "seed.mjs").write_text(DRIZZLE)
    packages = ["drizzle-orm", "drizzle-seed", "pg"]
    installed = subprocess.run(["npm", "install", "--silent", *packages], cwd=place, capture_output=True, check=False)
    if installed.returncode:
        return None
    with server.connect(target) as connection:
        info = connection.info
        settings = {"host": info.host, "port": info.port, "user": info.user, "database": info.dbname}
    done = subprocess.run(
        ["node", "seed.mjs", json.dumps(settings), str(FEW)], cwd=place, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return None
    return float(done.stdout)


# Workers and memory ###################################################################################################


def _workers(target: Target) -> Iterator[Row]:
    bare = _fresh(target, "bare", BARE)
    one, two = [], []
    for _ in range(RUNS):
        one.append(_discarded(bare, 1))
        two.append(_discarded(bare, 2))
    what = f"two workers: {STUDENTS:,} rows into a writer that discards"
    yield what, "one worker", 1 / 1.6, statistics.median(two), statistics.median(one)
    memory = [_memory(bare, count) for count in (STUDENTS, STUDENTS * 10)]
    yield f"memory of a worker, {STUDENTS * 10:,} rows", "300 MB", 1.0, memory[1], 0.3
    yield f"memory of a worker, {STUDENTS * 10:,} rows", f"{STUDENTS:,} rows", 1.1, memory[1], memory[0]


def _discarded(target: Target, workers: int) -> float:
    parts = [(target.conninfo, STUDENTS * part // workers, STUDENTS * (part + 1) // workers) for part in range(workers)]
    context = get_context("spawn")
    # a worker begins when all are there: else the first would do the work of those that are still importing
    begin = context.Barrier(workers)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=begin.wait) as pool:
        list(pool.map(_made, [(target.conninfo, 0, 1)] * workers))  # their imports do not count
        started = time.perf_counter()
        list(pool.map(_made, parts))
        return time.perf_counter() - started


def _made(part: tuple[str, int, int]) -> None:
    conninfo, first, last = part
    planned = _plan(server.named_by(conninfo), BARE_RECIPE.format(count=STUDENTS)).tables[0]
    for _ in rows.blocks(planned, first, last):
        pass


def _memory(target: Target, count: int) -> float:
    """Return the peak memory (GB) of a process that sends so many rows to a server that keeps none."""
    command = [sys.executable, __file__, target.conninfo, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(done.stderr)
    return float(done.stdout)


def _in_a_process_of_its_own(conninfo: str, count: int) -> None:
    target = server.named_by(conninfo)
    planned = _plan(target, BARE_RECIPE.format(count=count)).tables[0]
    _copy(target, (each.data for each in rows.blocks(planned, 0, count)), "WHERE false")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)


if __name__ == "__main__":
    _in_a_process_of_its_own(sys.argv[1], int(sys.argv[2]))
