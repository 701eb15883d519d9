"""The digital link's inner loops in numba: exact on bits, 16-bit fixed point in the decoder.

Each kernel is compiled at first use and cached on disk. Sionna's blocks are the oracle they are tested against. A
frame's result depends on its own input alone, not on what shares its batch or on the number of threads.
"""
