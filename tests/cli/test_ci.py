"""`seedtool ci prepare`: built once, then left alone; loaded from dumps where there are some."""

from types import SimpleNamespace

import pytest
from psycopg.conninfo import make_conninfo

from seedtool.listener import Listener
from seedtool.postgres import server
from seedtool.workflows.prepare import prepare


def prepared(project, *arguments):
    """Prepare, and return how each template came about and what was told."""
    done = project.ok("ci prepare --json --seed local", *arguments)
    assert [made["profile"] for made in done.json["templates"]] == [None, "local"]
    return [made["how"] for made in done.json["templates"]], done.err


def databases(project):
    target = server.find(project.settings)
    with server.connect(target, target.maintenance) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}


def test_a_recipe_gets_a_template_upon_each_profile(bare):
    done = bare.ok("ci prepare --json --seed local --load demo").json["templates"]
    assert [(made["profile"], made["recipe"]) for made in done] == [(None, None), ("local", None), ("local", "demo")]
    assert done[2]["template"] in bare.ok("db-reset --yes --seed local --load demo --dry-run").out
    keys = [bare.ok("fingerprint", *more.split()).out for more in ("--seed local", "--seed local --load demo")]
    assert keys[0] != keys[1] != bare.ok("fingerprint --seed local --load demo --scale 2").out
    again = bare.ok("ci prepare --seed local --load demo").out
    assert "local + demo" in again
    assert "present" in again


