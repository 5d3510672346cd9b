import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedtool.files import Malformed
from seedtool.files.toml_text import Place, read


def test_each_key_has_its_line_and_character():
    found = read(
        b"""\xef\xbb\xbf# a comment
title = "a = b" # [not.a.table]
[tables.students]
  first_name = 'x'
"e-mail" = { mask = "email", "of" = [ 1, {deep = 2} ] }
text = \"\"\"
[no] = 1
\\\"\"\" two""\"\"\"
other = '''
y = 2'''''
day = 1979-05-27 07:32:00
[tables."sales.orders"]
id.x = 1
[[keys]]
from = "a"
[[keys]]
from = "b"
"""
    )
    assert found.data["tables"]["students"]["text"] == '[no] = 1\n""" two""'
    assert found.places == {
        ("title",): Place(2, 1),
        ("tables",): Place(3, 2),
        ("tables", "students"): Place(3, 9),
        ("tables", "students", "first_name"): Place(4, 3),
        ("tables", "students", "e-mail"): Place(5, 1),
        ("tables", "students", "e-mail", "mask"): Place(5, 14),
        ("tables", "students", "e-mail", "of"): Place(5, 30),
        ("tables", "students", "e-mail", "of", 0): Place(5, 39),
        ("tables", "students", "e-mail", "of", 1): Place(5, 42),
        ("tables", "students", "e-mail", "of", 1, "deep"): Place(5, 43),
        ("tables", "students", "text"): Place(6, 1),
        ("tables", "students", "other"): Place(9, 1),
        ("tables", "students", "day"): Place(11, 1),
        ("tables", "sales.orders"): Place(12, 9),
        ("tables", "sales.orders", "id"): Place(13, 1),
        ("tables", "sales.orders", "id", "x"): Place(13, 4),
        ("keys",): Place(14, 3),
        ("keys", 0): Place(14, 3),
        ("keys", 0, "from"): Place(15, 1),
        ("keys", 1): Place(16, 3),
        ("keys", 1, "from"): Place(17, 1),
    }
    assert found.place("keys", 1, "unknown") == Place(16, 3)


@pytest.mark.parametrize(
    ("text", "line", "character"),
    [
        (b"a = 1\nb = \n", 2, 5),
        (b"[a]\nx = 1\n\n[a]\n", 4, 3),
        (b"a = 1\n  a = 2\n", 2, 8),
        (b'a = "', 1, None),
        (b"a = '\xff'", 1, None),
    ],
)
def test_what_is_not_toml_is_named_with_its_place(text, line, character):
    with pytest.raises(Malformed) as caught:
        read(text)
    assert (caught.value.line, getattr(caught.value, "character", None)) == (line, character)


_names = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=4)
_scalars = st.one_of(
    st.integers(-9, 9), st.booleans(), st.dates(), st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3), max_leaves=8
)


def _text(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)} = {_text(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[ # ]\n" + ",\n".join(map(_text, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str) -> str:
    return '"' + "".join(f"\\u{ord(c):04X}" if ord(c) < 32 or c in '"\\\x7f' else c for c in text) + '"'


def _paths(value, path=()):
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from _paths(each, (*path, key))


@given(st.dictionaries(_names, st.dictionaries(_names, _values, max_size=3), max_size=3), _values)
def test_the_second_pass_finds_the_keys_that_tomllib_finds(tables, first):
    lines = [f"{_quoted('first')} = {_text(first)}"]
    for name, table in tables.items():
        lines.append(f" [ table . {_quoted(name)} ] # {name}")
        lines += [f"\t{_quoted(key)}\t= {_text(value)}" for key, value in table.items()]
    text = "\n".join(lines)
    found = read(text.encode())
    assert set(found.places) == set(_paths(found.data))
    for path, (line, character) in found.places.items():
        assert character <= len(text.split("\n")[line - 1]), path
