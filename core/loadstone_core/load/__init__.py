"""How much load there is at which moment: profiles over time, each slot's part of them, and scenarios of a run.

A slot is one engine of one worker. Time runs from the start of load; nobody here knows what time it is.
"""