def test_it_builds_what_is_missing_and_then_leaves_it_alone(bare, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    assert prepared(bare, "--cache", cache)[0] == ["built", "built"]
    before = databases(bare)
    assert len(before) == 5  # PostgreSQL's own three and two templates: no target
    assert prepared(bare, "--cache", cache)[0] == ["present", "present"]
    assert databases(bare) == before
    assert sorted(path.stat().st_mode & 0o777 for path in cache.glob("*.dump")) == [0o600, 0o600]

    told = bare.ok("ci prepare")
    assert "tests may begin: seedtool on the embedded server" in told.out

    # another machine, to which the folder was brought
    names = before - {"postgres", "template0", "template1"}
    target = server.find(bare.settings)
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        for name in names:
            connection.execute(f"ALTER DATABASE {name} IS_TEMPLATE false")
            connection.execute(f"DROP DATABASE {name}")
    (schema, seeded) = sorted(cache.glob("*.dump"), key=lambda path: path.stat().st_size)
    assert prepared(bare, "--cache", cache)[0] == ["loaded", "loaded"]
    assert databases(bare) == before
    report = bare.ok("ci prepare --json --seed local").json["templates"]
    assert [made["fingerprint"] for made in report] == [schema.stem, seeded.stem]
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE look TEMPLATE {report[1]['template']}")
    with server.connect(
        server.Target(conninfo=make_conninfo(target.conninfo, dbname="look"), name="look", maintenance="postgres")
    ) as look:
        assert look.execute("SELECT count(*) FROM students").fetchone() == (32,)
        assert look.execute("SELECT count(*) > 0 FROM seedtool.ledger").fetchone() == (True,)

    assert sorted(path.suffix for path in cache.iterdir()) == [".dump", ".dump"]


@pytest.fixture
def cached(bare, tmp_path_factory):
    """A project whose templates are in a cache and not on the server; `again` brings that about anew."""
    cache = tmp_path_factory.mktemp("cache")
    prepared(bare, "--cache", cache)
    target = server.find(bare.settings)

    def again():
        with server.connect(target, target.maintenance, autocommit=True) as connection:
            for name in databases(bare) - {"postgres", "template0", "template1"}:
                connection.execute(f"ALTER DATABASE {name} IS_TEMPLATE false")
                connection.execute(f"DROP DATABASE {name}")
        (schema, seeded) = sorted(cache.glob("*.dump"), key=lambda path: path.stat().st_size)
        return schema, seeded

    return SimpleNamespace(again=again, folder=cache, project=bare)


def attempt(cached, **options):
    """Prepare in this process, and return how each template came about and what was told."""
    told = []
    listener = Listener()
    listener.note = told.append
    report = prepare(["local"], settings=cached.project.settings, cache=cached.folder, listener=listener, **options)
    return [made.how for made in report.templates], "\n".join(told)


FIRST = b"SELECT pg_catalog.set_config('search_path', '', false);"
POISON = b"CREATE ROLE intruder SUPERUSER;".ljust(len(FIRST))


def intruded(project):
    target = server.find(project.settings)
    with server.connect(target, target.maintenance) as connection:
        return connection.execute("SELECT FROM pg_roles WHERE rolname = 'intruder'").fetchone() is not None


def test_a_cache_that_somebody_poisoned_is_not_run(cached):
    """What was edited, cut off, swapped, or not signed by us is built anew, and the file is replaced."""
    schema, seeded = cached.again()
    good, rows = schema.read_bytes(), seeded.read_bytes()
    dumped = good[: good.rindex(b'{"')]
    for content, fault in (
        (good.replace(FIRST, POISON), "was changed after it was signed"),
        (dumped.replace(FIRST, POISON), "is not signed"),
        (good[:1000], "is not signed"),
        (rows, "is signed as the fingerprint"),
    ):
        cached.again()
        schema.write_bytes(content)
        how, told = attempt(cached)
        assert how == ["built", "loaded"]
        assert fault in told
        assert "the template is built instead" in told
        assert not intruded(cached.project)
        assert schema.read_bytes() != content

    cached.again()
    schema.write_bytes(dumped.replace(FIRST, POISON) + good[len(dumped) :])
    attempt(cached, trust_file=True)
    assert intruded(cached.project)  # that the file would have done it


def test_the_key_of_a_cache_comes_from_the_environment(cached, monkeypatch):
    """Each job has a state folder of its own; SEEDTOOL_ARCHIVE_KEY is the same for all."""
    own = cached.project.settings.state_dir / "archive.key"

    def elsewhere():
        cached.again()
        own.unlink(missing_ok=True)

    elsewhere()
    how, told = attempt(cached)
    assert (how, "a key that this project does not hold" in told) == (["built", "built"], True)

    monkeypatch.setenv("SEEDTOOL_ARCHIVE_KEY", "5d" * 32)
    elsewhere()
    assert attempt(cached)[0] == ["built", "built"]
    elsewhere()
    assert attempt(cached) == (["loaded", "loaded"], "")
    assert not own.exists()
    assert "5d5d" not in cached.project.ok("config").out

    monkeypatch.setenv("SEEDTOOL_ARCHIVE_KEY", "another key, and long enough to be one")
    elsewhere()
    assert attempt(cached)[0] == ["built", "built"]
    refused = cached.project.run("ci prepare", env={"SEEDTOOL_ARCHIVE_KEY": "short"})
    assert refused.code == 2
    assert "archive_key: has fewer than 32 characters" in refused.err
    assert "openssl rand -hex 32" in refused.err


def test_an_exported_snapshot_is_no_template_of_a_cache(cached):
    schema, _ = cached.again()
    cached.project.ok("db-reset --yes -q")
    cached.project.ok("snapshot save a")
    cached.project.ok("snapshot export --force a", schema)
    cached.project.ok("snapshot delete --yes a")
    cached.again()
    how, told = attempt(cached)
    assert how == ["built", "loaded"]
    assert "is signed as the kind snapshot, not as template" in told


def test_a_profile_that_does_not_exist(bare):
    done = bare.run("ci prepare --seed locl --json")
    assert done.code == 2
    assert done.json["error"]["place"]["profile"] == "locl"
    assert "local" in done.json["error"]["remedy"]


def test_a_cache_that_cannot_be_written(bare):
    done = bare.run("ci prepare --cache pyproject.toml/cache")
    assert done.code in {1, 2}
    assert "pyproject.toml" in done.err


def test_faces_of_a_profile_with_a_sync_are_enrolled_once(seeded):
    before = seeded.outside()
    (enrolled,) = seeded.ok("ci prepare --json --seed full").json["emulator"]
    assert (enrolled["profile"], enrolled["indexed"]) == ("full", 0)  # the school has them enrolled already
    assert seeded.outside() == before
