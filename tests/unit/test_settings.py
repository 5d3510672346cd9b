import contextlib
import json
import os
import time
from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from psycopg.conninfo import conninfo_to_dict

from seedtool.errors import DatabaseError, SettingsError
from seedtool.faces.photos import store
from seedtool.faces.rekognition.service import Aws
from seedtool.postgres.server import find
from seedtool.settings import SETTINGS, Backfill, FaceBinding, Settings, find_root, load, redacted
from seedtool.settings.database import check_name
from seedtool.settings.setting import Count, Setting, converted, settings_of, texts_of


@pytest.fixture
def project(tmp_path):
    def write(text="", dotenv=None):
        (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "my-app"\n[tool.seedtool]\n{text}')
        if dotenv is not None:
            (tmp_path / ".env").write_text(dotenv)
        return tmp_path

    return write


def read(root, environ=None, flags=None):
    return load(root, environ={"HOME": str(root), **(environ or {})}, flags=flags)


def test_every_field_that_can_be_given_says_what_it_is_for():
    assert set(SETTINGS) == set(Settings.__struct_fields__) - {"root", "aws_variables", "origins"}
    assert [key for key, setting in SETTINGS.items() if not setting.text] == []
    for struct in (FaceBinding, Backfill, *map(type, Backfill().tables)):
        assert set(texts_of(struct)) == set(struct.__struct_fields__)


def test_one_field_is_all_that_a_new_setting_needs(tmp_path, approved):
    class Wing(msgspec.Struct):
        workers: Annotated[Count, Setting("how many", variables=("SEEDTOOL_WORKERS",))] = 2
        hosts: Annotated[tuple[str, ...], Setting("which", check=check_name)] = ()

    found = settings_of(Wing)
    assert list(found) == ["workers", "hosts"]

    def given(key, value):
        return converted(key, *found[key], value, origin="a test", root=tmp_path)

    assert (given("workers", " 3\n"), given("hosts", ["a "])) == (3, ("a",))
    for key, value in (("workers", "-1"), ("hosts", [" "])):
        with pytest.raises(SettingsError) as refusal:
            given(key, value)
        assert refusal.value.place == {"setting": key, "origin": "a test"}
        approved(refusal.value)


def test_a_setting_that_may_be_left_out_is_read_as_one_that_may_not(tmp_path):
    class Wing(msgspec.Struct):
        folder: Annotated[Path | None, Setting("where")] = None
        workers: Annotated[int | None, Setting("how many")] = None
        hosts: Annotated[tuple[str, ...] | None, Setting("which")] = None

    found = settings_of(Wing)
    for key, given, read_as in (("folder", "a", tmp_path / "a"), ("workers", "3", 3), ("hosts", ["a "], ("a",))):
        assert converted(key, *found[key], given, origin="a test", root=tmp_path) == read_as


def test_the_album_of_the_emulator_is_found_from_the_projects_folder(project):
    root = project('emulator_album = "album"')
    assert read(root).emulator_album == root / "album"
    assert read(root, {"SEEDTOOL_EMULATOR_ALBUM": "/photos"}).emulator_album == Path("/photos")


def test_a_flag_beats_the_environment_beats_dotenv_beats_pyproject(project):
    root = project('collection = "from-pyproject"')
    assert read(root).collection == "from-pyproject"
    root = project('collection = "from-pyproject"', dotenv="AWS_REKOGNITION_COLLECTION=from-dotenv\n")
    assert read(root).collection == "from-dotenv"
    environ = {"AWS_REKOGNITION_COLLECTION": "from-environment"}
    assert read(root, environ).collection == "from-environment"
    settings = read(root, environ, {"collection": "from-flag"})
    assert settings.collection == "from-flag"
    assert settings.origins["collection"] == "command line"


def test_the_defaults_are_those_of_a_fresh_project(project):
    settings = read(project())
    assert (settings.aws, settings.database_url, settings.database) == ("live", None, "my_app")
    assert settings.origins["aws"] == "default"


def test_an_empty_variable_counts_as_not_set(project):
    assert read(project(), {"DATABASE_URL": ""}).database_url is None


@pytest.mark.parametrize("end", ["\n", "\r\n", " ", "\t"])
def test_white_space_around_a_value_is_no_part_of_it(project, end):
    url = "postgresql://ana@host/shop"
    root = project(
        f'aws = "embedded{end!r}"\nalembic_x = ["tenant=blue{end!r}"]\nspares = "2{end!r}"\n'.replace("'", "")
        + f'[[tool.seedtool.faces]]\ntable = "photos{end!r}"\nkey = ["id{end!r}"]\n'.replace("'", ""),
    )
    environ = {"DATABASE_URL": f"{end}{url}{end}", "SEEDTOOL_HOME": f"{root}{end}", "AWS_REGION": end}
    settings = read(root, environ, {"collection": f"faces{end}"})
    assert (settings.database_url, settings.home, settings.collection) == (url, root, "faces")
    assert (settings.aws, settings.alembic_x, settings.spares) == ("embedded", ("tenant=blue",), 2)
    assert settings.faces == (FaceBinding(table="photos", key=("id",)),)
    assert (settings.region, settings.origins["region"]) == (None, "default")


def test_white_space_around_a_value_of_dotenv_is_no_part_of_it(project):
    root = project(dotenv='DATABASE_URL="postgresql://h/shop\n"\nAWS_PROFILE=" ana "\nPHOTOS_URL=" "\n')
    settings = read(root)
    assert (settings.database_url, settings.aws_variables) == ("postgresql://h/shop", {"AWS_PROFILE": "ana"})
    assert settings.photos_url is None


@pytest.mark.parametrize("character", ["\n", "\r", "\t", "\x00", "\x1b", "\x7f", "\x85"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("database", "sh{}op"),
        ("maintenance_database", "post{}gres"),
        ("database_url", "postgresql://h/sh{}op"),
        ("collection", "fa{}ces"),
        ("region", "eu-{}west-1"),
        ("photos_url", "s3://bucket/pre{}fix"),
        ("s3_endpoint_url", "https://host/{}x"),
        ("seeds", "see{}ds"),
        ("alembic_x", ["tenant=a{}b"]),
        ("fingerprint_paths", ["models/{}.py"]),
        ("faces", [{"table": "ph{}otos"}]),
        ("faces", [{"table": "photos", "key": ["i{}d"]}]),
        ("faces", [{"table": "photos", "box": "b{}ox"}]),
        ("backfill", {"collection_prefix": "us{}er-"}),
    ],
)
def test_a_control_character_is_refused(project, key, value, character):
    given = json.loads(json.dumps(value).replace("{}", json.dumps(character)[1:-1]))
    with pytest.raises(SettingsError) as refusal:
        read(project(), flags={key: given})
    assert refusal.value.place["setting"] == key
    assert character not in refusal.value.message
    assert refusal.value.remedy


@pytest.mark.parametrize(
    "address", ["postgresql://h/sh%0Aop", "postgresql+asyncpg://h/sh%1Bop", "host=h dbname='sh\rop'", ""]
)
def test_a_database_has_no_control_character_in_its_name_however_it_is_written(project, monkeypatch, tmp_path, address):
    (tmp_path / "services").write_text("[shop]\nhost=h\ndbname=sh\top\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    with pytest.raises(SettingsError, match="control character") as refusal:
        find(read(project(), {"DATABASE_URL": address or "service=shop"}))
    assert refusal.value.place["setting"] == "database_url"
    assert refusal.value.message.isprintable()
    assert refusal.value.remedy


@pytest.mark.parametrize(
    "base", ["shop", "seedtool_template_0123456789abcdef0123", "seedtool_snapshot_0123456789abcdef0123"]
)
@pytest.mark.parametrize("given", [{"DATABASE_URL": "postgresql://h/shop"}, {"SEEDTOOL_DATABASE": "shop"}])
def test_neither_the_target_nor_a_database_of_ours_is_its_base(project, base, given):
    with pytest.raises(SettingsError) as refusal:
        find(read(project(f'base_template = "{base}"'), given))
    assert (refusal.value.place["setting"], refusal.value.place["origin"]) == (
        "base_template",
        "pyproject.toml, [tool.seedtool]",
    )
    assert refusal.value.message.startswith(f"setting base_template: {base} is ")
    assert "take the setting out" in refusal.value.remedy


@pytest.mark.parametrize(
    "variable",
    ["DATABASE_URL", "SEEDTOOL_DATABASE", "SEEDTOOL_BASE_TEMPLATE", "SEEDTOOL_ARCHIVE_KEY", "PHOTOS_URL"],
)
def test_a_variable_in_another_encoding_is_refused(project, variable):
    with pytest.raises(SettingsError, match="the value is not UTF-8") as refusal:
        read(project(), {variable: f"postgresql://h/{os.fsdecode(bytes([0xE9]))}{'x' * 40}"})
    assert refusal.value.place["origin"] == f"environment variable {variable}"
    assert refusal.value.message.isascii()


def test_a_path_may_have_a_name_that_is_not_utf8(project):
    name = os.fsdecode(b"caf\xe9")
    assert read(project(), {"SEEDTOOL_SEEDS": name}).seeds.name == name


def test_sql_and_libpqs_words_may_stand_on_several_lines(project):
    query = "SELECT id,\n\tcollection\nFROM photos"
    faces = [{"table": "photos", "collection_query": query, "where": "NOT\ndeleted"}]
    settings = read(project(), {"DATABASE_URL": "host=h\n dbname=shop\n"}, {"faces": faces})
    assert settings.faces[0].collection_query == query
    assert settings.database_url == "host=h\n dbname=shop"


def test_a_password_with_a_control_character_is_not_shown(project, approved):
    with pytest.raises(SettingsError) as refusal:
        read(project(), {"DATABASE_URL": "postgresql://ana:sec\nret@h/shop"})
    assert refusal.value.place == {"setting": "database_url", "origin": "environment variable DATABASE_URL"}
    approved(refusal.value)
    assert "sec" not in refusal.value.message + refusal.value.remedy


def test_a_second_name_of_the_region_is_known(project):
    assert read(project(), {"AWS_DEFAULT_REGION": "sa-east-1"}).region == "sa-east-1"
    assert read(project(), {"AWS_DEFAULT_REGION": "sa-east-1", "AWS_REGION": "eu-west-1"}).region == "eu-west-1"


def test_aws_variables_of_dotenv_are_kept_unless_the_environment_has_them(project):
    root = project(dotenv="AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\nOTHER=c\n")
    assert read(root, {"AWS_ACCESS_KEY_ID": "x"}).aws_variables == {"AWS_SECRET_ACCESS_KEY": "b"}


def test_two_checkouts_have_state_of_their_own(project, tmp_path):
    one, two = tmp_path / "a" / "app", tmp_path / "b" / "app"
    for root in (one, two):
        root.mkdir(parents=True)
        (root / "alembic.ini").touch()
    assert read(one).state_dir != read(two).state_dir


def test_the_root_is_the_nearest_folder_with_a_project_file(project):
    root = project()
    (root / "src" / "deep").mkdir(parents=True)
    assert find_root(root / "src" / "deep") == root


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("aws", 'aws = "moto"'),
        ("database_url", 'database_url = "mysql://h/x"'),
        ("database_url", 'database_url = "localhost"'),
        ("collection", 'collection = "has space"'),
        ("s3_endpoint_url", 's3_endpoint_url = "r2.example.com"'),
        ("aws", "aws = 7"),
        ("spares", "spares = -1"),
        ("spares", "spares = true"),
        ("cache_gb", 'cache_gb = "much"'),
        ("owned_collections", 'owned_collections = "one"'),
        ("alembic_x", "alembic_x = [1]"),
        ("build_command", 'build_command = " "'),
        ("build_command", 'build_command = "python \'manage.py"'),
        ("fingerprint_paths", 'fingerprint_paths = [""]'),
        ("fingerprint_paths", 'fingerprint_paths = ["/etc/**"]'),
        ("fingerprint_paths", 'fingerprint_paths = ["."]'),
        ("fingerprint_paths", 'fingerprint_paths = ["./"]'),
        ("home", 'home = "~nobody-of-that-name/x"'),
        ("database", 'database = "  "'),
        ("faces", "[[tool.seedtool.faces]]"),
        ("faces", '[[tool.seedtool.faces]]\ntable = "f"\ncolumn = "g"'),
        ("colection", 'colection = "x"'),
    ],
)
def test_a_wrong_value_is_told_with_key_fault_and_origin(project, setting, text, approved):
    with pytest.raises(SettingsError) as refusal:
        read(project(text))
    place = refusal.value.place
    assert (place["setting"], place["origin"]) == (setting, "pyproject.toml, [tool.seedtool]")
    assert place["file"] == "pyproject.toml"
    assert "pyproject.toml:" in refusal.value.message
    assert "[tool.seedtool]" in refusal.value.message
    assert refusal.value.remedy
    approved(refusal.value)
    assert refusal.value.exit_code == 2


