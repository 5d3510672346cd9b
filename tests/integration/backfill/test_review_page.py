"""The review page over HTTP and in Chromium: who may see it, what it shows, what an answer writes, keys and clicks."""

import html
import http.client
import io
import itertools
import json
import re
import threading
import urllib.parse

import pytest
from PIL import Image
from psycopg import sql

from seedtool.backfill import review, run
from seedtool.backfill.queries import connect, query
from seedtool.postgres import server
from seedtool.review_page import application
from seedtool.review_page.server import Page


@pytest.fixture
def serve(album):
    """Serves the page of the album, and ends it after the test."""
    running = []

    def start(**options):
        album.db.commit()
        page = Page(album.settings, target=album.target, aws=album.aws, **options)
        thread = threading.Thread(target=page.serve)
        thread.start()
        running.append((page, thread))
        return Browser(page.url)

    yield start
    for page, thread in running:
        page.end()
        thread.join(10)
        assert not thread.is_alive()


class Answer:
    def __init__(self, answer):
        self.status, self.headers, self.body = answer.status, answer.headers, answer.read()

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def faces(self):
        """The faces that wait on a page."""
        return re.findall(r'data-face="([^"]+)"', self.text)


class Browser:
    """Sends what a browser would, with the cookie that it got."""

    def __init__(self, url):
        self.url = urllib.parse.urlsplit(url)
        self.cookie = None

    def ask(self, path, form=None, **headers):
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=20)
        sent = {"Cookie": self.cookie} if self.cookie else {}
        body = None
        if form is not None:
            body = urllib.parse.urlencode(form, doseq=True)
            sent["Content-Type"] = "application/x-www-form-urlencoded"
            sent["Origin"] = f"http://{self.url.netloc}"
            sent["Accept"] = "application/json"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET" if form is None else "POST", path, body, {k: v for k, v in sent.items() if v})
        with connection.getresponse() as answer:
            found = Answer(answer)
        connection.close()
        return found

    def open(self):
        """Show the key and keep the cookie."""
        answer = self.ask(f"/?{self.url.query}")
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        given = [each.partition(";")[0] for each in answer.headers.get_all("Set-Cookie")]
        kept = [each for each in (self.cookie or "").split("; ") if each.startswith("seedtool_reviewer=")]
        self.cookie = "; ".join(given + kept)
        return self

    def answer(self, user, face, **form):
        return self.ask("/answer", {"user": user, "face": face, **form})

    def settled(self, *faces):
        """Wait until a search is over, and return what the page hears then."""
        for _ in range(400):
            told = self.ask(f"/news?since=0&showing={','.join(faces)}").json
            if not told["searching"] and told["messages"]:
                return told
            threading.Event().wait(0.02)
        raise TimeoutError


def photo(color="white", size=(400, 200), orientation=None):
    """A picture whose left half is red, as it is stored."""
    image = Image.new("RGB", size, color)
    image.paste("red", (0, 0, size[0] // 2, size[1]))
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, exif=exif)
    return buffer.getvalue()


def plant(album, user, asset, box=(0.25, 0.25, 0.5, 0.5)):
    """Put a face that waits into the database."""
    (face,) = album.db.execute(
        "INSERT INTO faces (user_id, asset_id, rekognition_face_id, bounding_box, confidence) VALUES (%s, %s, "
        "gen_random_uuid()::text, jsonb_build_object('Left', %s::float8, 'Top', %s::float8, 'Width', %s::float8, "
        "'Height', %s::float8), 0.99) RETURNING id::text",
        [user, asset, *box],
    ).fetchone()
    album.db.commit()
    return face


def liken(album, *matches):
    """Put suggestions into the database: a face, the face that it is like, and the similarity."""
    review.journal.ensure(album.db)
    album.db.cursor().executemany("INSERT INTO seedtool.face_matches VALUES (%s, %s, %s)", matches)
    album.db.commit()


# Who may see it


def test_only_a_browser_that_has_shown_the_key_sees_anything(album, serve):
    stranger = serve()
    for path in ("/", "/script.js", "/news", "/picture/00000000-0000-4000-8000-000000000000/small", "/?key=wrong"):
        assert stranger.ask(path).status == 403
    stranger.cookie = f"seedtool_review_{stranger.url.port}=wrong"
    assert stranger.ask("/").status == 403
    assert stranger.ask("/answer", {"face": "x"}).status == 403
    answer = stranger.ask(f"/?{stranger.url.query}")
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in answer.headers["Set-Cookie"].split(";")}
    assert stranger.open().ask("/").status == 200


