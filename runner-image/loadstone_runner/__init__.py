"""The processes of a run: master, agent, launcher, engine, director; and local mode, which starts them on one machine.

Each lives in a room of its own and only `__main__` knows them all. Nothing is imported here: every process pays for
what is, and their start is what a run waits for.
"""
