"""The values and limits that hold when the user says nothing; the CRD, the model and the docs take them from here.

Defaults of an installation (images, resources) belong to the operator's settings.
"""

from __future__ import annotations

from typing import Final

GROUP: Final = "loadstone.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "LoadTest"
CLASS_KIND: Final = "LoadTestClass"
# The annotation of the class that tests belong to which name none, as StorageClasses and IngressClasses have it.
DEFAULT_CLASS: Final = f"{GROUP}/is-default-class"
NAMESPACE: Final = "default"

ENTRYPOINT: Final = "test.py"
TOKEN_KEY: Final = "token"  # noqa: S105 the name of a key
# What the load is called that has no scenarios.
SCENARIO: Final = "default"
GRACEFUL_STOP: Final = "30s"
STARTUP_TIMEOUT: Final = "10m"
DELAY_ABORT: Final = "10s"
REPLICAS: Final = 1
# How many workers may be lost at a time, in percent, before the run is an Error.
MAX_LOST_PERCENT: Final = 20
LEASE: Final = "30s"
PERCENTILES: Final = ("50", "90", "95", "99", "99.9")
TOLERANCE: Final = "1%"

NAME_LONGEST: Final = 52
REPLICAS_MOST: Final = 5_000
# Of a worker; the protocol takes in no agent with more.
ENGINES_MOST: Final = 1_024
USERS_MOST: Final = 100_000_000
RATE_MOST: Final = 100_000_000
ITERATIONS_MOST: Final = 1_000_000_000_000_000
ITERATIONS_PER_USER_MOST: Final = 1_000_000_000
RUNS_MOST: Final = 2**31 - 1
STAGES_MOST: Final = 256
SCENARIOS_MOST: Final = 32
THRESHOLDS_MOST: Final = 64
PERCENTILES_MOST: Final = 10
TAGS_MOST: Final = 32
DROPS_MOST: Final = 64
CONFIG_MOST: Final = 64
CONFIG_VALUE_LONGEST: Final = 4_096
# It travels to every engine, whole, at each change.
CONFIG_MOST_BYTES: Final = 16 * 1024
CONTENT_MOST_BYTES: Final = 64 * 1024
# kubectl keeps a second copy of the whole object in an annotation, and all annotations together may have 256 KiB.
INLINE_MOST_BYTES: Final = 128 * 1024
