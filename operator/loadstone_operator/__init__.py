"""Turn a LoadTest into pods and a status, and keep both true until its verdict is stored.

Observe, decide, act: `handlers` hear that something changed, `controller` looks at everything again, `decision` says
what is needed, `cluster` and `control` do it. No statistics are read here and no engine is known by name.
"""
