"""Draw docs/tour.svg: commands and answers of docs/guides/school.md, whose test compares them with a real run."""

import html
import re
from pathlib import Path

DOCS = Path(__file__).parent
PAGE = DOCS / "guides" / "school.md"
PICTURE = DOCS / "tour.svg"
#: What of the tour is shown: commands by their beginnings, and how many lines of an answer at its ends.
SHOWN = {"seedtool db-reset --yes\n": (1, 0), "seedtool seed full": (2, 4), "seedtool recognize": (5, 1)}
WIDTH = 96  # characters; longer lines are cut
LINE, LEFT, TOP = 18, 16, 44  # pixels
STYLE = """<style>
text { font: 13px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #d7dce2 }
.command { fill: #8fd18f; font-weight: bold }
.left-out { fill: #7d8794 }
</style>"""


def lines() -> list[tuple[str, str]]:
    """Return each line with its kind: a command, an answer, or what was left out."""
    (block,) = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    found: list[tuple[str, str]] = []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        ends = next((ends for begin, ends in SHOWN.items() if part.startswith(begin)), None)
        if ends is None:
            continue
        command, *answer = part.rstrip("\n").splitlines()
        first, last = ends
        found.append(("command", f"$ {command}"))
        found += [("answer", each) for each in answer[:first]]
        if len(answer) > first + last:
            found.append(("left out", "..."))
        found += [("answer", each) for each in answer[len(answer) - last :] if last]
    return [(kind, each if len(each) <= WIDTH else f"{each[: WIDTH - 3]}...") for kind, each in found]


def picture() -> str:
    """Return the picture as SVG."""
    shown = lines()
    height = TOP + LINE * len(shown) + 12
    width = LEFT * 2 + int(WIDTH * 7.83)
    rows = [
        f'<text x="{LEFT}" y="{TOP + LINE * number}" class="{kind.replace(" ", "-")}" xml:space="preserve">'
        f"{html.escape(each)}</text>"
        for number, (kind, each) in enumerate(shown, start=1)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            "<title>seedtool at a terminal</title>",
            STYLE,
            f'<rect width="{width}" height="{height}" rx="8" fill="#1b2027"/>',
            *(f'<circle cx="{20 + 18 * at}" cy="20" r="5" fill="{fill}"/>' for at, fill in
              enumerate(("#e06c6c", "#d9b25f", "#7fb77f"))),
            *rows,
            "</svg>",
            "",
        ]
    )  # fmt: skip


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
