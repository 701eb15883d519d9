"""How much parity, and which context mode, for the losses that a transmitter believes in.

As adaptive modulation and coding goes by an SNR that the transmitter believes in, this goes by a loss rate and a mean
length of bursts, such as a receiver reports (RFC 3550: fraction lost; RFC 3611: bursts), and by what is known of tokens
beforehand (``token_quality``). Neither pictures nor losses that really happen enter, so both ends derive the same
choice from the scenario and nothing is signalled.

For every P and D the losses of an image's N packets give the probabilities that so many of its N - P packets of tokens
cannot be read (none, where at most P of all are lost); what the budget leaves for tokens and how much is filled in
gives the metrics of each case. Where a base layer alone is protected (``linksim.packet.base_layer``), packets that are
lost keep that if at most P are, and leave their positions to be filled in if more are. The choice taken has the least
regret: in the worse of expected MSE and expected LPIPS it is the fewest times above the least that any choice reaches.
A sum would let one metric pay for the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from linksim.codec.token_coder import HEAD_SLACK
from linksim.errors import ComponentError
from linksim.link.token_quality import TokenQuality
from linksim.packet.base_layer import BaseLayer
from linksim.packet.gilbert_elliott import GilbertElliott
from linksim.packet.reed_solomon import LENGTH_BYTES
from linksim.seeds import FrameSeeds
from linksim.types import ErasureProcess

MOST_LISTED = 12  # packets whose patterns of losses are gone through one by one
DRAWS = 1 << 12  # patterns beyond
DEAREST = 1.4  # a picture's base layer over the mean one: there must be room for its heads
USED = 0.995  # of a budget, in the mean: the search for the number of tokens leaves up to one in a hundred


@dataclass(frozen=True)
class Belief:
    """Losses as a transmitter believes in them: Gilbert's two states.

    Args:   loss: share of the packets, in [0, 1). burst: mean length of a run of losses [packets].
    Raises: ValueError.
    """

    loss: float
    burst: float

    def __post_init__(self) -> None:
        if not 0 <= self.loss < 1:
            raise ValueError(f"the believed loss must be in [0, 1), got {self.loss}")
        if not self.burst >= 1:
            raise ValueError(f"the believed burst must be at least 1 packet, got {self.burst}")

    @classmethod
    def of(cls, process: ErasureProcess | None, loss: float | None, burst: float | None) -> Belief:
        """What is declared, and of the loss process what is not: see ``linksim.link.tokens.Tokens``.

        Raises: ComponentError: neither says how much is lost.
        """
        if loss is None:
            loss = getattr(process, "loss_rate", None)
            if loss is None:
                raise ComponentError(
                    "parity: auto and descriptions: auto need believed_loss here: "
                    + (
                        "blocks declare no loss rate"
                        if process is None
                        else "the loss process has no loss_rate"
                    )
                )
            if burst is None:
                burst = getattr(process, "mean_burst", None)
        if burst is None or not burst >= 1:  # NaN where nothing is ever lost
            burst = 1 / (1 - loss)  # without memory
        return cls(float(loss), float(burst))

    def patterns(self, packets: int) -> tuple[np.ndarray, np.ndarray]:
        """Losses of an image's packets, [M, N] bool, and the probability of each, [M] float64."""
        least = max(1.0, self.loss / (1 - self.loss))  # no chain has shorter bursts
        burst = min(max(self.burst, least), 1e6)
        if packets > MOST_LISTED:
            process = GilbertElliott(rate=self.loss, mean_burst=burst)
            drawn = process([packets] * DRAWS, FrameSeeds.of(0, DRAWS))
            return np.stack(drawn), np.full(DRAWS, 1 / DRAWS)
        lost = (np.arange(1 << packets)[:, None] >> np.arange(packets) & 1).astype(bool)
        ends = 1 / burst
        begins = ends * self.loss / (1 - self.loss)
        chain = np.array([[1 - begins, begins], [ends, 1 - ends]])
        start = np.array([1 - self.loss, self.loss])
        state = lost.astype(np.int64)
        steps = chain[state[:, :-1], state[:, 1:]]
        return lost, start[state[:, 0]] * steps.prod(1)

    def __str__(self) -> str:
        return f"a believed loss of {self.loss:.3g} in bursts of {self.burst:.3g}"


@dataclass(frozen=True, eq=False)
class Drawn:
    """Losses as a fading law has them. Args: lost: [M, N] bool, draws for an image's packets."""

    lost: np.ndarray

    @cached_property
    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        draws, packets = self.lost.shape
        if packets > MOST_LISTED:
            return self.lost, np.full(draws, 1 / draws)
        bit = 1 << np.arange(packets)
        count = np.bincount(self.lost @ bit, minlength=1)
        met = np.flatnonzero(count)
        return (met[:, None] & bit) > 0, count[met] / draws

    def patterns(self, packets: int) -> tuple[np.ndarray, np.ndarray]:
        """See Belief.patterns. Args: packets: N, what it was drawn for."""
        return self._known

    def __str__(self) -> str:
        return "the losses that the fading law gives"


Losses = Belief | Drawn


@dataclass(frozen=True)
class Protection:
    """What is chosen.

    Args:
      parity:       P, of the N packets; with a base layer so many may be lost without it.
      descriptions: D, that the others are dealt to.
      base:         stages of the base layer; 0: there is none, and parity protects all tokens.
    """

    parity: int
    descriptions: int
    base: int = 0

    def note(self, packets: int, believed: Losses) -> str:
        """What rows declare."""
        what = f"{self.parity} of {packets} packets parity, {self.descriptions} descriptions"
        if self.base:
            what = (
                f"{self.base} stages of all from any {packets - self.parity} of {packets} packets"
            )
        return f"{what}, for {believed}"