def test_no_other_host_and_no_other_page_is_answered(album, serve):
    browser = serve().open()
    for headers in (
        {"Host": "example.com"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1.example.com:80"},
        {"Host": "localhost.example.com"},
        {"Origin": "http://example.com"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1"},
    ):
        assert browser.ask("/", **headers).status == 403, headers
        assert browser.ask("/answer", {"face": "x"}, **headers).status == 403, headers


def test_a_page_fetches_nothing_from_elsewhere_and_may_not_be_embedded(album, serve):
    answer = serve().open().ask("/")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"
    assert not re.findall(r"https?://", answer.text)
    assert " style=" not in answer.text
    assert "<script>" not in answer.text


def test_names_of_strangers_stay_text(album, serve):
    ana = album.user("<script>x</script>")
    first = album.photo(ana, "Ana Soto", file_name='"><img src=x onerror=alert(1)>\u202e.jpg')
    album.run()
    album.name(ana, first, "<b>Ana</b>")
    album.photo(ana, "Ana Soto~88", file_name="<i>.jpg")
    album.run()
    text = serve().open().ask("/").text
    assert "<b>" not in text
    assert "<i>" not in text
    assert "<img src=x" not in text
    assert "&lt;b&gt;Ana&lt;/b&gt;" in text


# What it shows


def test_the_page_shows_a_users_faces_with_suggestions(album, serve):
    ana, ben = album.user("ana"), album.user("ben")
    first = album.photo(ana, "Ana Soto")
    album.run()
    person = album.name(ana, first, "Ana")
    album.photo(ana, "Ana Soto~88")
    album.photo(ben, "Ben Rojas")
    album.run()
    browser = serve().open()
    shown = browser.ask("/")
    waiting = list(review.waiting(album.db))
    assert shown.faces == [waiting[0].face_id]
    assert f'value="{person}"' in shown.text
    assert "88.0 % alike" in shown.text
    assert "1 face: ben-2@example.cl" in shown.text
    assert browser.ask(f"/?user={ben}").faces == [waiting[1].face_id]


def test_pictures_of_every_kind_are_cut_within_their_edges(album, serve):
    ana = album.user()
    browser = serve().open()

    def saved(image, kind="JPEG", **options):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    large = Image.new("L", (8000, 5000), 200)  # 40 megapixels
    for data, box in (
        (saved(Image.new("CMYK", (300, 200), (0, 200, 200, 0))), (0.2, 0.2, 0.3, 0.3)),
        (saved(Image.new("LA", (300, 200), (90, 0)), "PNG"), (0.2, 0.2, 0.3, 0.3)),
        (saved(Image.new("I;16", (300, 200), 40000), "PNG"), (0.2, 0.2, 0.3, 0.3)),
        (saved(Image.new("P", (300, 200), 3), "PNG"), (0.2, 0.2, 0.3, 0.3)),
        (saved(Image.new("1", (300, 200), 1), "PNG"), (0.2, 0.2, 0.3, 0.3)),
        (saved(large), (0.4, 0.4, 0.01, 0.01)),
        (photo(), (-0.3, -0.2, 0.6, 0.5)),  # Rekognition gives boxes beyond the edges
        (photo(), (0.8, 0.7, 0.6, 0.5)),
        (photo(), (-0.9, -0.9, 2.5, 2.5)),
        (photo(), (0.5, 0.5, 0.0001, 0.0001)),
    ):
        face = plant(album, ana, album.photo(ana, data=data), box)
        for what, side in (("small", 144), ("large", 384), ("photo", 1600)):
            answer = browser.ask(f"/picture/{face}/{what}")
            assert (answer.status, answer.headers["Content-Type"]) == (200, "image/jpeg"), answer.text
            image = Image.open(io.BytesIO(answer.body))
            image.load()
            assert image.mode in {"RGB", "L"}
            assert 1 <= max(image.size) <= side


def test_tricks_with_addresses_lead_nowhere(album, serve):
    ana = album.user()
    face = plant(album, ana, album.photo(ana, "A"))
    secret = plant(album, ana, album.photo(ana, storage_url="../../../../etc/passwd"))
    browser = serve().open()
    for path in (
        "/../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/picture/../../etc/passwd/small",
        f"/picture/{face}/..",
        f"/picture/{face}/small/../../x",
        f"/picture/{face}%00/small",
        "/picture/00000000-0000-4000-8000-000000000000/small",
        "/person/%27%20OR%201=1",
        "/run/../../x",
        "/pages.py",
        "//127.0.0.1/",
    ):
        assert browser.ask(path).status == 404, path
    stolen = browser.ask(f"/picture/{secret}/photo")
    assert (stolen.status, "root:" in stolen.text) == (404, False)
    for path in (f"/?user={face}&after=%27", "/?user=x&after=%00", "/?find=%27&from_user=-1", "/persons?from=9e9"):
        assert browser.ask(path).status == 200, path
    assert browser.ask("/?find=%00").status == 400
    assert browser.answer(ana, face, do="name", name="A\x00na").status == 400
    for method, path in (("PUT", "/"), ("DELETE", f"/picture/{face}/small"), ("GET", "/answer"), ("GET", "/undo")):
        connection = http.client.HTTPConnection(browser.url.hostname, browser.url.port, timeout=20)
        connection.request(method, path, headers={"Cookie": browser.cookie})
        assert connection.getresponse().status == 405, path
        connection.close()
    assert browser.ask("/answer", {"user": ana, "face": "x" * 200_000}).status == 400
    assert album.faces()[0][3]


def test_pages_follow_each_other_and_miss_no_face(album, serve):
    ana = album.user()
    asset = album.photo(ana, "A")
    faces = [plant(album, ana, asset, (0.01 * i, 0.1, 0.1, 0.1)) for i in range(30)]
    browser = serve().open()
    found, path = [], "/"
    while path:
        answer = browser.ask(path)
        found += answer.faces
        following = re.search(r'href="([^"]+)" rel="next"', answer.text)
        path = html.unescape(following[1]) if following else None
    assert found == faces
    browser.answer(ana, faces[11], do="skip")
    assert browser.ask(f"/?user={ana}&after={faces[11]}").faces == faces[12:24]


def test_a_face_is_cut_out_of_the_upright_photo(album, serve):
    ana = album.user()
    browser = serve().open()
    # the red half lies left, right, above or below once the photo is upright
    left, right, above, below = (
        (0.05, 0.3, 0.15, 0.3),
        (0.8, 0.3, 0.15, 0.3),
        (0.3, 0.05, 0.3, 0.15),
        (0.3, 0.8, 0.3, 0.15),
    )
    for orientation, box in ((None, left), (1, left), (3, right), (6, above), (8, below)):
        asset = album.photo(ana, data=photo(orientation=orientation))
        face = plant(album, ana, asset, box)
        for what, side in (("small", 144), ("large", 384)):
            cut = Image.open(io.BytesIO(browser.ask(f"/picture/{face}/{what}").body))
            assert max(cut.size) <= side
            edges = [cut.getpixel((x, cut.height // 2)) for x in (2, cut.width - 3)]
            assert all(r > 200 and g < 90 for r, g, _ in edges), orientation
            assert not cut.getexif()
        whole = Image.open(io.BytesIO(browser.ask(f"/picture/{face}/photo").body))
        assert whole.size == ((200, 400) if orientation in {6, 8} else (400, 200))


def test_a_photo_that_cannot_be_shown_says_why(album, serve):
    ana = album.user()
    browser = serve().open()
    for data, box, why in (
        (None, (0.1, 0.1, 0.2, 0.2), "there is no photo at"),
        (b"", (0.1, 0.1, 0.2, 0.2), "the file is empty"),
        (b"<html>", (0.1, 0.1, 0.2, 0.2), "not JPEG or PNG"),
        (photo()[:600], (0.1, 0.1, 0.2, 0.2), "truncated"),
        (photo(), (-0.9, 0.1, 0.1, 0.2), "outside the picture"),
    ):
        face = plant(
            album, ana, album.photo(ana, data=data, **({"storage_url": "gone.jpg"} if data is None else {})), box
        )
        answer = browser.ask(f"/picture/{face}/small")
        assert (answer.status, why in answer.text) == (404, True), answer.text


def cards(text):
    """The faces of a page, and the faces of each one's group."""
    parts = re.split(r'data-face="([^"]+)"', text)[1:]
    return {
        face: re.findall(r'value="([^"]+)" checked', rest) for face, rest in zip(parts[::2], parts[1::2], strict=True)
    }


def test_faces_that_are_alike_are_one_place_on_the_pages(album, serve):
    ana = album.user()
    faces = [plant(album, ana, album.photo(ana, str(number))) for number in range(60)]
    # a chain of forty, a star of ten, written in both directions; the others are nobody's
    chain, star, others = faces[:40], faces[40:50], faces[50:]
    liken(album, *((chain[i], chain[i - 1], 98) for i in range(1, 40)))
    liken(album, *((star[i], star[0], 95) for i in range(1, 5)), *((star[0], star[i], 96) for i in range(5, 10)))
    browser = serve(search=False).open()
    page = browser.ask("/").text
    found = cards(page)
    assert found == {chain[0]: chain[1:25], star[0]: found[star[0]], **{each: [] for each in others}}
    assert sorted(found[star[0]]) == sorted(star[1:])
    assert ("24 more faces like this one, and others follow" in page, 'rel="next"' in page) == (True, False)
    browser.answer(ana, chain[0], also=chain[1:25], do="name", name="Ana")
    assert cards(browser.ask("/").text)[chain[25]] == chain[26:]  # the rest follows
    browser.answer(ana, star[0], also=star[1:9], do="name", name="Eva")
    assert cards(browser.ask("/").text)[star[9]] == []  # it was left out, and has a place of its own


def test_more_users_and_persons_than_fit_are_counted_found_and_paged(album, serve, monkeypatch):
    monkeypatch.setattr(application, "_MOST_USERS", 2)
    monkeypatch.setattr(application, "_MOST_PERSONS", 2)
    users = [album.user(name) for name in ("ana", "ben", "eva", "e%_a")]
    for user in users:
        plant(album, user, album.photo(user, "A"))
    for name in ("Ana", "Ben", "Eva"):
        album.db.execute("INSERT INTO person_groups (user_id, name) VALUES (%s, %s)", [users[0], name])
    browser = serve().open()
    first = browser.ask("/").text
    assert "1 to 2 of 4 users" in first
    assert re.findall(r'<option value="([^"]+)"', first) == users[:2]
    more = html.unescape(re.search(r'href="([^"]+)">More users', first)[1])
    assert re.findall(r'<option value="([^"]+)"', browser.ask(more).text) == users[2:]
    assert "More users" not in browser.ask(more).text
    assert re.findall(r'<option value="([^"]+)"', browser.ask("/?find=E%25").text) == users[3:]
    assert "no user" in browser.ask("/?find=nobody").text
    # one that is not listed keeps its place in the list
    assert f'<option value="{users[3]}" selected>' in browser.ask(f"/?user={users[3]}").text
    persons = browser.ask(f"/persons?user={users[0]}").text
    assert "1 to 2 of 3 persons" in persons
    following = html.unescape(re.search(r'href="([^"]+)" rel="next"', persons)[1])
    rest = browser.ask(following).text
    assert ("3 to 3 of 3 persons" in rest, ">Eva<" in rest, ">Ana<" in rest) == (True, True, False)


# What an answer writes


def test_an_answer_is_committed_and_settles_what_is_alike(album, serve):
    ana = album.user()
    album.photo(ana, "Ana Soto")
    album.photo(ana, "Ana Soto~97")
    album.photo(ana, "Ben Rojas")
    album.run()
    first, alike, other = (each.face_id for each in review.waiting(album.db))
    album.db.commit()
    browser = serve().open()
    done = browser.answer(ana, first, do="name", name="  Ana  Soto ")
    assert done.json == {
        "message": "1 face linked to the new person Ana Soto.",
        "faces": [first],
        "can_undo": True,
    }
    told = browser.settled(first, alike, other)
    assert told["gone"] == [first, alike]
    assert told["messages"] == ["1 more face linked to Ana Soto (2 faces searched again, $0.002)."]
    assert [each[2:] for each in album.faces()] == [
        ("Ana Soto", False, False, 1.0),
        ("Ana Soto", False, True, 0.97),
        (None, True, False, None),
    ]
    assert browser.ask("/").faces == [other]
    linked = browser.answer(ana, other, do="name", name="ANA SOTO").json
    assert linked["message"] == "1 face linked to Ana Soto."


def test_one_answer_serves_all_faces_that_are_marked(album, serve):
    ana = album.user()
    asset = album.photo(ana, "A")
    faces = [plant(album, ana, asset, (0.1 * i, 0.1, 0.1, 0.1)) for i in range(3)]
    done = serve(search=False).open().answer(ana, faces[0], also=faces[1:], do="name", name="Eva").json
    assert done["message"] == "3 faces linked to the new person Eva."
    assert [row[2] for row in album.faces()] == ["Eva"] * 3


def test_undo_takes_back_an_answer_its_person_and_what_followed(album, serve):
    ana = album.user()
    album.photo(ana, "Ana Soto")
    album.photo(ana, "Ana Soto~97")
    album.photo(ana, "Eva Diaz")
    album.run()
    before = album.faces()
    waiting = list(review.waiting(album.db))
    faces = [each.face_id for each in waiting]
    album.db.commit()
    browser = serve().open()
    browser.answer(ana, faces[2], do="skip")
    browser.answer(ana, faces[0], do="name", name="Ana")
    browser.settled(*faces)
    undone = browser.ask("/undo", {"user": ana}).json
    assert undone["message"] == "Undone: 1 face linked to the new person Ana. 2 faces changed back."
    assert set(undone["faces"]) == set(faces[:2])
    assert undone["can_undo"]
    assert browser.ask("/undo", {"user": ana}).json["message"] == "Undone: 1 face skipped. 1 face changed back."
    assert album.faces() == before
    assert album.db.execute("SELECT count(*) FROM person_groups WHERE NOT deleted").fetchone() == (0,)
    nothing = browser.ask("/undo", {"user": ana})
    assert (nothing.status, nothing.json["message"]) == (409, "There is nothing to undo. Decide about a face first.")


def test_the_last_answer_can_be_undone_after_the_page_was_started_again(album, serve):
    ana = album.user()
    album.photo(ana, "Ana Soto")
    album.photo(ana, "Ana Soto~97")
    album.run()
    before = album.faces()
    faces = [each.face_id for each in review.waiting(album.db)]
    album.db.commit()
    first = serve().open()
    first.answer(ana, faces[0], do="name", name="Ana")
    first.settled(*faces)
    again, other = serve(search=False), serve(search=False).open()
    again.cookie = first.cookie  # what the browser has kept; the key is a new one
    again.open()
    assert (again.cookie.count("seedtool_reviewer"), "disabled" in again.ask("/").text) == (1, False)
    assert other.ask("/undo", {"back": "/"}).status == 409  # not what somebody else did
    undone = again.ask("/undo", {"back": "/"}).json
    assert undone["message"] == "Undone: 1 face linked to the new person Ana. 2 faces changed back."
    assert album.faces() == before


def test_the_history_shows_what_everybody_did_and_undoes_it(album, serve):
    ana = album.user()
    faces = [plant(album, ana, album.photo(ana, name)) for name in "ABC"]
    one = serve(search=False).open()
    other = Browser(one.url.geturl()).open()
    assert "Nothing was done" in one.ask("/history").text
    one.answer(ana, faces[0], do="name", name="<b>")
    other.answer(ana, faces[1], do="skip")
    text = one.ask("/history").text
    assert re.findall(r"by (you|somebody else)", text) == ["somebody else", "you"]
    assert "1 face linked to the new person &lt;b&gt;" in text
    skipped, named = re.findall(r'name="action" value="(\d+)"', text)
    assert one.ask("/undo", {"action": skipped, "back": "/history"}, Accept="").headers["Location"] == "/history"
    twice = other.ask("/undo", {"action": skipped})
    assert (twice.status, twice.json["message"]) == (409, "This is undone already. Reload the page.")
    assert other.ask("/undo", {"action": named}).status == 200
    assert [row[2:4] for row in album.faces()] == [(None, True)] * 3
    assert one.ask("/history").text.count("<small>undone</small>") == 2
    for wrong in ("9" * 18, "-1", "x"):
        assert one.ask("/undo", {"action": wrong}).status in {400, 409}
    album.db.execute(
        "INSERT INTO seedtool.review_actions (reviewer, what) SELECT reviewer, what FROM seedtool.review_actions, "
        "generate_series(1, 60) WHERE id = %s",
        [skipped],
    )
    album.db.commit()
    following = re.search(r'href="(/history[^"]+)" rel="next"', one.ask("/history").text)
    assert one.ask(following[1]).text.count("<time") == 12


def test_an_undone_answer_has_its_suggestions_again(album, serve):
    ana = album.user()
    first = album.photo(ana, "Ana Soto")
    album.run()
    album.name(ana, first, "Ana")
    album.photo(ana, "Ana Soto~88")
    album.run()
    before = list(review.waiting(album.db))
    album.db.commit()
    assert before[0].suggestions
    browser = serve(search=False).open()
    browser.answer(ana, before[0].face_id, person=before[0].suggestions[0].person_id)
    assert list(review.waiting(album.db)) == []
    album.db.commit()
    browser.ask("/undo", {"user": ana})
    assert list(review.waiting(album.db)) == before


@pytest.mark.parametrize("first", ["name", "skip"])
def test_the_second_of_two_people_is_told_and_changes_nothing(album, serve, first):
    ana = album.user()
    face = plant(album, ana, album.photo(ana, "A"))
    one = serve(search=False).open()
    other = Browser(one.url.geturl()).open()
    one.answer(ana, face, do=first, name="Ana")
    after = album.faces()
    for form in ({"do": "name", "name": "Ben"}, {"do": "skip"}):
        refused = other.answer(ana, face, **form)
        assert refused.status == 409
        assert refused.json["faces"] == [face]
        assert "does not wait for a person" in refused.json["message"]
    assert album.faces() == after
    assert other.ask("/undo", {"user": ana}).status == 409
    assert album.faces() == after
    told = other.ask(f"/news?since=0&showing={face}").json
    assert told["gone"] == [face]


def test_undo_leaves_alone_what_somebody_has_changed_since(album, serve):
    ana = album.user()
    faces = [plant(album, ana, album.photo(ana, name)) for name in "AB"]
    browser = serve(search=False).open()
    browser.answer(ana, faces[0], do="name", name="Ana")
    album.db.execute("UPDATE face_person_links SET deleted = true")
    album.db.execute("UPDATE faces SET needs_assignment = true")
    other = Browser(browser.url.geturl()).open()
    album.db.commit()
    other.answer(ana, faces[0], do="name", name="Eva")
    refused = browser.ask("/undo", {"user": ana})
    assert refused.status == 409
    assert "has been decided again since" in refused.json["message"]
    assert album.faces()[0][2] == "Eva"


def test_a_person_that_has_got_other_faces_survives_the_undo(album, serve):
    ana = album.user()
    faces = [plant(album, ana, album.photo(ana, name)) for name in "AB"]
    one = serve(search=False).open()
    other = Browser(one.url.geturl()).open()
    one.answer(ana, faces[0], do="name", name="Ana")
    other.answer(ana, faces[1], do="name", name="Ana")
    one.ask("/undo", {"user": ana})
    assert [row[2] for row in album.faces()] == [None, "Ana"]


REFUSED = [
    ({"do": "name", "name": " "}, "The name is empty. Type a name."),
    ({"do": "name", "name": "\u200b\u2060 \u3164\ufe0f"}, "The name is empty. Type a name."),
    ({"do": "name", "name": "n" * 201}, "The name has 201 characters, and 200 are the most. Give a shorter name."),
    ({"do": "delete"}, "'delete' is no decision. Reload the page."),
    ({"person": "00000000-0000-4000-8000-000000000000"}, "has no such person"),
    ({"user": "00000000-0000-4000-8000-000000000000", "do": "skip"}, "does not exist"),
]


def test_an_answer_that_cannot_be_is_refused_with_a_reason(album, serve):
    ana = album.user()
    face = plant(album, ana, album.photo(ana, "A"))
    browser = serve().open()
    for form, message in REFUSED:
        refused = browser.answer(**{"user": ana, "face": face, **form})
        assert (refused.status, message in refused.json["message"]) == (409, True), refused.text
    assert album.faces()[0][2:] == (None, True, False, None)


def test_forms_work_without_the_script(album, serve):
    ana = album.user()
    face = plant(album, ana, album.photo(ana, "A"))
    browser = serve(search=False).open()
    answer = browser.ask("/answer", {"user": ana, "face": face, "do": "name", "name": "Ana"}, Accept="text/html")
    assert answer.status == 303
    page = browser.ask(answer.headers["Location"]).text
    assert '<p id="status" role="status">1 face linked to the new person Ana.</p>' in page
    answer = browser.ask("/undo", {"back": f"/?user={ana}"}, Accept="text/html")
    assert answer.headers["Location"] == f"/?user={ana}"
    for elsewhere in ("//example.com", "https://example.com", "/\\\\example.com"):
        away = browser.ask("/undo", {"back": elsewhere}, Accept="text/html")
        assert away.headers["Location"] == "/"
    answer = browser.ask("/undo", {"back": "/"}, Accept="text/html")
    assert browser.ask(answer.headers["Location"]).faces == [face]


def test_a_search_that_fails_is_told_and_the_decision_stays(album, serve, faults):
    ana = album.user()
    album.photo(ana, "Ana Soto")
    album.photo(ana, "Ben Rojas")
    album.run()
    face = next(review.waiting(album.db)).face_id
    album.db.commit()
    faults(rules=[{"operation": "SearchFaces", "fault": "denied", "times": None}])
    browser = serve().open()
    assert browser.answer(ana, face, do="name", name="Ana").status == 200
    assert browser.settled(face)["messages"][0].startswith("The search failed: ")
    assert album.faces()[0][2] == "Ana"


# Persons and runs


def linked(album, ana):
    """Make a person with a face that somebody linked, and two that the system linked."""
    asset = album.photo(ana, "Ana Soto")
    album.run()
    person = album.name(ana, asset, "Ana")
    album.photo(ana, "Ana Soto~96")
    album.photo(ana, "Ana Soto~99")
    album.run()
    rows = album.db.execute(
        "SELECT face_id::text FROM face_person_links WHERE NOT deleted ORDER BY confidence"
    ).fetchall()
    album.db.commit()
    return person, [face for (face,) in rows]


def test_a_wrong_face_is_taken_away_and_no_search_brings_it_back(album, serve):
    ana = album.user()
    person, faces = linked(album, ana)
    before = album.faces()
    browser = serve().open()
    page = browser.ask(f"/person/{person}")
    assert page.faces == faces  # the least similar first
    assert "linked by the system, 96.0 % alike" in page.text
    assert "linked by a person" in page.text
    assert "Ana" in browser.ask(f"/persons?user={ana}").text
    taken = browser.ask(f"/person/{person}", {"face": faces[0]})
    assert taken.json["message"] == "1 face taken away; it waits for a person again."
    assert browser.ask("/").faces == [faces[0]]
    again = browser.ask(f"/person/{person}", {"face": faces[0]})
    assert (again.status, "somebody has changed it" in again.json["message"]) == (409, True)
    found = review.search_again(album.db, album.aws, album.settings.backfill, [ana])
    assert (found.searched, found.linked) == (1, ())
    album.run(reindex=True)
    assert browser.ask(f"/person/{person}").faces == faces[1:]
    assert browser.ask("/undo", {"back": "/"}).status == 200
    assert album.faces() == before
    assert browser.ask(f"/person/{person}").faces == faces


def test_a_person_is_renamed_and_the_second_one_who_does_so_is_told(album, serve):
    ana = album.user()
    person, _ = linked(album, ana)
    browser = serve().open()
    name = lambda: album.db.execute("SELECT name FROM person_groups WHERE id = %s", [person]).fetchone()[0]  # noqa: E731
    renamed = browser.ask(f"/person/{person}", {"was": "Ana", "name": " Ana  Soto "})
    assert renamed.json["message"] == "Ana renamed to Ana Soto."
    assert browser.ask(f"/person/{person}", {"was": "Ana", "name": "Eva"}).status == 409
    assert browser.ask(f"/person/{person}", {"was": "Ana Soto", "name": " "}).status == 409
    assert name() == "Ana Soto"
    album.db.commit()
    assert browser.ask("/undo", {"back": "/"}).status == 200
    assert name() == "Ana"
    album.db.execute("INSERT INTO person_groups (user_id, name) VALUES (%s, 'Eva')", [ana])
    album.db.commit()
    taken = browser.ask(f"/person/{person}", {"was": "Ana", "name": "EVA"})
    assert "merge the two" in taken.json["message"]
    unseen = browser.ask(f"/person/{person}", {"was": "Ana", "name": "E\u200bva\u202e"})
    assert "merge the two" in unseen.json["message"]
    for right in ("👩‍👩‍👧", "שרה", "علی‌رضا", "<b>&amp;", "n" * 200):
        assert browser.ask(f"/person/{person}", {"was": name(), "name": right}).status == 200
        assert name() == right
        assert html.escape(right)[:70] in browser.ask(f"/person/{person}").text


def test_two_persons_are_merged_and_undo_parts_them(album, serve):
    ana, ben = album.user(), album.user()
    person, faces = linked(album, ana)
    other = album.name(ana, album.photo_and_run(ana, "Eva Diaz"), "Eva")
    foreign = album.name(ben, album.photo_and_run(ben, "Ben Rojas"), "Ben")
    before = album.faces()
    browser = serve().open()
    merged = browser.ask(f"/person/{other}", {"into": person})
    assert merged.json["message"] == "Eva merged into Ana, with 1 face."
    assert len(browser.ask(f"/person/{person}").faces) == len(faces) + 1
    assert browser.ask(f"/person/{other}").status == 404
    assert browser.ask(f"/person/{other}", {"into": person}).status == 409
    for wrong in (person, foreign):
        assert browser.ask(f"/person/{person}", {"into": wrong}).status == 409
    browser.ask("/undo", {"back": "/"})
    assert album.faces() == before
    assert album.db.execute("SELECT count(*) FROM person_groups WHERE NOT deleted").fetchone() == (3,)


def test_a_merge_is_not_half_undone_and_can_be_undone_once_its_way_is_free(album, serve):
    ana = album.user()
    persons = [album.name(ana, album.photo_and_run(ana, f"Stranger {name}"), name) for name in ("Ana", "Eva", "Zoe")]
    before = album.faces()
    browser = serve().open()
    for person, into in itertools.pairwise(persons):
        assert browser.ask(f"/person/{person}", {"into": into}).status == 200
    second, first = re.findall(r'name="action" value="(\d+)"', browser.ask("/history").text)
    refused = browser.ask("/undo", {"action": first})
    assert (refused.status, "undo that first" in refused.json["message"]) == (409, True)
    assert browser.ask("/undo", {"action": second}).status == 200
    assert browser.ask(f"/person/{persons[1]}", {"was": "Eva", "name": "Ana"}).status == 200
    taken = browser.ask("/undo", {"action": first})
    assert (taken.status, "has this name" in taken.json["message"]) == (409, True)
    assert browser.ask(f"/person/{persons[0]}").status == 404
    assert browser.ask(f"/person/{persons[1]}", {"was": "Ana", "name": "Eva"}).status == 200
    assert browser.ask("/undo", {"action": first}).status == 200
    assert album.faces() == before


def test_a_text_too_long_for_a_narrower_column_is_refused_with_what_to_do(album, serve):
    ana = album.user()
    face = plant(album, ana, album.photo(ana, "A"))
    album.db.execute("ALTER TABLE person_groups ALTER name TYPE varchar(20)")
    refused = serve().open().answer(ana, face, do="name", name="n" * 21)
    assert (refused.status, "Type a shorter one." in refused.json["message"]) == (400, True)


def test_a_database_that_restarts_is_told_and_the_page_goes_on(album, serve, target):
    ana = album.user()
    face = plant(album, ana, album.photo(ana, "A"))
    browser = serve(search=False).open()
    assert browser.ask("/").faces == [face]
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:
        maintenance.execute(f"ALTER DATABASE {album.target.name} ALLOW_CONNECTIONS false")
        away = [browser.answer(ana, face, do="skip"), browser.ask("/"), browser.ask("/news?since=0&showing=")]
        maintenance.execute(f"ALTER DATABASE {album.target.name} ALLOW_CONNECTIONS true")
    assert [each.status for each in away] == [500] * 3
    assert "not currently accepting connections" in away[0].json["message"]
    assert browser.answer(ana, face, do="skip").status == 200


def test_the_runs_of_the_backfill_and_its_progress_are_shown(album, serve):
    browser = serve().open()
    assert "The journal has no run." in browser.ask("/runs").text
    ana = album.user()
    album.photo(ana, "Ana Soto")
    album.photo(ana, storage_url="gone.jpg")
    album.run()
    album.photo(ana, "Ben Rojas")
    album.db.commit()
    text = browser.ask("/runs").text
    assert "1 of 2 assets of the library done (50 %)" in text
    assert "<td>finished</td><td>1</td><td>1</td><td>1</td><td>$0.001</td>" in text
    assert "refresh" not in text
    # the whole report is a link away; nothing but its own style is let in
    report = browser.ask(re.search(r'href="(/run/[^"]+)"', text)[1])
    assert "<h2>Cost per user</h2>" in report.text
    assert "there is no photo at gone.jpg" in report.text
    assert 'href="/runs"' in report.text
    assert "script" not in report.headers["Content-Security-Policy"]
    assert "refresh" not in report.text
    # a run of an earlier version has no report
    album.db.execute("DROP TABLE seedtool.backfill_runs")
    album.db.commit()
    assert "<td>ended</td><td>1</td><td>1</td><td>1</td><td>$0.001</td>" in browser.ask("/runs").text
    for unknown in ("00000000-0000-4000-8000-000000000000", "x"):
        assert browser.ask(f"/run/{unknown}").status == 404


def test_a_run_that_goes_on_shows_its_progress_and_report(album, serve, monkeypatch):
    monkeypatch.setattr(run, "_SECONDS_BETWEEN_REPORTS", 0.0)
    ana = album.user()
    for _ in range(4):
        album.photo(ana, "Ana Soto")
    browser = serve().open()
    seen = []

    def look(_):
        text = browser.ask("/runs").text
        path = re.search(r'href="(/run/[^"]+)"', text)
        seen.append((text, browser.ask(path[1]).text if path else ""))

    album.during_each_record(look)
    album.run(batch_size=1)
    text, report = seen[-1]
    assert "A run goes on: " in text
    assert "<td>running</td>" in text
    assert 'http-equiv="refresh"' in text
    assert "Running: " in report
    assert 'http-equiv="refresh"' in report
    after = browser.ask("/runs").text
    assert ("A run goes on" in after, "<td>finished</td>" in after) == (False, True)


def test_a_page_of_20_000_waiting_faces_looks_up_the_suggestions_of_its_own_faces_only(album, serve):
    ana = album.user()
    album.photo_and_run(ana, "Ana Soto")
    album.db.execute(
        "INSERT INTO assets (user_id, file_name, mime_type, approved, created_at) "
        "SELECT %s, 'x', 'image/jpeg', true, now() + i * interval '1 s' FROM generate_series(1, 200) i",
        [ana],
    )
    album.db.execute(
        "INSERT INTO faces (user_id, asset_id, rekognition_face_id, bounding_box, confidence) SELECT a.user_id, a.id, "
        """gen_random_uuid()::text, '{"Left": 0.1, "Top": 0.1, "Width": 0.1, "Height": 0.1}', 0.99 """
        "FROM assets a, generate_series(1, 100) WHERE a.file_name = 'x'"
    )
    album.db.commit()
    album.db.execute("ANALYZE faces, assets, users, seedtool.face_matches")
    (middle,) = album.db.execute(
        "SELECT id::text FROM faces ORDER BY created_at DESC, id OFFSET 10000 LIMIT 1"
    ).fetchone()
    for after in (None, middle):
        (plan,) = album.db.execute(
            sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) ") + query(album.db, "waiting", heads=True),
            {"user": ana, "after": after, "limit": 13, "alike": 95.0, "among": None},
        ).fetchone()
        nodes = list(every(plan[0]["Plan"]))
        sorts = [node for node in nodes if node["Node Type"] == "Sort" and "Sort Method" in node]
        assert all(node["Sort Space Type"] == "Memory" for node in sorts)
        assert "top-N heapsort" in {node["Sort Method"] for node in sorts}
        assert all(node["Actual Loops"] <= 13 for node in nodes if node.get("Relation Name") == "face_matches")
    album.db.commit()
    browser = serve().open()
    first = browser.ask(f"/?user={ana}&after={middle}").faces
    assert len(first) == 12
    # from then on the order of the faces is known, and a page reads no other face
    known = review.order(album.db, ana)
    assert len(known) == 20_001
    (plan,) = album.db.execute(
        sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) ") + query(album.db, "waiting", heads=True),
        {"user": ana, "after": None, "limit": 13, "alike": 95.0, "among": known[10_000:10_064]},
    ).fetchone()
    assert all(node["Actual Rows"] * node["Actual Loops"] <= 64 * 64 for node in every(plan[0]["Plan"]))
    album.db.commit()
    assert browser.ask(f"/?user={ana}&after={middle}").faces == first
    assert "20,001 faces" in browser.ask("/").text


def test_a_page_from_a_known_order_is_what_the_database_holds(album, monkeypatch):
    monkeypatch.setattr(review, "_FEWEST_AMONG", 2)
    ana = album.user()
    album.photo_and_run(ana, "Ana Soto")
    first, *ben = [plant(album, ana, album.photo(ana)) for _ in range(5)]
    liken(album, (ben[1], ben[0], 99.0), (ben[2], ben[1], 99.0))
    known = review.order(album.db, ana)
    later = plant(album, ana, album.photo(ana))
    review.choose(album.db, [review.Choice(what="skip", face=first)])
    whole = [each.face_id for each in review.waiting(album.db, user_id=ana, alike=95.0)]
    assert whole == [known[0], ben[0], ben[3], later]
    album.db.commit()
    with connect(album.settings.backfill, album.target, shape=album.db.shape) as db:
        for after, limit in itertools.product((None, *known, later), (1, 3, 9)):
            options = {"user_id": ana, "after": after, "limit": limit, "alike": 95.0}
            assert review.page_of(db, known, **options) == list(review.waiting(db, **options)), (after, limit)


def every(node):
    """The nodes of a plan."""
    yield node
    for each in node.get("Plans", ()):
        yield from every(each)


# In Chromium


@pytest.fixture
def view(chromium, serve):
    """Opens the page in Chromium; nothing may go wrong there, and nothing may be fetched from elsewhere."""
    contexts, faults = [], []

    def open_page(url=None, **options):
        url = url or serve(**options).url.geturl()
        context = chromium.new_context(viewport={"width": 1280, "height": 800})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if "Security" in message.text else None)
        page.on("request", lambda asked: faults.append(asked.url) if "//127.0.0.1:" not in asked.url else None)
        page.goto(url)
        page.locator("body[data-ready]").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def status(page, text):
    page.locator("#status", has_text=text).wait_for()


def focused(page):
    return page.evaluate("document.activeElement.closest('.face')?.dataset.face")


def test_keys_decide(album, view):
    ana = album.user()
    first = album.photo(ana, "Ana Soto")
    album.run()
    album.name(ana, first, "Ana")
    album.photo(ana, "Ana Soto~88")
    for name in ("Ben Rojas", "Eva Diaz"):
        album.photo(ana, name)
    album.run()
    alike, _, third = (each.face_id for each in review.waiting(album.db))
    page = view(search=False)
    assert "?key" not in page.url
    assert focused(page) == alike
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert focused(page) == third
    page.keyboard.press("9")
    status(page, "no suggestion 9")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("s")
    status(page, "1 face skipped.")
    assert focused(page) == third
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("1")
    status(page, "1 face linked to Ana.")
    assert focused(page) == third
    page.keyboard.press("n")
    page.keyboard.type("us")  # letters in a name are no keys
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.keyboard.type("ula")
    page.keyboard.press("Enter")
    page.get_by_text("No face waits for a person.").wait_for()
    page.locator("body[data-ready]").wait_for()
    assert [row[2] for row in album.faces()] == ["Ana", "Ana", None, "usula"]
    page.keyboard.press("u")
    status(page, "Undone: 1 face linked to the new person usula.")
    assert focused(page) == third
    assert [row[2] for row in album.faces()] == ["Ana", "Ana", None, None]


def test_clicks_decide_and_what_a_search_settles_goes_with_a_word(album, view):
    ana = album.user()
    album.photo(ana, "Ana Soto")
    album.photo(ana, "Ana Soto~97")
    album.photo(ana, "Ana Soto~85")
    album.photo(ana, "Ben Rojas")
    album.run()
    faces = [each.face_id for each in review.waiting(album.db)]
    page = view()
    shown = lambda: [face.get_attribute("data-face") for face in page.locator(".face").all()]  # noqa: E731
    (head,) = set(shown()) & set(faces[:2])  # the two are one group
    assert set(shown()) == {head, *faces[2:]}
    third = page.locator(f"#face-{faces[2]}")
    third.get_by_role("checkbox").first.check()
    card = page.locator(f"#face-{head}")
    card.get_by_role("checkbox").uncheck()  # but the search finds out
    card.get_by_label("Name").fill("Ana")
    card.get_by_role("button", name="Save the name").click()
    status(page, "1 more face linked to Ana")
    page.wait_for_function("document.querySelectorAll('.face').length == 2")
    assert shown() == faces[2:]
    page.locator(f"#face-{faces[3]}").get_by_role("button", name="Skip").click()
    status(page, "1 face skipped.")
    page.get_by_role("button", name="Undo").click()
    status(page, "Undone: 1 face skipped.")
    page.locator(f"#face-{faces[3]}").wait_for()


def test_one_answer_serves_a_group_of_faces_that_are_alike(album, view):
    ana = album.user()
    asset = [album.photo(ana, name) for name in "ABCDEF"]
    faces = [plant(album, ana, each) for each in asset]
    twin = plant(album, ana, asset[0], (0.8, 0.8, 0.1, 0.1))  # on the photo of the first: somebody else
    # a chain, and one that is a little alike
    liken(album, (faces[1], faces[0], 99), (faces[2], faces[1], 96), (faces[4], faces[3], 94.9), (twin, faces[2], 97))
    page = view(search=False)
    group = page.locator(".face", has=page.locator(".group"))
    assert group.get_by_role("checkbox").count() == 2
    group.focus()
    page.keyboard.press("a")
    status(page, "No other face is marked.")
    page.keyboard.press("a")
    status(page, "All faces of the group are marked.")
    page.keyboard.press("n")
    page.keyboard.type("Ana")
    page.keyboard.press("Enter")
    status(page, "3 faces linked to the new person Ana.")
    named = {row[0] for row in album.db.execute("SELECT face_id::text FROM face_person_links WHERE NOT deleted")}
    assert len(named & {faces[0], twin}) == 1
    assert named - {twin} | {faces[0]} == set(faces[:3])
    page.keyboard.press("u")
    status(page, "3 faces changed back")
    assert len(list(review.waiting(album.db))) == 7


def test_a_second_browser_is_told_what_was_decided_elsewhere(album, serve, view):
    ana = album.user()
    faces = [plant(album, ana, album.photo(ana, name)) for name in "ABC"]
    url = serve(search=False).url.geturl()
    one, other = view(url), view(url)
    other.evaluate("clearInterval(asking)")  # so that it decides before it hears
    one.keyboard.press("s")
    status(one, "1 face skipped.")
    other.keyboard.press("s")
    status(other, "does not wait for a person")
    assert focused(other) == faces[1]
    other.keyboard.press("s")
    status(other, "1 face skipped.")
    status(one, "1 face is settled. Somebody else decided")
    assert focused(one) == faces[2]


def test_the_photo_is_shown_on_demand_and_a_missing_one_says_why(album, view):
    ana = album.user()
    plant(album, ana, album.photo(ana, "A"))
    plant(album, ana, album.photo(ana, storage_url="gone.jpg"))
    page = view()
    page.get_by_text("there is no photo at gone.jpg").wait_for()
    page.get_by_role("link", name="Show the whole photo").first.click()
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_role("img").get_attribute("alt").endswith("with a frame around the face")
    assert dialog.get_by_role("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 160
    page.keyboard.press("s")  # no key decides while the photo is before the face
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert len(list(review.waiting(album.db))) == 2


def test_a_wall_of_faces_is_put_right_by_clicks(album, serve, view):
    ana = album.user()
    person, faces = linked(album, ana)
    other = album.name(ana, album.photo_and_run(ana, "Eva Diaz"), "Eva")
    page = view(f"{serve().url.geturl()}")
    page.get_by_role("link", name="Persons").click()
    page.get_by_role("link", name="Ana").click()
    assert [each.get_attribute("data-face") for each in page.locator(".wall li").all()] == faces
    page.get_by_role("button", name="Take away").first.click()
    status(page, "1 face taken away")
    assert page.locator(".wall li").count() == 2
    page.keyboard.press("u")
    status(page, "Undone: 1 face taken away")
    assert page.locator(".wall li").count() == 3
    page.keyboard.press("ArrowRight")
    page.keyboard.press("p")
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    page.keyboard.press("t")
    page.locator(".wall li").nth(2).wait_for(state="detached")
    assert [each.get_attribute("data-face") for each in page.locator(".wall li").all()] == faces[1:]
    page.keyboard.press("u")
    page.locator(".wall li").nth(2).wait_for()
    page.get_by_label("Name").fill("Ana Soto")
    page.get_by_role("button", name="Rename").click()
    status(page, "Ana renamed to Ana Soto.")
    page.get_by_role("heading", name="Ana Soto").wait_for()
    page.get_by_label("The same person as").select_option("Eva")
    page.get_by_role("button", name="Merge").click()
    status(page, "Ana Soto merged into Eva, with 3 faces.")
    assert page.url.endswith(other)
    assert page.locator(".wall li").count() == 4
    assert person not in page.content()


def test_every_form_works_in_a_browser_without_the_script(album, chromium, serve):
    ana = album.user()
    faces = [plant(album, ana, album.photo(ana, name)) for name in "AB"]
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto(serve(search=False).url.geturl())
    page.locator(f"#face-{faces[0]}").get_by_label("Name").fill("Ana")
    page.keyboard.press("Enter")
    page.get_by_text("1 face linked to the new person Ana.").wait_for()
    page.locator(f"#face-{faces[1]}").get_by_role("button", name="Skip").click()
    page.get_by_text("1 face skipped.").wait_for()
    page.get_by_role("link", name="History").click()
    page.get_by_role("button", name="Undo: 1 face skipped").click()
    page.get_by_text("Undone: 1 face skipped.").wait_for()
    page.get_by_role("link", name="Persons").click()
    page.get_by_role("link", name="Ana").click()
    page.get_by_role("button", name="Take away").click()
    page.get_by_text("1 face taken away").wait_for()
    assert len(list(review.waiting(album.db))) == 2
    context.close()


def test_the_page_fits_every_screen_and_can_be_read(album, serve, view):
    ana = album.user("a" * 60)
    first = album.photo(ana, "Ana Soto")
    album.run()
    person = album.name(ana, first, "Ana " * 20)
    album.photo(ana, "Ana Soto~88", file_name=f"{'x' * 70}.jpg")
    album.run()
    url = serve().url.geturl()
    page = view(url)
    for width, scheme in ((360, "light"), (360, "dark"), (3840, "light")):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # text and what is below it differ by the ratio of WCAG 2.2, criterion 1.4.3
        assert page.evaluate(CONTRAST) >= 4.5
    page.set_viewport_size({"width": 360, "height": 800})
    for path in ("persons", f"person/{person}", "runs"):
        page.goto(f"{url.partition('?')[0]}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    page.goto(url)
    # every field has a name for a screen reader, and every picture says what it is, or that its text does
    assert page.evaluate(
        "[...document.querySelectorAll('input:not([type=hidden]), select')].every(f => f.labels.length)"
    )
    assert page.evaluate("[...document.images].every(image => image.hasAttribute('alt'))")


CONTRAST = """() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (!color.endsWith(", 0)")) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = [...document.querySelectorAll("h1, h2, a, label, legend, summary, small, bdi, select, button:not(:disabled):not(.first)")];
  return Math.min(...texts.map((each) => {
    const [a, b] = [light(getComputedStyle(each).color), light(ground(each))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  }));
}"""
