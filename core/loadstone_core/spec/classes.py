"""The fields of a LoadTestClass: what the owners of a cluster hold in their hands over many tests at once.

A field that nothing obeys yet is not here.
"""

from __future__ import annotations

from typing import Final

from loadstone_core.spec.shape import Flag, Record

CLASS_SPEC: Final = Record(
    about="What holds for all tests of the class.",
    fields={
        "killSwitch": Flag(
            about=(
                "True ends every run of the class at once: workers are killed without time to finish an iteration, and "
                "the verdict is Aborted with reason Killed. As long as it is true no run of the class begins; those "
                "that were to begin meanwhile end as Error with ClassDenied, and do not come back by themselves. "
                "Default: false."
            ),
            default=False,
        )
    },
)
