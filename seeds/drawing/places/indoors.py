"""Places of the library under a roof."""

import math

from drawing.places.canvas import Canvas

PAPER = ("#ef476f", "#ffd166", "#06d6a0", "#118ab2", "#f78c6b")


def livingroom(canvas: Canvas) -> None:
    """A living room at Christmas, with a tree and a window."""
    canvas.box(0, 0, 1, 1, "#f6e7d2")
    canvas.box(0, 0.78, 1, 1, "#a9744f")
    canvas.box(0, 0.76, 1, 0.79, "#fff8ec")
    canvas.box(0.06, 0.1, 0.3, 0.52, "#ffffff")
    canvas.box(0.075, 0.13, 0.175, 0.49, "#274c77")
    canvas.box(0.185, 0.13, 0.285, 0.49, "#274c77")
    for x, y in ((0.1, 0.2), (0.15, 0.32), (0.21, 0.17), (0.25, 0.4), (0.12, 0.44), (0.265, 0.26)):
        canvas.disc(x, y, 0.008, "#ffffff")
    canvas.box(0.845, 0.74, 0.875, 0.86, "#7a4a2e")
    for top, half in ((0.5, 0.15), (0.32, 0.12), (0.15, 0.09)):
        canvas.shape([(0.86, top - 0.12), (0.86 + half, top + 0.26), (0.86 - half, top + 0.26)], "#2d6a4f")
    for place, (x, y) in enumerate(
        ((0.83, 0.3), (0.89, 0.36), (0.8, 0.5), (0.87, 0.54), (0.93, 0.52), (0.77, 0.7), (0.85, 0.7), (0.95, 0.71))
    ):
        canvas.disc(x, y, 0.02, PAPER[place % 5])
    star = [
        (0.86 + r * math.sin(turn) * 0.66, 0.05 - r * math.cos(turn))
        for turn, r in ((math.pi * step / 5, 0.045 if step % 2 == 0 else 0.018) for step in range(10))
    ]
    canvas.shape(star, "#ffd166")
    canvas.box(0.44, 0.12, 0.62, 0.34, "#c98f5f")
    canvas.box(0.452, 0.14, 0.608, 0.32, "#a9dcf5")
    canvas.shape([(0.452, 0.32), (0.5, 0.2), (0.545, 0.28), (0.575, 0.23), (0.608, 0.32)], "#5aa469")


def party(canvas: Canvas) -> None:
    """A birthday: a garland of flags, balloons, a wall."""
    canvas.box(0, 0, 1, 1, "#cdeaf2")
    for step in range(12):
        canvas.box(step / 12, 0, step / 12 + 0.04, 1, "#bfe3ee")
    for y, sag in ((0.02, 0.1), (0.05, 0.13)):
        line = [(x / 40, y + sag * (1 - (x / 20 - 1) ** 2)) for x in range(41)]
        canvas.line(line, 0.006, "#7a5a3a")
        for place in range(1, 14):
            x = place / 14
            hang = y + sag * (1 - (2 * x - 1) ** 2)
            flag = PAPER[(place + (y > 0.03) * 2) % 5]
            canvas.shape([(x - 0.022, hang), (x + 0.022, hang), (x, hang + 0.075)], flag)
    for place, (x, y) in enumerate(
        ((0.05, 0.3), (0.115, 0.42), (0.03, 0.52), (0.95, 0.32), (0.885, 0.44), (0.97, 0.55))
    ):
        canvas.line([(x, y + 0.06), (x + 0.01, y + 0.2), (x - 0.004, y + 0.34)], 0.004, "#6c757d")
        canvas.disc(x, y, 0.07, PAPER[place % 5], flat=1.18)
        canvas.disc(x - 0.014, y - 0.03, 0.014, "#ffffff", flat=1.4)


def kitchen(canvas: Canvas) -> None:
    """A kitchen: tiles, a shelf, a window with a plant."""
    canvas.box(0, 0, 1, 1, "#fdf0d5")
    for row in range(4):
        for column in range(12):
            left, top = column / 12, 0.44 + row * 0.085
            canvas.box(
                left + 0.003, top + 0.004, left + 0.08, top + 0.08, "#9ad1d4" if (row + column) % 3 else "#80bdc2"
            )
    canvas.box(0, 0.78, 1, 1, "#bc8a5f")
    canvas.box(0, 0.78, 1, 0.82, "#e6ccb2")
    canvas.box(0.06, 0.25, 0.42, 0.275, "#7f5539")
    for place, (left, width, tall) in enumerate(
        ((0.08, 0.04, 0.11), (0.13, 0.05, 0.08), (0.2, 0.03, 0.14), (0.25, 0.06, 0.09), (0.33, 0.05, 0.12))
    ):
        canvas.box(
            left, 0.25 - tall, left + width, 0.25, ("#e76f51", "#f4a261", "#2a9d8f", "#e9c46a", "#457b9d")[place]
        )
    canvas.box(0.6, 0.06, 0.92, 0.4, "#ffffff")
    canvas.box(0.615, 0.085, 0.755, 0.375, "#bfe3f7")
    canvas.box(0.765, 0.085, 0.905, 0.375, "#bfe3f7")
    canvas.box(0.58, 0.4, 0.94, 0.42, "#7f5539")
    for x, y in ((0.84, 0.26), (0.87, 0.22), (0.9, 0.27), (0.86, 0.3), (0.885, 0.31)):
        canvas.disc(x, y, 0.035, "#588157")
    canvas.shape([(0.83, 0.33), (0.91, 0.33), (0.895, 0.4), (0.845, 0.4)], "#d1603d")


def stage(canvas: Canvas) -> None:
    """A stage with curtains and light."""
    canvas.fade(0, 0.8, "#2b1d3f", "#5b3a70")
    for x in (0.22, 0.5, 0.78):
        canvas.shape([(x - 0.02, 0), (x + 0.02, 0), (x + 0.16, 0.8), (x - 0.16, 0.8)], "#6b4a80")
    canvas.box(0, 0.8, 1, 1, "#8a5a33")
    for side in (0, 1):
        for fold in range(4):
            left = fold * 0.032 if side == 0 else 1 - (fold + 1) * 0.032
            canvas.box(left, 0, left + 0.032, 0.82, ("#9b2226", "#7f1d1d")[fold % 2])
    canvas.box(0, 0, 1, 0.06, "#9b2226")
    for step in range(16):
        canvas.disc((step + 0.5) / 16, 0.06, 0.045, ("#9b2226", "#7f1d1d")[step % 2], flat=0.7)


def office(canvas: Canvas) -> None:
    """An office: a window over the town, a plant, a board with notes."""
    canvas.box(0, 0, 1, 1, "#e9ecef")
    canvas.box(0.05, 0.06, 0.58, 0.44, "#ffffff")
    canvas.box(0.07, 0.08, 0.56, 0.42, "#a9dcf5")
    for left, top in ((0.09, 0.25), (0.17, 0.19), (0.26, 0.29), (0.34, 0.16), (0.44, 0.24)):
        canvas.box(left, top, left + 0.075, 0.42, "#7d98b3")
        for row in range(3):
            canvas.box(left + 0.018, top + 0.02 + row * 0.04, left + 0.058, top + 0.035 + row * 0.04, "#d8e6f3")
    canvas.box(0.68, 0.08, 0.94, 0.36, "#dda15e")
    for place, (x, y) in enumerate(((0.7, 0.1), (0.83, 0.12), (0.72, 0.23), (0.84, 0.24))):
        canvas.box(x, y, x + 0.08, y + 0.08, PAPER[place])
    canvas.box(0, 0.84, 1, 1, "#adb5bd")
