"""Write seedtool/values/normal.txt: the quantiles of the normal distribution as whole numbers.

They are made once, here, so that no value depends on a machine's floating-point functions. Python's `NormalDist` uses
M. J. Wichura's algorithm AS241.
"""

from pathlib import Path
from statistics import NormalDist

PIECES = 4096
TARGET = Path(__file__).parents[1] / "seedtool" / "values" / "normal.txt"


def main() -> None:
    """Write the file."""
    shares = [1 / (4 * PIECES), *(piece / PIECES for piece in range(1, PIECES // 2))]
    upper = [-round(NormalDist().inv_cdf(share) * 2**24) for share in shares]
    lines = [*(-value for value in upper), 0, *reversed(upper)]
    head = "# Quantiles of the normal distribution in units of 2**-24, by docs/write_normal.py."
    TARGET.write_text("\n".join([head, *map(str, lines)]) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
