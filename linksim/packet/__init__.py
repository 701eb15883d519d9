"""Packets on a lossy network: checksums, fragments with headers, and loss processes."""
