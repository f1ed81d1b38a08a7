"""Generated from protocol/proto by tools/generate_stubs.py; do not edit."""

from loadstone_protocol import lean  # noqa: F401 it must come before every stub
