"""The control API over HTTP, for platforms that embed load tests. Loaded only where it is enabled.

aiohttp and what it needs are an extra (`loadstone[control]`); nothing else of a run imports them.
"""
