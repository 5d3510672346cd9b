"""Kinds of values by their words: `kind("full_name", locale="es_CL", surnames=2)`.

This is the vocabulary of recipes and masks. docs/guides/recipes.md explains each word.
"""

from collections.abc import Mapping

from seedtool.values.version import WORDS as VERSION
from seedtool.values.word import WORDS, Context, Kind, Parameter, Word, kind, line
from seedtool.values.words import composed, numbers, patterns, people, places, times

__all__ = ["VERSION", "WORDS", "Context", "Kind", "Parameter", "Word", "agree", "kind", "line", "patterns"]

#: The modules of the words: their functions fill WORDS when they are imported.
MODULES = (composed, numbers, patterns, people, places, times)


def agree(lines: Mapping[str, tuple[str, dict[str, object]]]) -> dict[str, tuple[str, dict[str, object]]]:
    """Let the columns of a person agree with each other where a recipe does not say how.

    Names follow the column of the sex, and a full name, an e-mail address and a login follow the columns of the names.

    Args:
        lines: column -> (word, parameters), for one table in which each word stands for one person.

    Returns:
        The same with `sex_of` and `of` filled in. A word that stands in two columns is left alone: it is not known
        whose they are.
    """
    words = [word for word, _ in lines.values()]
    one = {word: column for column, (word, _) in lines.items() if words.count(word) == 1}
    filled = {}
    for column, (word, parameters) in lines.items():
        more: dict[str, object] = {}
        alone = words.count(word) == 1
        if word in {"first_name", "prefix", "full_name"} and "sex" in one and not {"sex", "sex_of"} & parameters.keys():
            more["sex_of"] = one["sex"]
            female = lines[one["sex"]][1].get("female")
            if female is not None and "female" not in parameters:
                more["female"] = [female]
        if word in {"full_name", "email", "username"} and "of" not in parameters and alone:
            names = [one[name] for name in ("first_name", "last_name") if name in one]
            if len(names) == 2:
                more["of"] = names
            elif word != "full_name" and "full_name" in one:
                more["of"] = [one["full_name"]]
        if "of" in more:
            more.pop("sex_of", None)
            more.pop("female", None)
        filled[column] = (word, {**parameters, **more})
    return filled
