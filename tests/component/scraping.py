"""Read what a process shows to Prometheus. No test is here."""

from __future__ import annotations

import asyncio
import re


async def page(port: int) -> str:
    """Return what a port of this machine shows to Prometheus."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    return text


def figure(text: str, name: str) -> float:
    """Return one sample of a page; `name` is a regular expression, with the labels."""
    found = re.search(rf"^{name} ([0-9.e+-]+)$", text, re.MULTILINE)
    assert found, (name, text[:500])
    return float(found[1])


def refused(text: str, peer: str, *, loadtest: str = "checkout") -> float:
    """Return how many messages, calls and connections of a kind of peers a master has refused."""
    labels = f'loadtest="{loadtest}",peer="{peer}",run="1"'
    return figure(text, re.escape(f"loadstone_refused_messages_total{{{labels}}}"))
