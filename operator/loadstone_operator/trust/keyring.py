"""Hold the operator's authorities: the newest signs, older ones are kept until what they signed has run out.

The clock may be wrong for a moment, by years. So one whose time has not come signs nothing, and none is given up until
another has been good for as long as anything lasts that is signed.

Import this late, as `authority`. Reading and writing the Secret that keeps them is `cluster`'s affair.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadstone_operator.trust.authority import (
    LEAF_DAYS,
    RENEW_DAYS,
    Authority,
    AuthorityInvalid,
    make_authority,
    read_authority,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_CERTIFICATE: Final = ".crt"
_KEY: Final = ".key"


@dataclass(frozen=True, slots=True)
class Keyring:
    """Some authorities, by the order of their beginning."""

    authorities: tuple[Authority, ...] = ()

    def newest(self, now_ns: int) -> Authority:
        """Return the one that signs for new runs; in a keyring that is as it should be now there is one."""
        return self._good(now_ns)[-1]

    def find(self, identifier: str) -> Authority | None:
        """Return the one that has signed for a run, or None if it is not held any more."""
        return next((each for each in self.authorities if each.id == identifier), None)

    def renewed(self, now_ns: int) -> Keyring:
        """Return the keyring as it should be now: itself, or one without those that have ended and with a new one."""
        good = self._good(now_ns)
        is_settled = bool(good) and good[-1].days_old(now_ns) >= LEAF_DAYS
        kept = tuple(each for each in self.authorities if each.days_left(now_ns) > 0 or not is_settled)
        if not good or good[-1].days_left(now_ns) < RENEW_DAYS:
            return _in_order((*kept, make_authority(now_ns)))
        return self if kept == self.authorities else Keyring(kept)

    def _good(self, now_ns: int) -> tuple[Authority, ...]:
        return tuple(each for each in self.authorities if each.days_old(now_ns) >= 0 and each.days_left(now_ns) > 0)

    def to_data(self) -> dict[str, str]:
        """Return what a Secret holds of it."""
        data = {}
        for each in self.authorities:
            signed = each.signed
            data[f"{each.id}{_CERTIFICATE}"] = b64encode(signed.certificate).decode()
            data[f"{each.id}{_KEY}"] = b64encode(signed.key).decode()
        return data


def read_keyring(data: Mapping[str, str]) -> Keyring:
    """Return what a Secret holds.

    Raises:
        AuthorityInvalid: something in it is no authority.
    """
    names = sorted(name.removesuffix(_CERTIFICATE) for name in data if name.endswith(_CERTIFICATE))
    try:
        pems = [(b64decode(data[f"{name}{_CERTIFICATE}"]), b64decode(data[f"{name}{_KEY}"])) for name in names]
    except (KeyError, ValueError) as error:
        raise AuthorityInvalid("the key of an authority is missing") from error
    return _in_order(read_authority(certificate, key) for certificate, key in pems)


def _in_order(authorities: Iterable[Authority]) -> Keyring:
    return Keyring(tuple(sorted(authorities, key=lambda authority: authority.begins)))
