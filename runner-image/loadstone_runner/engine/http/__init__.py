"""The HTTP client of users: `client` is what scripts call, `connection` is the request path below it.

The seam between them is `Connection.exchange`: bytes of a request in, a whole answer or a named failure with its times
out. Whatever does that can take its place. The rest are pure parts: `head`, `bodies`, `origin`, `requests`, `failures`.
"""
