"""Packets: headers, CRC, fragmentation, and packet loss processes."""