def unread(lost: np.ndarray, parity: int, descriptions: int) -> np.ndarray:
    """How many packets of tokens cannot be read. Args: lost [M, N] bool. Returns: [M] int64, 0..N - P."""
    source = lost.shape[1] - parity
    gone = lost[:, :source].copy()
    for p in range(descriptions, source):
        gone[:, p] |= gone[:, p - descriptions]
    gone[lost.sum(1) <= parity] = False
    return gone.sum(1)


@lru_cache(maxsize=256)
def _chances(belief: Losses, packets: int, parity: int, descriptions: int) -> np.ndarray:
    """Probability that 0, 1, ... N - P packets of tokens cannot be read."""
    lost, chance = belief.patterns(packets)
    number = unread(lost, parity, descriptions)
    return np.bincount(number, chance, minlength=packets - parity + 1)


def expected(
    quality: TokenQuality,
    belief: Losses,
    packets: int,
    protection: Protection,
    *,
    total: int,
    overhead: int,
    positions: int,
) -> np.ndarray | None:
    """Expected metrics of a picture.

    Args:
      packets:   N, parity included.
      total:     bytes of all of them.
      overhead:  bytes of each that are neither tokens nor parity.
      positions: of the picture's grid.
    Returns: [2], of ``token_quality.METRICS``; None where the budget has no token for every packet.
    """
    parity, descriptions = protection.parity, protection.descriptions
    room = total * USED - packets * overhead
    if protection.base:
        return _with_base(quality, belief, packets, protection, room, positions)
    source = packets - parity
    room -= parity * LENGTH_BYTES
    depth = quality.stages[-1]
    for _ in range(3):  # how long parity packets are depends on the depth, a little
        bodies = room / (1 + parity / source * quality.excess(depth, descriptions))
        bits = 8 * bodies - 4 * source  # a body ends with half a byte that is not used, in the mean
        depth = quality.depth(bits / positions, descriptions) if bits > 0 else 0.0
    if source > positions or depth * positions < source:
        return None
    cases = quality.at(depth, np.arange(source + 1) / source)
    return cases @ _chances(belief, packets, parity, descriptions)


def _with_base(
    quality: TokenQuality,
    belief: Losses,
    packets: int,
    protection: Protection,
    room: float,
    positions: int,
) -> np.ndarray | None:
    """``expected`` where a base layer alone is protected.

    Args: room: bytes of all packets without their overhead.
    """
    try:
        layer = BaseLayer(packets, protection.parity)
    except ValueError:  # no code has room for so much
        return None
    bytes_of_head = quality.longest_head(protection.base) * positions / packets / 8
    dear = math.ceil(bytes_of_head * DEAREST + HEAD_SLACK)
    if packets * (dear + layer.added_bytes(dear)) > room:  # some pictures would not be sent at all
        return None
    least, part = divmod(bytes_of_head + HEAD_SLACK, 1)
    few, more = (layer.added_bytes(int(least) + n) for n in (0, 1))
    bits = 8 * (room - packets * (few + part * (more - few))) - 4 * packets
    depth = quality.depth_with_base(bits / positions, protection.base)
    if depth < protection.base or depth * positions < packets:
        return None
    lost = np.arange(packets + 1) / packets
    cases = quality.at(depth, lost)
    kept = quality.at_with_base(depth, lost, protection.base)
    cases[:, : protection.parity + 1] = kept[:, : protection.parity + 1]
    return cases @ _chances(belief, packets, 0, packets)


def choose(
    quality: TokenQuality,
    ways: Sequence[tuple[int, Losses]],
    packets: int,
    *,
    overhead: int,
    positions: int,
    parities: Iterable[int] | None = None,
    descriptions: int | None = None,
    modes: bool = False,
    bases: Iterable[int] | None = (0,),
) -> tuple[Protection, Losses]:
    """The protection with the least regret, see above; of equal ones that with least parity. And the losses it is for.

    Args:
      ways:         to send an image: bytes of all packets, and what is lost of them; the best is taken with each.
      overhead, positions: see ``expected``.
      parities:     to choose from; None: 0 .. N - 1.
      descriptions: D, where it is not for choice (N - P if there are fewer); None: N - P.
      modes:        choose D too: of N - P (every packet decodes alone), 2 and 1 (layered).
      bases:        stages of a base layer to choose from; None: 0 and all that there are numbers for.
    """
    options = []
    bases = (0, *quality.bases) if bases is None else tuple(bases)
    parities = tuple(range(packets)) if parities is None else tuple(parities)
    for parity in parities if 0 in bases else ():
        source = packets - parity
        wanted = (source, 2, 1) if modes else (descriptions or source,)
        options += [Protection(parity, d) for d in dict.fromkeys(min(d, source) for d in wanted)]
    options += [Protection(parity, packets, base) for base in bases if base for parity in parities]
    setting = {"overhead": overhead, "positions": positions}
    found = [
        expected(quality, losses, packets, one, total=total, **setting)
        for one in options
        for total, losses in ways
    ]
    one, way = divmod(least_regret(found) or 0, len(ways))  # where nothing fits the system says so
    return options[one], ways[way][1]


def least_regret(found: Sequence[np.ndarray | None]) -> int | None:
    """The option that is, in the worse of its metrics, the fewest times above the least of all; of equals the first.

    Args: found: metrics of each, [2]; None: impossible. Returns: its place; None if none is possible.
    """
    possible = [i for i, value in enumerate(found) if value is not None]
    if not possible:
        return None
    values = np.array([found[i] for i in possible])
    regret = (values / values.min(0)).max(1)
    return possible[int(np.flatnonzero(regret <= regret.min() + 1e-9)[0])]
