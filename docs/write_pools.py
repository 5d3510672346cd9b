"""Write the pools of seedtool/values/locales/ from Faker's locales: `python docs/write_pools.py`.

The pools are frozen: seedtool reads these files and never Faker, so that a new release of Faker changes no value. Run
this only together with a new `POOLS` in seedtool/values/version.py. A weight becomes a whole share of 65,536.
"""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import faker

LOCALES = ("es_CL", "es", "es_AR", "es_CO", "es_MX", "en_US", "en_GB", "de_DE", "fr_FR", "it_IT", "pt_BR")
FOLDER = Path(__file__).parents[1] / "seedtool" / "values" / "locales"
SHARES = 65_536

#: pool -> the provider's tables, of which the first that exists is taken whole with its weights
TABLES = {
    "first_name_female": ("person", ("first_names_female", "first_names")),
    "first_name_male": ("person", ("first_names_male", "first_names")),
    "last_name": ("person", ("last_names",)),
    "prefix_female": ("person", ("prefixes_female", "prefixes")),
    "prefix_male": ("person", ("prefixes_male", "prefixes")),
    "job": ("job", ("jobs",)),
    "word": ("lorem", ("word_list",)),
}
#: pool -> a provider's method and how many different values are drawn from it
DRAWN = {
    "street": ("street_name", 500),
    "city": ("city", 350),
    "region": ("administrative_unit", 120),
    "country": ("country", 250),
    "postcode": ("postcode", 500),
    "company": ("company", 500),
    "catch_phrase": ("catch_phrase", 250),
    "color": ("color_name", 150),
}
#: pools that do not depend on the locale
WORLD = {
    "currency": ("currency_code", 200),
    "mime_type": ("mime_type", 80),
    "user_agent": ("user_agent", 200),
    "language": ("language_code", 200),
    "timezone": ("timezone", 400),
    "country_code": ("country_code", 250),
    "emoji": ("emoji", 200),
}


def shares(weighted: Mapping[str, float]) -> dict[str, int]:
    """Split SHARES among the values by their weights: the largest remainder, at least one each."""
    total = sum(weighted.values())
    exact = {value: weight / total * (SHARES - len(weighted)) for value, weight in weighted.items()}
    counts = {value: 1 + int(share) for value, share in exact.items()}
    left = SHARES - sum(counts.values())
    for value in sorted(exact, key=lambda value: (int(exact[value]) - exact[value], value))[:left]:
        counts[value] += 1
    return counts


def table(fake: faker.Faker, provider: str, names: Sequence[str]) -> Sequence[str] | dict[str, int]:
    """The values of a provider's table, with shares where it has weights."""
    found: Any = next(p for p in fake.get_providers() if p.__provider__.rpartition(".")[2] == provider)
    values = next((v for v in (getattr(found, name, None) for name in names) if v), ())
    if isinstance(values, Mapping):
        merged: dict[str, float] = {}
        for value, weight in values.items():
            text = unicodedata.normalize("NFC", value.strip())
            merged[text] = merged.get(text, 0) + float(weight)
        return shares(merged) if len(set(merged.values())) > 1 else sorted(merged)
    return sorted({unicodedata.normalize("NFC", value.strip()) for value in values} - {""})


def drawn(fake: faker.Faker, method: str, count: int) -> list[str]:
    """Different values of a provider's method; none when the locale has no such method."""
    if not hasattr(fake, method):
        return []
    values = {unicodedata.normalize("NFC", str(getattr(fake, method)()).strip()) for _ in range(count * 6)} - {""}
    return sorted(sorted(values, key=hash_of)[:count])


def hash_of(value: str) -> bytes:
    """An order that has nothing to do with the alphabet, so that a cut takes values of all letters."""
    return hashlib.blake2b(value.encode(), digest_size=8).digest()


def write(name: str, pools: Mapping[str, Sequence[str] | Mapping[str, int]]) -> None:
    """Write one file: a line for each value, with its share behind a tab where values have weights."""
    lines = [f"# From Faker {faker.VERSION} by docs/write_pools.py. A number is a value's share of {SHARES}."]
    for pool, values in pools.items():
        if not values:
            continue
        if any(c in value for value in values for c in "\t\n\r\\["):
            raise ValueError(f"{pool} of {name} holds what the files cannot")
        lines += [f"[{pool}]"]
        lines += [f"{v}\t{n}" for v, n in values.items()] if isinstance(values, Mapping) else list(values)
    (FOLDER / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for locale in LOCALES:
        fake = faker.Faker(locale)
        fake.seed_instance(1)
        pools: dict[str, Sequence[str] | Mapping[str, int]] = {
            pool: table(fake, provider, names) for pool, (provider, names) in TABLES.items()
        }
        if locale.startswith("es_"):  # where Faker has Latin words only
            pools["word"] = table(faker.Faker("es"), *TABLES["word"])
        pools |= {pool: drawn(fake, method, count) for pool, (method, count) in DRAWN.items()}
        write(locale, pools)
    fake = faker.Faker("en_US")
    fake.seed_instance(1)
    write("world", {pool: drawn(fake, method, count) for pool, (method, count) in WORLD.items()})


if __name__ == "__main__":
    main()
