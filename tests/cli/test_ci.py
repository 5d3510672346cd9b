"""`seedtool ci prepare`: built once, then left alone; loaded from dumps where there are some."""

from psycopg.conninfo import make_conninfo

from seedtool.postgres import server


def prepared(project, *arguments):
    """Prepare, and return how each template came about and what was told."""
    done = project.ok("ci prepare --json --seed local", *arguments)
    assert [made["profile"] for made in done.json["templates"]] == [None, "local"]
    return [made["how"] for made in done.json["templates"]], done.err


def databases(project):
    target = server.find(project.settings)
    with server.connect(target, target.maintenance) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}


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

    # a file that was cut off
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {report[0]['template']} IS_TEMPLATE false")
        connection.execute(f"DROP DATABASE {report[0]['template']}")
    schema.write_bytes(schema.read_bytes()[:1000])
    how, told = prepared(bare, "--cache", cache)
    assert how == ["built", "present"]
    assert "cannot be loaded" in told
    assert schema.stat().st_size > 1000


def test_a_profile_that_does_not_exist(bare):
    done = bare.run("ci prepare --seed locl")
    assert done.code == 2
    assert "Did you mean local?" in done.err


def test_a_cache_that_cannot_be_written(bare):
    done = bare.run("ci prepare --cache pyproject.toml/cache")
    assert done.code in {1, 2}
    assert "pyproject.toml" in done.err


def test_faces_of_a_profile_with_a_sync_are_enrolled_once(seeded):
    before = seeded.outside()
    (enrolled,) = seeded.ok("ci prepare --json --seed full").json["emulator"]
    assert (enrolled["profile"], enrolled["indexed"]) == ("full", 0)  # the school has them enrolled already
    assert seeded.outside() == before