def test_where_no_key_is_near_all_are_named(project):
    with pytest.raises(SettingsError) as refusal:
        read(project('zzz = "x"'))
    assert refusal.value.place["setting"] == "zzz"
    assert ", ".join(SETTINGS) in refusal.value.remedy


def test_the_nearest_key_is_named(project):
    with pytest.raises(SettingsError) as refusal:
        read(project('colection = "x"'))
    assert "collection" in refusal.value.remedy


def test_the_origin_of_a_wrong_variable_is_its_name(project):
    with pytest.raises(SettingsError) as refusal:
        read(project(), {"S3_ENDPOINT_URL": "x"})
    assert refusal.value.place["origin"] == "environment variable S3_ENDPOINT_URL"
    assert "environment variable S3_ENDPOINT_URL" in refusal.value.message
    with pytest.raises(SettingsError) as refusal:
        read(project(dotenv="S3_ENDPOINT_URL=x\n"))
    assert refusal.value.place["origin"] == "S3_ENDPOINT_URL in .env"
    assert "S3_ENDPOINT_URL in .env" in refusal.value.message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pyproject.toml", b"[tool\n"),
        ("pyproject.toml", b"\xff"),
        ("pyproject.toml", b"tool = 1\n"),
        ("pyproject.toml", b"[tool]\nseedtool = 1\n"),
        ("pyproject.toml", b"[tool]\nseedtool = []\n"),
        ("pyproject.toml", b"[[tool.seedtool]]\n"),
        ("pyproject.toml", b"[tool.seedtool]\nspares = 1\nspares = 2\n"),
        ("pyproject.toml", b"[tool.seedtool]\n[tool.seedtool]\n"),
        ("pyproject.toml", b"x = " + b"[" * 50_000 + b"]" * 50_000),
        (".env", b"A=\xff\n"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(project, name, content):
    root = project()
    (root / name).write_bytes(content)
    with pytest.raises(SettingsError) as refusal:
        read(root)
    assert refusal.value.place["file"] == name
    assert name in refusal.value.message


def test_a_name_that_is_no_text_names_no_database(project):
    root = project()
    (root / "pyproject.toml").write_text('project = 1\n[tool.seedtool]\naws = "embedded"\n')
    assert read(root).database == root.name.replace("-", "_")[:63]


def test_no_spare_is_kept_for_a_ci_unless_somebody_says_so(project):
    root = project("spares = 3")
    assert read(root).spares == 3
    settings = read(root, {"CI": "true"})
    assert (settings.spares, settings.origins["spares"]) == (0, "environment variable CI")
    assert read(root, {"CI": "true", "SEEDTOOL_SPARES": "2"}).spares == 2


def test_the_root_is_where_seedtool_is_set_up_even_above_an_alembic_ini(project):
    root = project('aws = "embedded"')
    (root / "backend").mkdir()
    (root / "backend" / "alembic.ini").touch()
    assert find_root(root / "backend") == root
    assert read(root / "backend").aws == "embedded"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("postgresql://ana:secret@host/db", "postgresql://ana:***@host/db"),
        ("postgresql://ana:se@cr:secret@host/db?password=secret", "postgresql://ana:***@host/db?password=***"),
        ("postgresql://ana:a secret@host/db", "postgresql://ana:***@host/db"),
        ("host=h password='it''s secret' dbname=d", "host=h password=***"),
        ("host=h password = secret dbname=d", "host=h password=*** dbname=d"),
        ("host=h password=my\\ secret dbname=d", "host=h password=*** dbname=d"),
        ("postgresql://h/d?sslpassword=secret&x=1", "postgresql://h/d?sslpassword=***&x=1"),
        ("postgresql://ana@host/db", "postgresql://ana@host/db"),
        ("host=h passwd=secret dbname=d", "host=h passwd=*** dbname=d"),
        ("postgresql://ana:secret@host/db@more", "postgresql://ana:***@more"),
    ],
)
def test_a_password_is_never_shown(value, shown):
    assert "secret" not in redacted(value)
    assert redacted(value).startswith(shown)


