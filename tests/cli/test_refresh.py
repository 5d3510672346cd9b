"""`seedtool refresh` as it is typed: its exit codes, and what stands on stdout."""

import re

import pytest

from seedtool.postgres import server

KEY = "3c1f9a0b7de2584661fbc09e8d7a2f35"


@pytest.fixture
def production(school):
    """The variables under which the school is production, and staging a database beside it."""
    url = server.find(school.settings).url.replace("+psycopg", "")
    return {"SEEDTOOL_REFRESH_FROM": url, "SEEDTOOL_REFRESH_KEY": KEY, "SEEDTOOL_DATABASE": "staging"}


def test_a_refresh_prints_one_object_and_names_its_page(school, production):
    done = school.ok("refresh --yes --json", env=production).json["refresh"]
    assert done["report"]["outcome"] == "refreshed"
    assert done["report"]["proof"]["findings"] == []
    assert done["report"]["faces"] == "placeholder"
    assert done["page"].endswith(".html")
    assert school.run("refresh", env=production).code == 3  # it is there now, and nobody agreed
    text = school.ok("refresh --yes --reuse", env=production).out
    assert re.search(r"^proof: nothing found", text, re.MULTILINE)
    assert school.ok("refresh --dry-run", env=production).out.endswith("needs --yes; nothing was changed\n")
    assert "students" in school.ok("refresh --preview", env=production).out


def test_a_column_that_a_migration_adds_fails_the_check(school, production):
    school.query("ALTER TABLE students ADD nickname text")
    try:
        found = school.run("refresh check --json", env=production)
        assert found.code == 1
        (finding,) = found.json["check"]["findings"]
        assert (finding["kind"], finding["table"], finding["column"]) == ("no line", "students", "nickname")
        assert "nickname" in school.run("refresh check", env=production).out
        refused = school.run("refresh --yes --json", env=production)
        assert refused.code == 1
        assert refused.json["error"]["place"]["column"] == "nickname"
        assert refused.json["report"]["findings"] == [finding]
    finally:
        school.query("ALTER TABLE students DROP nickname")
    assert school.ok("refresh check", env=production).out.startswith("staging/policy.toml fits seedtool on ")


@pytest.mark.parametrize(
    ("command", "env", "code"),
    [
        ("refresh --yes", {"SEEDTOOL_REFRESH_KEY": ""}, 2),
        ("refresh --yes", {"SEEDTOOL_REFRESH_KEY": "short"}, 2),
        ("refresh --yes", {"SEEDTOOL_REFRESH_FROM": ""}, 2),
        ("refresh --yes", {"SEEDTOOL_DATABASE": "seedtool"}, 3),
        ("refresh --yes --to mysql://host/db", {}, 2),
        ("refresh --yes --from postgresql://u:hidden@127.0.0.1:1/db", {}, 1),
        ("refresh --yes --policy nowhere.toml", {}, 1),
        ("refresh --yes --confirm other", {}, 3),
        ("refresh check --from nonsense", {}, 2),
    ],
)
def test_what_cannot_be_is_refused_with_its_exit_code(school, production, command, env, code):
    done = school.run(f"{command} --json", env={**production, **env})
    assert done.code == code, done.err
    assert done.json["error"]["remedy"]
    assert "hidden" not in done.out + done.err
