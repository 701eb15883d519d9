"""Channels: symbols -> Received."""