LONG = 100_000


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://" + "a" * LONG, "postgresql://" + ":" * LONG, "://x:" * (LONG // 5), "a" * LONG + "=",
        "password" * (LONG // 8), "password " * (LONG // 9), "password=" + "'" * LONG, "password=" + "\\" * LONG,
        "postgresql:" + "/" * LONG, "postgresql:" + "/" * LONG + "?@", "postgresql://" + "@" * LONG, " =" * (LONG // 2),
        "postgresql://h/d?" + "a=b&" * (LONG // 4), "postgresql+asyncpg://h/d?" + "ssl=x&" * (LONG // 6),
        "x" + " " * LONG, "postgresql+" * (LONG // 11),
    ],
    ids=lambda value: value[:20],
)  # fmt: skip
def test_a_long_address_takes_no_time(project, value):
    from seedtool.postgres.server import find

    root, begun = project(), time.process_time()
    redacted(value)
    with contextlib.suppress(SettingsError):
        find(read(root, {"DATABASE_URL": value}))
    assert time.process_time() - begun < 1  # one that grew with the square of the length took minutes


@pytest.mark.parametrize("variable", ["PHOTOS_URL", "S3_ENDPOINT_URL", "DATABASE_URL", "SEEDTOOL_BACKFILL_TOKEN"])
@pytest.mark.parametrize(
    "value",
    [
        "ftp://ana:sec12ret@h/p",
        "ana:sec12ret@h/p",
        "https://ana:sec12ret@h/\x01",
        "s3://ana:sec12ret@",
        "sec12ret \x01",
    ],
)
def test_no_error_of_an_address_or_a_secret_holds_it(project, variable, value):
    from seedtool.postgres.server import find

    told = ""
    try:
        settings = read(project(), {variable: value, "AWS_REGION": "us-east-1"})
        find(settings)
        store(settings, Aws(settings))
    except SettingsError as error:
        told = error.message + error.remedy
    assert "sec12ret" not in told


def test_asyncpgs_word_for_tls_is_understood(project):
    from seedtool.postgres.server import find

    target = find(read(project(), {"DATABASE_URL": "postgresql+asyncpg://u:p@h/d?ssl=require"}))
    assert "sslmode=require" in target.conninfo


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+asyncpg://u@h/d?prepared_statement_cache_size=0", {"host": "h"}),
        (
            "postgresql+psycopg2://u@h/d?connect_timeout=3&executemany_mode=values_only",
            {"host": "h", "connect_timeout": "3"},
        ),
        ("postgresql+pg8000://u@h:6/d?unix_sock=x", {"host": "h", "port": "6"}),
        ("postgresql+psycopg://u@/d?host=a:5433&host=b:5434", {"host": "a,b", "port": "5433,5434"}),
        ("postgresql+psycopg://u@/d?host=%2Frun%2Fpg&port=7", {"host": "/run/pg", "port": "7"}),
    ],
)
def test_a_drivers_own_parameters_and_hosts_are_understood(project, url, expected):
    from seedtool.postgres.server import find

    parts = conninfo_to_dict(find(read(project(), {"DATABASE_URL": url})).conninfo)
    assert parts == {"user": "u", "dbname": "d", **expected}


