"""`seedtool refresh` as it is typed: its exit codes, and what stands on stdout."""

import re
from pathlib import Path

import pytest

from seedtool.postgres import server

KEY = "3c1f9a0b7de2584661fbc09e8d7a2f35"


@pytest.fixture
def production(school):
    """The variables under which the school is production, and staging a database beside it."""
    url = server.find(school.settings).url.replace("+psycopg", "")
    return {"SEEDTOOL_REFRESH_FROM": url, "SEEDTOOL_REFRESH_KEY": KEY, "SEEDTOOL_DATABASE": "staging"}


def test_a_refresh_prints_one_object_and_names_its_page(school, production):
    done = school.ok("refresh --yes --proof cells --json", env=production).json["refresh"]
    assert done["report"]["outcome"] == "refreshed"
    assert done["report"]["proof"]["findings"] == []
    assert done["report"]["proof"]["look"] == "cells"
    assert done["report"]["faces"] == "placeholder"
    assert [each for each in done["report"]["notes"] if "no face is linked yet" in each and "enroll --all" in each]
    assert done["page"].endswith(".html")
    assert school.run("refresh", env=production).code == 3  # it is there now, and nobody agreed
    text = school.ok("refresh --yes --reuse --proof cells", env=production).out
    assert re.search(r"^proof: nothing found in whole cells in", text, re.MULTILINE)
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
        ("refresh check --from postgresql://u:a@hidden@127.0.0.1:1/db", {}, 2),
        ("refresh check --from postgresql://127.0.0.1:1/", {}, 2),
    ],
)
def test_what_cannot_be_is_refused_with_its_exit_code(school, production, command, env, code):
    done = school.run(f"{command} --json", env={**production, **env})
    assert done.code == code, done.err
    assert done.json["error"]["remedy"]
    assert "hidden" not in done.out + done.err
    if "--from" in command:
        assert "DATABASE_URL" not in done.json["error"]["remedy"]


def test_photos_that_the_policy_names_are_indexed_in_the_copys_own_collection(school, production, tmp_path):
    text = (school.root / "staging" / "policy.toml").read_text()
    query = "SELECT external_image_id FROM student_faces WHERE student_id IN ('student-001', 'student-002')"
    policy = tmp_path / "reindex.toml"
    policy.write_text(text.replace('faces = "placeholder"', f'faces = "reindex"\nreindex = "{query}"'))
    (tmp_path / "after.sql").write_text((school.root / "staging" / "after.sql").read_text())
    refused = school.run("refresh --yes --policy", policy, "--json", env=production)
    assert refused.json["error"]["place"]["setting"] == "refresh_photos"

    before = school.face_ids()
    photos = {"SEEDTOOL_REFRESH_PHOTOS": str(school.root / "seeds" / "photos")}
    photos |= {"PHOTOS_URL": str(tmp_path / "photos"), "AWS_REKOGNITION_COLLECTION": "eduguard-school-staging"}
    done = school.ok("refresh --yes --policy", policy, "--json", env={**production, **photos}).json["refresh"]
    assert "4 of 4 photos were indexed in the copy's own collection" in done["report"]["notes"]
    with server.connect(server.find(school.settings).at("staging")) as connection:
        linked = connection.execute(
            "SELECT external_image_id, photo_url FROM student_faces WHERE face_id NOT LIKE 'placeholder:%'"
        ).fetchall()
    assert len(linked) == 4
    assert not [each for each, _ in linked if each in before]
    assert sorted(
        str(file.relative_to(tmp_path / "photos")) for file in (tmp_path / "photos").rglob("*.jpg")
    ) == sorted(photo for _, photo in linked)
    assert school.face_ids() == before


def test_shared_faces_are_kept_only_by_name_and_every_report_says_so(school, production, tmp_path):
    text = (school.root / "staging" / "policy.toml").read_text().replace('after = "after.sql"\n', "")
    kept = re.sub(
        r'^(student_id|id|photo_url|external_image_id|face_id|aws_collection_id) = (\{.*|"token")$',
        r'\1 = "keep"',
        text,
        flags=re.MULTILINE,
    )
    policy = tmp_path / "kept.toml"
    policy.write_text(kept)
    refused = school.run("refresh --yes --policy", policy, "--json", env=production)
    assert refused.code == 1
    found = {(each["table"], each["column"]) for each in refused.json["report"]["findings"]}
    assert ("student_faces", "face_id") in found
    policy.write_text(kept.replace('faces = "placeholder"', 'faces = "share"'))
    done = school.ok("refresh --yes --policy", policy, "--json", env=production).json["refresh"]
    assert done["report"]["faces"] == "share"
    assert done["sync"] is None
    assert "production’s face collection" in Path(done["page"]).read_text(encoding="utf-8")
