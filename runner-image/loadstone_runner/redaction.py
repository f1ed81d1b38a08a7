"""Keep values of Secrets out of what is printed and reported. Which variables they are in is told by the operator."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SECRET_MIN_BYTES: Final = 4
# What images and containers set by themselves.
SURROUNDINGS: Final = frozenset({"PATH", "HOME", "HOSTNAME", "LANG", "TERM", "TZ", "PWD", "SHLVL", "USER", "GPG_KEY"})
SURROUNDING: Final = ("LOADSTONE_", "PYTHON", "KUBERNETES_", "LC_")
ANY_NAME: Final = "*"
# The texts of many exceptions are made by repr(), and logs in JSON have letters beyond ASCII in one of two ways.
QUOTES: Final = (repr, json.dumps, partial(json.dumps, ensure_ascii=False))


class Redactor:
    """Puts asterisks in the place of secrets.

    Attributes:
        longest: of the secrets, in bytes.
    """

    __slots__ = ("_secrets", "longest")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # A secret of several lines comes in several; what is too short to be one would hide half of every line.
        told = {line.strip() for secret in secrets for line in secret.splitlines()}
        lines = {line for line in told if len(line.encode(errors="replace")) >= SECRET_MIN_BYTES}
        lines |= {quote(line)[1:-1] for line in lines for quote in QUOTES}
        # Of a value that is no UTF-8 (a key store) the environment has lone surrogates, which texts show as `?`.
        pieces = {line.encode(errors=how) for line in lines for how in ("surrogateescape", "replace")}
        self._secrets = sorted(pieces, key=len, reverse=True)
        self.longest = max(map(len, self._secrets), default=0)

    def __call__(self, block: bytes) -> bytes:
        """Return lines without secrets."""
        for secret in self._secrets:
            if secret in block:
                block = block.replace(secret, b"***")
        return block

    def text(self, text: str) -> str:
        """Return a text without secrets; of one that was cut off in a secret, also without what is left of that."""
        if not self._secrets:
            return text
        block = self(text.encode(errors="replace"))
        for secret in self._secrets:
            # By its first bytes, as this is done for each failed request: a key has dozens of lines.
            at = block.find(begin := secret[:SECRET_MIN_BYTES], max(0, len(block) - len(secret) + 1))
            while at >= 0:
                if secret.startswith(block[at:]):
                    return (block[:at] + b"***").decode(errors="replace")
                at = block.find(begin, at + 1)
        return block.decode(errors="replace")


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """Return the values that come from Secrets: of variables that are named, or have one of the prefixes that are.

    Whole Secrets without a prefix are told by `*`: then it is every variable of which nothing else is known.
    """
    named = set(_listed(environment, "LOADSTONE_SECRETS"))
    plain = set(_listed(environment, "LOADSTONE_NO_SECRETS"))
    prefixes = tuple(_listed(environment, "LOADSTONE_SECRET_PREFIXES"))
    begins = tuple(each for each in prefixes if each != ANY_NAME)

    def is_secret(name: str) -> bool:
        if name in named or (begins and name.startswith(begins)):
            return True
        return ANY_NAME in prefixes and name not in plain | SURROUNDINGS and not name.startswith(SURROUNDING)

    return [value for name, value in environment.items() if is_secret(name)]


def _listed(environment: Mapping[str, str], name: str) -> list[str]:
    return [str(each) for each in json.loads(environment.get(name) or "[]")]
