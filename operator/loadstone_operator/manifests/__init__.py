"""Turn one run of a LoadTest into Kubernetes objects, as plain dicts. Pure: no API is called here."""
