"""Run one load test on this machine with the very processes that a cluster runs: master, director, agents, engines.

Only what replaces Kubernetes lives here: folders for volumes, processes for containers, loopback for the network.
What the processes decide must not live here.
"""
