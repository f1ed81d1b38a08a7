"""The two ends of gRPC between a master, its agents and its followers. asyncio only; nothing is decided here."""
