"""The site is built without a warning, its links lead somewhere, and no page loads anything from another host."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ZENSICAL = Path(sys.executable).with_name("zensical")
#: attributes by which a page makes the browser fetch something, but for links that a reader follows
LOADS = {("script", "src"), ("img", "src"), ("iframe", "src"), ("link", "href"), ("source", "src"), ("object", "data")}


class Page(HTMLParser):
    """The links, anchors and fetched addresses of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        self.loads += [value for name, value in attrs if (tag, name) in LOADS and found.get("rel") != "canonical"]
        self.links += [value for name, value in attrs if name in {"href", "src"} and value is not None]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if not ZENSICAL.exists():
        pytest.skip("zensical is not installed (the extra `docs`)")
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [ZENSICAL, "build", "--strict"], cwd=folder, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path: Page(path) for path in (folder / "site").rglob("*.html")}


def test_every_page_and_anchor_that_a_page_links_to_is_there(site):
    lost = []
    for path, page in site.items():
        for link in page.links:
            scheme, host, target, _, anchor = urlsplit(link)
            if scheme or host or path.name == "404.html":  # which is served at any address, so its links are absolute
                assert scheme in {"https", "http", "mailto", ""}, link
                continue
            file = (path.parent / unquote(target)).resolve() if target else path
            if not file.is_file() or (file in site and unquote(anchor) not in site[file].anchors):
                lost.append(f"{path.name}: {link}")
    assert sorted(set(lost)) == []


def test_a_reader_fetches_nothing_from_another_host(site):
    addresses = {address for page in site.values() for address in page.loads if urlsplit(address).netloc}
    assert addresses == set()


def test_every_page_of_the_docs_stands_in_the_menu():
    menu = re.findall(r"[\w./-]+\.md", str(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(menu) == sorted(pages)
