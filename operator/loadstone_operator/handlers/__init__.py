"""Hear the API server through kopf: each handler is one call. Nothing is decided and nothing is written here."""
