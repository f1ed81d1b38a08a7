"""The fields that say where a script is: inline, in a ConfigMap, or in the image. Nothing is fetched here."""

from __future__ import annotations

from typing import Final

from loadstone_core.spec import defaults, validation
from loadstone_core.spec.shape import Listing, Record, Table, Text, named

_PATH_LONGEST: Final = 255
# Above the 64 KiB of the rule, so that the rule's sentence is seen and not the API server's.
_CONTENT_LONGEST: Final = 2 * defaults.CONTENT_MOST_BYTES

_INLINE: Final = Record(
    about="The script in the LoadTest itself.",
    fields={
        "content": Text(
            about="Text of the script, at most 64 KiB. It is run as source.entrypoint.",
            shortest=1,
            longest=_CONTENT_LONGEST,
            rules=validation.CONTENT,
        ),
        "files": Table(
            about=(
                "Further files beside the script: relative path and content, together with the script at most "
                "128 KiB. Example: {data/users.csv: 'name,password'}."
            ),
            values=Text(about="Content of the file.", longest=defaults.INLINE_MOST_BYTES),
            most=32,
            rules=validation.FILES,
        ),
    },
    required=("content",),
    rules=validation.INLINE,
)

_CONFIG_MAP: Final = Record(
    about="The script in a ConfigMap of the same namespace. It is read when a run starts.",
    fields={
        "name": named("Name of the ConfigMap."),
        "items": Listing(
            about="Which keys at which paths; all keys under their names if unset. Example: [{key: a, path: test.py}].",
            most=64,
            items=Record(
                about="One key.",
                fields={
                    "key": Text(about="The key.", shortest=1, longest=_PATH_LONGEST, rules=validation.KEY),
                    "path": Text(
                        about="Relative path of the file, for example data/users.csv.",
                        shortest=1,
                        longest=_PATH_LONGEST,
                        rules=validation.RELATIVE_PATH,
                    ),
                },
                required=("key", "path"),
            ),
            rules=validation.ITEMS,
        ),
    },
    required=("name",),
)

SOURCE: Final = Record(
    about="Where the script is: exactly one of inline, configMap and image.",
    fields={
        "entrypoint": Text(
            about="Which file is run, relative to the script's folder, for inline and configMap. Default: test.py.",
            shortest=1,
            longest=_PATH_LONGEST,
            rules=validation.RELATIVE_PATH,
        ),
        "inline": _INLINE,
        "configMap": _CONFIG_MAP,
        "image": Record(
            about="The script in the runner image; set spec.image to an image made from the runner's.",
            fields={
                "path": Text(
                    about="Absolute path of the script, for example /tests/checkout.py.",
                    shortest=1,
                    longest=_PATH_LONGEST,
                    rules=validation.ABSOLUTE_PATH,
                ),
            },
            required=("path",),
        ),
    },
    rules=validation.SOURCE,
)
