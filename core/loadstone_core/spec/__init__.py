"""What a user may write into a LoadTest: its fields, their meaning, and everything that can be wrong with them.

One tree of fields is the source of the CRD and of the checks made without a cluster. What a threshold's expression
means is not known here (see `loadstone_core.verdict`), nor is anything about pods beyond the allow-list.
"""
