"""Turn what was seen and decided into the LoadTest's status, and read a status back. Pure."""
