"""Impairments: what stands between a frame and its channel, as a list around any channel.

    x -> first of the list -> ... -> last of the list -> channel -> last -> ... -> first -> Received

An impairment is called as ``impairment(x, seed, rest)``: it sends what it makes of x on with ``rest(x)`` and accounts
for itself in the Received that comes back. The channel gets the frame's own seed, so that its fades and noise are those
of the same channel without impairments; each impairment gets a child of it. What comes back stays honest: h is what the
receiver knows, and n0_eff holds the power of everything else that is in y - h x.

The impairments act on the scalar equivalent, symbol by symbol. In front of an OFDM channel that makes them ones of the
resource elements, in the order in which data fill the grid: a rotation there is no interference between subcarriers,
and an amplifier there does not see the waveform.
"""
