"""The `loadstone` command: a test on this machine, and help with the files a cluster gets.

A command parses its arguments, calls one room and shows what came back. No decision about a load test lives here.
"""
