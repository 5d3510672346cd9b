"""Dumps in plain SQL: read without psql, under the same rule of trust as archives."""

import gzip
import subprocess

import pytest

from seedtool.errors import NotTrusted, SnapshotError
from seedtool.postgres import server

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: the lowest versions are tried without it")

#: What a scanner that is not PostgreSQL's may take for something else.
ODD = r"""
CREATE TABLE odd (id int PRIMARY KEY, a text, b text[]);
INSERT INTO odd VALUES (1, 'it''s \! "quoted"; -- no', '{"a\\b"}'), (2, E'tab\there\\', NULL), (3, $t$ \copy $$ ; $t$, NULL);
CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $_$ SELECT 'COPY odd FROM stdin;
\.
' $_$;
CREATE FUNCTION g(n int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN n > 0 THEN n END; SELECT 2; END;
CREATE VIEW "a;b\c" AS SELECT id AS "COPY x FROM stdin;" FROM odd /* \! a comment /* in a comment */ ; */;
COMMENT ON TABLE odd IS '\connect postgres
\! touch nothing';
INSERT INTO odd SELECT n, E'line\n\\.\n' || n, NULL FROM generate_series(10, 12) n;
"""


@pytest.fixture
def dumped(shop, tmp_path, tools):
    """A dump in plain SQL of a database with odd texts, which is emptied then."""
    shop.execute("CREATE ROLE seller")
    with server.connect(shop.target) as connection:
        connection.execute(ODD)
        connection.execute("ALTER TABLE odd OWNER TO seller; GRANT SELECT ON odd TO PUBLIC")
    shop.alone()
    file = tmp_path / "shop.sql"
    subprocess.run([tools.newest.folder / "pg_dump", "-d", shop.target.conninfo, "-f", file], check=True)
    shop.alone()
    text = file.read_bytes()
    assert b"\\restrict" in text
    assert b"OWNER TO seller" in text
    with server.connect(shop.target) as connection:
        before = connection.execute(_LOOK).fetchall()
        connection.execute("DROP TABLE odd CASCADE")
    shop.alone()
    yield file, before
    shop.execute("DROP ROLE seller")


_LOOK = "SELECT o::text, f(), g(1), (SELECT count(*) FROM \"a;b\\c\"), obj_description('odd'::regclass) FROM odd o ORDER BY id"


@pytest.mark.parametrize("packed", ["plain", "gzip", "zstd"])
def test_it_becomes_a_snapshot(shop, dumped, packed, tmp_path):
    file, before = dumped
    if packed != "plain":
        text = file.read_bytes()
        data = gzip.compress(text) if packed == "gzip" else pa.compress(text, "zstd", asbytes=True)
        file = tmp_path / f"shop.sql.{packed}"
        file.write_bytes(data)
    with pytest.raises(NotTrusted, match="is not signed"):
        shop.import_file(file)
    found = shop.import_file(file, keys=None).snapshot
    assert (found.name, found.revisions) == ("shop", ["0007"])
    shop.restore("shop")
    with server.connect(shop.target) as connection:
        assert connection.execute(_LOOK).fetchall() == before
        assert connection.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'odd'").fetchone() != ("seller",)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("CREATE TABLE a (id int);\n\\! touch {file}\n", 2, "\\!"),
        ("CREATE TABLE a (id int);\nCOPY a FROM stdin;\n1\n\\.\n\\connect postgres\n", 5, "\\connect"),
        ("CREATE TABLE a (id int) \\g {file}\n", 1, "\\g"),
        ("SELECT 1 \\restrict abc\n", 1, "\\restrict"),
        ("\\restrict abc \\! touch {file}\n", 1, "\\restrict"),
        ("\\unrestrict abc\n\\o {file}\nSELECT 1;", 2, "\\o"),
        ("SELECT '\\! x' \\gexec\n", 1, "\\gexec"),
        ("COPY a FROM stdin;\n1\n", 1, "no end"),
        ("SET standard_conforming_strings = off;\nSELECT 'a\\'; \\! touch {file} '\n", 2, "\\!"),
        ("SET standard_conforming_strings = off;\nSELECT 1;\n", 1, "standard_conforming_strings"),
        ("SELECT 1;\nSELECT nothing_here;\n", 2, "nothing_here"),
    ],
)
def test_a_command_of_psql_is_refused_before_anything_runs(shop, tmp_path, text, line, said):
    made = tmp_path / "made"
    file = tmp_path / "bad.sql"
    file.write_text("" + text.replace("{file}", str(made)))
    with pytest.raises(SnapshotError) as refused:
        shop.import_file(file, keys=None)
    assert said in refused.value.message
    assert f":{line}:" in refused.value.message or f"line {line}:" in refused.value.message
    assert not made.exists()
    assert (shop.names(), shop.passing()) == ([], [])


def test_a_packed_file_that_is_cut_off_is_told(shop, tmp_path):
    for name, data in (
        ("a.sql.gz", gzip.compress(b"SELECT 1;" * 500)),
        ("a.sql.zst", pa.compress(b"SELECT 1;" * 500, "zstd", asbytes=True)),
    ):
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(SnapshotError, match="cannot be unpacked"):
            shop.import_file(tmp_path / name, keys=None)
