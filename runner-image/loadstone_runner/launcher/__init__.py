"""The parent of the engines: starts them, passes on what they print, and is the dead-man's switch that kills them.

Standard library only and no user code, so that nothing a script does can delay a kill. It starts in milliseconds, so
`dataclasses`, `subprocess` and `asyncio` are not imported here.
"""