def test_other_programs_are_given_a_url_that_libpq_reads(project):
    from seedtool.workflows.servers import environment

    url = "postgresql+asyncpg://u:p%40@h:6/d?prepared_statement_cache_size=0&ssl=require"
    settings = read(project(), {"DATABASE_URL": url, "SEEDTOOL_AWS": "live"})
    assert environment(settings=settings)["DATABASE_URL"] == "postgresql://u:p%40@h:6/d?sslmode=require"


@pytest.mark.parametrize(
    ("url", "parameter"),
    [
        ("postgresql://u:secret@h/d?schema=public", "schema"),
        ("postgresql://u:secret@h/d?pgbouncer=true", "pgbouncer"),
        ("postgresql://u:secret@h/d?connect_timeout=3&poolsize=secret", "poolsize"),
        ('"postgresql://u:secret@h/d"', None),
        ("'postgresql://u:secret@h/d", None),
        ('"host=h dbname=d password=secret"', None),
    ],
)
def test_what_a_url_cannot_have_is_named_without_its_value(project, url, parameter, approved):
    from seedtool.postgres.server import find

    with pytest.raises(SettingsError) as raised:
        find(read(project(), {"DATABASE_URL": url}))
    assert raised.value.place["setting"] == "database_url"
    assert raised.value.place.get("key") == parameter
    assert "DATABASE_URL" in raised.value.message
    assert "secret" not in str(raised.value)
    approved(raised.value)


