"""What one run will do: the plan that the operator (or the local command) makes once, and the master reads.

Pods, processes and the resource itself are unknown here.
"""
