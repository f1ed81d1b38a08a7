"""The asyncio side of the Unix sockets within a pod: engines send frames, the launcher sends lines of JSON.

What a message means is known to whoever listens, never here.
"""