@pytest.mark.parametrize("url", ["service=shop", "postgresql:///?service=shop"])
def test_a_service_file_may_name_the_database(project, tmp_path, monkeypatch, url, approved):
    from seedtool.postgres.server import find

    (tmp_path / "services").write_text("[other]\ndbname=x\n[shop]\nhost=h\ndbname=shop\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGSERVICE", "other")
    assert find(read(project(), {"DATABASE_URL": url})).name == "shop"
    assert os.environ["PGSERVICE"] == "other"
    with pytest.raises(SettingsError) as refusal:
        find(read(project(), {"DATABASE_URL": url.replace("shop", "unknown")}))
    approved(refusal.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('aws = "embedded"\n# spares = 1\nspares = "two"', 4),
        ('\n"databas" = "x"', 3),
        ('DATABASE_URL = "postgresql:///x"', 2),
        ("refresh.jobs = 0", 2),
        ('[tool.seedtool.refresh]\njobs = "many"', 3),
        ("[tool.seedtool.backfil]", 2),
        ('[tool.seedtool.backfill.users]\ntable = "u"\ntabel = "x"', 4),
        ('[[tool.seedtool.faces]]\ntable = "a"\n[[ tool . seedtool . faces ]]\ntable = "b"\ntabel = "c"', 6),
        ('refresh_key = "abc"', 2),
    ],
)
def test_a_fault_in_pyproject_is_told_with_its_line(project, text, line, approved):
    with pytest.raises(SettingsError) as refusal:
        read(project(text))
    assert (refusal.value.place["file"], refusal.value.place["line"]) == ("pyproject.toml", 2 + line)
    assert f"pyproject.toml:{2 + line}, [tool.seedtool]" in refusal.value.message
    approved(refusal.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('A=1\n\nDATABASE_URL = "postgresql://h/d\n', 3),
        ("export DATABASE_URL: postgresql://h/d\n", 1),
        ("AWS REGION=x\nfoo bar\n", None),
        ("\ufeffexport DATABASE_URL='postgresql://h/d'\r\nAWS_REGION=x\r\n", None),
    ],
)
def test_a_line_of_dotenv_that_means_a_setting_and_gives_none_is_told(project, text, line, approved, capfd):
    root = project()
    (root / ".env").write_text(text, encoding="utf-8", newline="")
    if line is None:
        assert read(root).database_url == ("postgresql://h/d" if "DATABASE" in text else None)
        assert capfd.readouterr() == ("", "")
    else:
        with pytest.raises(SettingsError) as refusal:
            read(root)
        assert (refusal.value.place["file"], refusal.value.place["line"]) == (".env", line)
        approved(refusal.value)


