"""The rules over the fields of a LoadTest: each one sentence, once for the API server and once for Python.

Rules without CEL are those that the API server cannot afford or express. Fields are declared in `fields`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from loadstone_core.spec import defaults
from loadstone_core.spec.shape import Rule, exactly_one, matching
from loadstone_core.units import DURATION_PATTERN, SHARE_PATTERN, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

_PORT_MOST: Final = 65_535
_SEGMENT: Final = r"[A-Za-z0-9._-]+"
_RELATIVE_PATH: Final = rf"{_SEGMENT}(/{_SEGMENT})*"
_PATH_SENTENCE: Final = "must be relative paths of letters, digits, dots, dashes and slashes without . or .., such as"
_DOTS_IN_CEL: Final = "('/' + {0} + '/').contains('/./') || ('/' + {0} + '/').contains('/../')"
_ENTRYPOINT_IN_CEL: Final = f"(has(self.entrypoint) ? self.entrypoint : '{defaults.ENTRYPOINT}')"
LEASE_LEAST_NS: Final = 10_000_000_000
LEASE_MOST_NS: Final = 300_000_000_000
_DURATION: Final = DURATION_PATTERN.removeprefix("^").removesuffix("$")
_ZERO: Final = r"^(0+(\.0+)?(ms|s|m|h))+$"
_EXPRESSION: Final = (
    r"\s*[a-z_][a-z0-9_]*\s*(\{.*\}\s*)?:\s*(p[1-9][0-9]?(\.[0-9]{1,3})?|avg|min|max|count|rate|value)\s*"
    r"(<=|>=|==|<|>)\s*-?[0-9]+(\.[0-9]+)?(us|ms|s|m|%|/s)?"
    rf"(\s*over\s*{_DURATION})?\s*"
)


def _fits(text: str) -> bool:
    try:
        parse_duration(text)
    except ValueError:
        return False
    return True


def _is_path(text: str) -> bool:
    return not {".", ".."}.intersection(text.split("/")) and _RELATIVE.holds(text)


def _is_url(text: str) -> bool:
    try:
        port = urlsplit(text).port
    except ValueError:
        return False
    return port is None or 0 < port <= _PORT_MOST


def _inline_bytes(inline: Mapping[str, Any]) -> int:
    return sum(len(text.encode()) for text in (inline["content"], *inline.get("files", {}).values()))


def _entrypoint(source: Mapping[str, Any]) -> str:
    return str(source.get("entrypoint", defaults.ENTRYPOINT))


def _entrypoint_is_free(source: Mapping[str, Any]) -> bool:
    files = source.get("inline", {}).get("files", {})
    return _entrypoint(source) not in files and _no_path_within_another([_entrypoint(source), *files])


def _no_path_within_another(paths: list[str]) -> bool:
    """Tell whether no path is the folder of another one."""
    ordered = sorted(path.split("/") for path in paths)
    return not any(later[: len(one)] == one for one, later in pairwise(ordered) if one != later)


_RELATIVE: Final = matching(_RELATIVE_PATH, "")
_NAME_OF_A_VALUE: Final = r"[A-Za-z0-9._-]{1,128}"
_CONFIG_NAME: Final = matching(_NAME_OF_A_VALUE, "")

DURATION: Final = (
    matching(_DURATION, "must look like 30s, 5m or 1h30m (units: ms, s, m, h)"),
    Rule(message="must be shorter than 292 years", holds=_fits),
)
LONG_DURATION: Final = (
    *DURATION,
    Rule(
        message="must be longer than zero, such as 30s",
        holds=lambda text: parse_duration(text) > 0,
        cel=f"!self.matches(r'{_ZERO}')",
    ),
)
LEASE: Final = (
    *DURATION,
    Rule(
        message="must be from 10s to 5m",
        holds=lambda text: LEASE_LEAST_NS <= parse_duration(text) <= LEASE_MOST_NS,
        cel="duration(self) >= duration('10s') && duration(self) <= duration('5m')",
    ),
)
SHARE: Final = (
    matching(SHARE_PATTERN.removeprefix("^").removesuffix("$"), "must be a share such as 1% or 0.5%, at most 100%"),
)
TARGET: Final = (
    matching(
        r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[^\s?#]*)?",
        "must be a URL without query, such as http://shop.default or https://shop.example.com:8443/api",
    ),
    Rule(message="must be a URL whose port, if it has one, is from 1 to 65535", holds=_is_url),
)
IMAGE: Final = (
    matching(r"\S+", "must be an image reference without blanks, such as registry.example.com/shop-tests:1"),
)
CONTENT: Final = (
    Rule(
        message="must be at most 64 KiB; put a larger script into a ConfigMap (source.configMap) or source.image",
        holds=lambda text: len(text.encode()) <= defaults.CONTENT_MOST_BYTES,
        cel=f"size(bytes(self)) <= {defaults.CONTENT_MOST_BYTES}",
    ),
)
FILES: Final = (
    Rule(
        message=f"{_PATH_SENTENCE} data/users.csv",
        holds=lambda files: all(_is_path(path) for path in files),
        cel=f"self.all(path, path.matches(r'^{_RELATIVE_PATH}$') && !({_DOTS_IN_CEL.format('path')}))",
    ),
    Rule(
        message="a path may not be the folder of another one; rename one of them",
        holds=lambda files: _no_path_within_another(list(files)),
    ),
)
INLINE: Final = (
    Rule(
        message="content and files together must be at most 128 KiB; put more into a ConfigMap (source.configMap)",
        holds=lambda inline: _inline_bytes(inline) <= defaults.INLINE_MOST_BYTES,
        cel="size(bytes(self.content)) + "
        "(has(self.files) ? self.files.map(path, size(bytes(self.files[path]))).sum() : 0)"
        f" <= {defaults.INLINE_MOST_BYTES}",
        needs=("content", "files"),
    ),
)
RELATIVE_PATH: Final = (
    Rule(
        message="must be a relative path of letters, digits, dots, dashes and slashes without . or .., such as test.py",
        holds=_is_path,
        cel=f"self.matches(r'^{_RELATIVE_PATH}$') && !({_DOTS_IN_CEL.format('self')})",
    ),
)
ABSOLUTE_PATH: Final = (matching(r"/.*[^/]", "must be the absolute path of a file, such as /tests/checkout.py"),)
KEY: Final = (matching(r"[-._a-zA-Z0-9]+", "must be a key of a ConfigMap: letters, digits, dots, dashes, underscores"),)
ITEMS: Final = (
    Rule(
        message="a path may be there once only, and not be the folder of another one",
        holds=lambda items: (
            len({item["path"] for item in items}) == len(items)
            and _no_path_within_another([item["path"] for item in items])
        ),
        cel="self.all(item, self.exists_one(other, other.path == item.path))",
    ),
)
SOURCE: Final = (
    exactly_one("inline", "configMap", "image"),
    Rule(
        message="source.image.path names the script already; leave source.entrypoint out",
        holds=lambda source: not ("image" in source and "entrypoint" in source),
        cel="!(has(self.image) && has(self.entrypoint))",
        needs=("image", "entrypoint"),
    ),
    Rule(
        message="inline.files holds the entrypoint's path (test.py unless source.entrypoint says otherwise) or one "
        "below it, but the entrypoint's text is inline.content; rename the file",
        holds=_entrypoint_is_free,
        cel=f"!has(self.inline) || !has(self.inline.files) || !({_ENTRYPOINT_IN_CEL} in self.inline.files)",
        needs=("inline", "entrypoint"),
    ),
    Rule(
        message="configMap.items must have the entrypoint's path (test.py unless source.entrypoint says otherwise)",
        holds=lambda source: (
            not source.get("configMap", {}).get("items")
            or _entrypoint(source) in {item["path"] for item in source["configMap"]["items"]}
        ),
        cel="!has(self.configMap) || !has(self.configMap.items) || self.configMap.items.size() == 0 || "
        f"self.configMap.items.exists(item, item.path == {_ENTRYPOINT_IN_CEL})",
        needs=("configMap", "entrypoint"),
    ),
    Rule(
        message="without configMap.items each key is a file of its name, so source.entrypoint must be a key (no slash)",
        holds=lambda source: (
            "configMap" not in source or bool(source["configMap"].get("items")) or "/" not in _entrypoint(source)
        ),
        cel="!has(self.configMap) || (has(self.configMap.items) && self.configMap.items.size() > 0) || "
        "!has(self.entrypoint) || !self.entrypoint.contains('/')",
        needs=("configMap", "entrypoint"),
    ),
)
THRESHOLD_NAME: Final = (
    matching(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", "must be lower-case letters, digits and dashes, such as p95-front-page"),
)
EXPRESSION: Final = (
    matching(
        _EXPRESSION,
        'must look like latency{name="front page"}:p95 < 300ms, failures:rate < 1% or requests:rate >= 500/s over 60s',
    ),
)
CONFIG: Final = (
    Rule(
        message="names are letters, digits, dots, dashes and underscores, at most 128 of them, such as basket-size",
        holds=lambda values: all(_CONFIG_NAME.holds(name) for name in values),
        cel=f"self.all(name, name.matches(r'^{_NAME_OF_A_VALUE}$'))",
    ),
    Rule(
        message=f"names and values together must be at most {defaults.CONFIG_MOST_BYTES // 1024} KiB; put more into "
        "a file beside the script (source)",
        holds=lambda values: (
            sum(len(text.encode()) for pair in values.items() for text in pair) <= defaults.CONFIG_MOST_BYTES
        ),
        cel=f"self.map(name, size(bytes(name)) + size(bytes(self[name]))).sum() <= {defaults.CONFIG_MOST_BYTES}",
    ),
)
DROP: Final = (
    matching(
        r"[a-z_][a-z0-9_]*(\{[^{}]+\})?",
        "must be the name of a metric, such as first_byte, or of one of its labels, such as checks{tier}",
    ),
)
PERCENTILE: Final = (
    matching(
        r"[1-9][0-9]?(\.[0-9]{0,2}[1-9])?",
        'must be a number from 1 to 99.999 without trailing zeros, such as "95" or "99.9"',
    ),
)
# On the name, for Python; on the whole object, for the API server.
NAME: Final = (
    Rule(
        message=f"must be at most {defaults.NAME_LONGEST} characters long, because the names of pods are made from it",
        holds=lambda name: len(name) <= defaults.NAME_LONGEST,
        cel=f"size(self.metadata.name) <= {defaults.NAME_LONGEST}",
    ),
    Rule(
        message="must not contain dots, because the names of pods and of a Service are made from it; use dashes",
        holds=lambda name: "." not in name,
        cel="!self.metadata.name.contains('.')",
    ),
    Rule(
        message="must begin with a letter, because the name of a Service is made from it",
        holds=lambda name: not name[:1].isdecimal(),
        cel="!self.metadata.name.matches(r'^[0-9]')",
    ),
)
DNS_LABEL: Final = matching(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", "must be lower-case letters, digits and dashes")
