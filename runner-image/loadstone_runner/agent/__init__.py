"""The trusted process of a worker pod: speaks for the engines, so that nothing user code does can silence the worker.

`session`, `clock`, `lease` and `ledger` decide and are pure; `messages` knows the wire; `service` does I/O.
"""