@pytest.mark.parametrize("part", [":99999/d", ":1/d?sslmode=nope", ":1/d?channel_binding=w", ":1/d?connect_timeout=x"])
def test_a_value_that_libpq_does_not_know_is_told_before_anybody_doubts_the_server(project, part, approved):
    from seedtool.postgres import server

    with pytest.raises((DatabaseError, SettingsError)) as refusal:
        server.connect(server.find(read(project(), {"DATABASE_URL": f"postgresql://127.0.0.1{part}"})))
    assert "Is the server running" not in refusal.value.remedy
    approved(refusal.value)


@pytest.mark.parametrize("host", ["[::1]", "127.0.0.1"])
def test_an_address_of_either_kind_is_shown_with_its_port(project, host):
    from seedtool.postgres import server

    target = server.find(read(project(), {"DATABASE_URL": f"postgresql+psycopg://u@{host}:1/d"}))
    assert (str(target), target.url) == (f"d on {host}:1", f"postgresql+psycopg://u@{host}:1/d")


def test_the_backfill_has_a_table_of_its_own(project):
    root = project('[tool.seedtool.backfill]\nassign = 97\nprices = {IndexFaces = 0.0008}\ncollection_prefix = "x-"')
    rules = read(root).backfill
    assert (rules.assign, rules.review, rules.prices) == (97, 80, {"IndexFaces": 0.0008})
    assert read(project()).backfill.collection_prefix == "savta-user-"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("review", "assign = 70"),
        ("review", "review = -1"),
        (None, 'assign = "high"'),
        ("smallest_face", "smallest_face = 3"),
        ("visibility", "visibility = 100"),
        ("longest_outage", "longest_outage = -1"),
        ("collection_prefix", 'collection_prefix = "user/"'),
        ("prices", "prices = {IndexFaces = 1000}"),
        (None, "treshold = 1"),
    ],
)
def test_a_wrong_rule_of_the_backfill_is_told(project, key, text, approved):
    with pytest.raises(SettingsError) as caught:
        read(project(f"[tool.seedtool.backfill]\n{text}"))
    assert (caught.value.place["setting"], caught.value.place.get("key")) == ("backfill", key)
    assert caught.value.remedy
    approved(caught.value)


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("id_template", "{person}"),
        ("id_template", "photo-{n}"),
        ("id_template", "{person}-{person}-{n}"),
        ("id_template", "{person}-{n}-{kind}"),
        ("id_template", "{person} {n}"),
        ("id_template", "{person}{n}"),
        ("id_template", "{person}-1{n}"),
        ("photo_template", "photos/{n}.jpg"),
        ("key_template", "{person}"),
    ],
)
def test_a_template_of_a_binding_holds_the_person_and_the_number(name, template) -> None:
    with pytest.raises(SettingsError) as caught:
        FaceBinding(table="photos", **{name: template})
    assert caught.value.place == {"setting": "faces", "table": "photos", "key": name}
    assert name in caught.value.message
    assert template in caught.value.message
    assert "{person}" in caught.value.remedy


def test_a_binding_names_the_columns_of_another_schema() -> None:
    table = FaceBinding(table="photos", person="pupil_id", label=("called",), id_template="{n}:{person}")
    assert table.labels == (("called",),)
    assert FaceBinding(table="photos").labels[0][0] == "first_name"
