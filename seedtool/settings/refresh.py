"""The settings of the refresh, [tool.seedtool.refresh]: where the policy is, and how careful a masked copy is made."""

from typing import Annotated, Literal

import msgspec

from seedtool.errors import SettingsError
from seedtool.settings.backfill import BackfillSettings
from seedtool.settings.database import check_url
from seedtool.settings.setting import Fault, Setting

#: The least length of the key of the masks. Masks are SipHash under a key of 128 bits (Aumasson and Bernstein, 2012);
#: who may try keys for a name that he knows needs 2**128 trials only where the secret is as hard to guess. 32
#: characters are 16 random bytes in hex, the densest writing that is sure to be no sentence.
KEY_CHARACTERS = 32
#: A random key of 32 hex digits has fewer than 8 different ones once in ten million; a word that is typed again and
#: again has fewer.
KEY_VARIETY = 8
#: What the documentation writes where a key has to stand.
EXAMPLE_KEYS = frozenset({"0123456789abcdef0123456789abcdef", "put-the-output-of-openssl-rand-hex-32-here"})

_MAKE_ONE = "Make one with openssl rand -hex 32, put it into the environment or .env, and keep it: another key makes"


class Refresh(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a masked copy of another database is made. Each field's text says what it is.

    Raises:
        SettingsError: a number is outside its range.
    """

    policy: Annotated[
        str, msgspec.Meta(description="the file that says what becomes of each column, from the project's folder")
    ] = "policy.toml"
    strict_source: Annotated[
        bool, msgspec.Meta(description="refuse a role that may write at the source, and not only note it")
    ] = False
    keep_old: Annotated[
        bool, msgspec.Meta(description="keep the database that is replaced as a snapshot, before-refresh")
    ] = False
    jobs: Annotated[int, msgspec.Meta(description="how many tables or parts of tables are copied at once")] = 2
    statement_timeout: Annotated[
        float, msgspec.Meta(description="seconds that one statement may take at the source")
    ] = 3600.0
    proof: Annotated[
        Literal["words", "cells"],
        msgspec.Meta(
            description="what the proof looks at: `words` within cells in any writing, or in less time whole `cells`"
        ),
    ] = "words"
    proof_memory: Annotated[int, msgspec.Meta(description="megabytes that the proof may take")] = 400

    def __post_init__(self) -> None:
        for key, least, most in (("jobs", 1, 64), ("statement_timeout", 1, 86_400), ("proof_memory", 50, 1_000_000)):
            value = getattr(self, key)
            if not least <= value <= most:
                raise SettingsError(
                    f"setting refresh: {key} is {value:g}, not a number from {least} to {most}",
                    remedy=f"Write {key} = {type(self).__struct_defaults__[self.__struct_fields__.index(key)]:g}.",
                    setting="refresh",
                    key=key,
                )


def _check_key(text: str) -> Fault | None:
    why = ""
    if text in EXAMPLE_KEYS:
        why = "the key is the example of the documentation, which everybody knows"
    elif len(text) < KEY_CHARACTERS:
        why = f"the key has {len(text)} characters, and at least {KEY_CHARACTERS} are needed"
    elif len(set(text)) < KEY_VARIETY:
        why = f"the key has only {len(set(text))} different characters"
    return Fault(why, f"{_MAKE_ONE} everybody another person.") if why else None


class RefreshSettings(BackfillSettings, frozen=True, kw_only=True):
    """The refresh."""

    refresh: Annotated[
        Refresh,
        Setting(
            "the policy of a masked copy, and how carefully it is made",
            written=f"Write it as [tool.seedtool.refresh]; its keys are {', '.join(Refresh.__struct_fields__)}.",
        ),
    ] = Refresh()
    refresh_from: Annotated[
        str | None,
        Setting(
            "the database that `refresh` copies, in libpq's form; the flag `--from` names another one",
            variables=("SEEDTOOL_REFRESH_FROM",),
            check=check_url,
            lines=True,
        ),
    ] = None
    refresh_photos: Annotated[
        str | None,
        Setting(
            'where production\'s photos are, for a policy with `faces = "reindex"`: `s3://bucket/prefix` or a folder',
            variables=("SEEDTOOL_REFRESH_PHOTOS",),
        ),
    ] = None
    refresh_key: Annotated[
        str | None,
        Setting(
            "the key of the masks: the same person is masked the same way as long as it stays",
            variables=("SEEDTOOL_REFRESH_KEY",),
            check=_check_key,
            secret=True,
        ),
    ] = None
