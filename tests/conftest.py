"""Settings for every test: properties have no deadline, because these machines are shared."""

from hypothesis import settings

settings.register_profile("loadstone", deadline=None)
settings.load_profile("loadstone")
