"""Values of given rows are read a part at a time."""

import hashlib

from seedtool.generating import facts


def test_the_parts_make_the_same_cells_and_the_same_hash(monkeypatch):
    monkeypatch.setattr(facts, "_READ", 3)
    for values in ([], ["a"], ["a", None, "", "ñandú", "b\tc", "x" * 40, None]):
        cells, digest = facts._read(iter(values))
        texts = [None if value is None else value.encode() for value in values]
        assert cells.tolist() == texts
        assert digest == hashlib.sha256(b"\0".join(text or b"" for text in texts)).hexdigest()
        assert cells.plain == ("b\tc" not in values)
