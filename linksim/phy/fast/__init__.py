"""The digital link's inner loops in numba: exact on bits, 16-bit fixed point in the decoder.

    bits -> encoder -> (rate matching) -> mapper -> channel -> demap -> (rate recovery) -> decoder -> bits

Sionna's blocks are the oracle they are tested against. A block's result depends on its own input alone, not on what
shares its batch or on the number of threads: LINKSIM_THREADS, by default every core that the process may use.

Each kernel is compiled at first use (seconds) and cached on disk: where NUMBA_CACHE_DIR says, else beside the source,
else, if that is read-only, in the user's cache folder. An edit of any file of this package renews the cache.
"""
