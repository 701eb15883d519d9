"""Inner loops of channels in numba, imported when a channel is called and never before.

Each kernel is compiled at first use (a second or two) and cached on disk.
"""
