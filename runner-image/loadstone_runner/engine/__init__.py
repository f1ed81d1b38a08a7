"""Run user code as load: the one room of the runner where gevent lives, in processes of its own.

`host` talks to the agent, `scripts` loads what the user wrote, `population`, `closed`, `arrivals` and `users` run it,
`http` is its client, `instruments` and `counters` keep what happened, `director` does what happens once.
No asyncio and no gRPC: they and a patched standard library do not mix.
"""
