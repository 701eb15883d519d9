"""What the transmitter knows of the channel, the same for every system.

A channel is deterministic in its seed and its fade does not depend on what is sent, so the fade that a frame will meet
is read by sending silence with the frame's own seed and without noise. Where the receiver estimates, its pilots are
noiseless then, so h is the truth (as far as declared impairments let it be); where it combines or equalises, h carries
the fade all the same (``linksim.channel.laws``). A channel with a method ``post_snr`` says itself what is left behind
its receiver, estimation errors included, at the SNR that the transmitter believes in; one with ``known_to_transmitter``
says what a transmitter with instantaneous knowledge takes the frame's SNR for, where that is old. The fading law is
drawn the same way, from seeds of its own.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from linksim.link import guard
from linksim.link.system import LinkPoint
from linksim.phy import mutual_information
from linksim.seeds import FrameSeeds, Seed
from linksim.types import Channel, TxKnowledge
from linksim.units import db_to_linear, linear_to_db, n0_from_es_n0_db

LAW_DRAWS = 512
_ORDERS = (2, 4, 6, 8)  # bits per symbol of the MCS table
_CHUNK = 32


def fades(channel: Channel, num_symbols: int, snr_db: float, seed: FrameSeeds) -> np.ndarray:
    """Power gains that the frames will meet: |h|^2, or the receiver's SNR over that of an ideal channel.

    Args:    snr_db: mean Es/N0 at which estimation errors are seen, dB.
    Returns: [B, S] or [B, 1] float64.
    """
    if hasattr(channel, "post_snr"):
        n0 = n0_from_es_n0_db(snr_db)
        return np.asarray(channel.post_snr(num_symbols, n0, seed), np.float64) * n0
    silence = np.zeros((len(seed), num_symbols), np.complex64)
    return np.abs(np.asarray(guard.send(channel, silence, 0.0, seed).h, np.complex128)) ** 2


def effective_snr_db(
    gains: np.ndarray, snr_db: float, num_bits_per_symbol: int | None = None
) -> np.ndarray:
    """Es/N0 of the flat channel that is worth as much as a frame whose gain varies.

    For joint systems, and without a modulation, that of the same mean capacity; for a code over QAM that of the same
    mean bit-interleaved information (linksim.phy.mutual_information), which thresholds measured on AWGN apply to.

    Args:    gains [..., S], power gains; snr_db: mean Es/N0, dB; num_bits_per_symbol: of the QAM.
    Returns: [...] float64, dB.
    """
    snr = np.maximum(gains * db_to_linear(snr_db), 0.0)
    if num_bits_per_symbol is not None:
        return mutual_information.effective_snr_db(snr, num_bits_per_symbol)
    return linear_to_db(np.expm1(np.log1p(snr).mean(axis=-1)))


@lru_cache(maxsize=256)
def _law(channel: Any, num_symbols: int, snr_db: float) -> tuple[np.ndarray, ...]:
    seeds = FrameSeeds.of(Seed.root(0).child("fading law"), LAW_DRAWS)
    return tuple(
        fades(channel, num_symbols, snr_db, seeds[i : i + _CHUNK])
        for i in range(0, LAW_DRAWS, _CHUNK)
    )


def law(
    channel: Channel, num_symbols: int, snr_db: float, num_bits_per_symbol: int | None = None
) -> np.ndarray:
    """Draws of a frame's effective Es/N0 at a mean of ``snr_db``, as :func:`effective_snr_db` has it.

    Returns: [L] float64, dB; all equal on a channel that does not fade.
    """
    try:
        drawn = _seen(channel, num_symbols, float(snr_db))  # type: ignore[arg-type]
    except TypeError:  # a plug-in that cannot be hashed
        drawn = _seen.__wrapped__(channel, num_symbols, float(snr_db))
    return drawn.get(num_bits_per_symbol, drawn[None])


def _draws(channel: Any, num_symbols: int, snr_db: float) -> tuple[np.ndarray, ...]:
    """Power gains of LAW_DRAWS frames, in chunks of [B, S] or [B, 1]."""
    seen_db = snr_db if hasattr(channel, "post_snr") else 0.0  # |h|^2 does not depend on it
    try:
        return _law(channel, num_symbols, seen_db)  # type: ignore[arg-type]
    except TypeError:  # a plug-in that cannot be hashed
        return _law.__wrapped__(channel, num_symbols, seen_db)


@lru_cache(maxsize=256)
def _seen(channel: Any, num_symbols: int, snr_db: float) -> dict[int | None, np.ndarray]:
    """The law by bits per symbol; by None alone where no frame's gain varies."""
    draws = _draws(channel, num_symbols, snr_db)
    orders = (None, *_ORDERS) if _varies(draws[0]) else (None,)
    return {
        order: np.concatenate([effective_snr_db(gains, snr_db, order) for gains in draws])
        for order in orders
    }


def law_of_parts(
    channel: Channel, edges: tuple[int, ...], snr_db: float, num_bits_per_symbol: int
) -> np.ndarray:
    """Draws of the effective Es/N0 of parts of a frame, which its fade binds together.

    Args:    edges: N + 1, where the parts begin and the last one ends.
    Returns: [L, N] float64, dB.
    """
    try:
        return _parts(channel, edges, float(snr_db), num_bits_per_symbol)  # type: ignore[arg-type]
    except TypeError:  # a plug-in that cannot be hashed
        return _parts.__wrapped__(channel, edges, float(snr_db), num_bits_per_symbol)


@lru_cache(maxsize=1024)
def _parts(
    channel: Any, edges: tuple[int, ...], snr_db: float, num_bits_per_symbol: int
) -> np.ndarray:
    draws = _draws(channel, edges[-1], snr_db)
    order = num_bits_per_symbol if _varies(draws[0]) else None
    parts = [
        np.concatenate(
            [effective_snr_db(g[:, a:b] if g.shape[-1] > 1 else g, snr_db, order) for g in draws]
        )
        for a, b in pairwise(edges)
    ]
    return np.stack(parts, -1)


def _varies(gains: np.ndarray) -> bool:
    """Whether the gain varies within frames. Args: gains [B, S]."""
    return gains.shape[-1] > 1 and bool(np.any(np.ptp(gains, axis=-1) > 1e-6))


def _outdated(point: LinkPoint, num_symbols: int, seed: FrameSeeds) -> np.ndarray | None:
    """The gains that a transmitter takes for a frame's, where they are old; None where they are not."""
    known = getattr(point.channel, "known_to_transmitter", None)
    if known is None:
        return None
    n0 = n0_from_es_n0_db(point.snr_amc_db)
    snr = known(num_symbols, n0, seed)
    return None if snr is None else np.asarray(snr, np.float64) * n0


def knowledge(point: LinkPoint, num_symbols: int, seed: FrameSeeds) -> TxKnowledge:
    """What the transmitter may use for frames of ``num_symbols`` at this point."""
    believed = np.full(len(seed), float(point.snr_amc_db))
    if point.csi_tx == "none" or point.channel is None:
        return TxKnowledge(believed, "none")
    if point.csi_tx == "instantaneous":
        gains = _outdated(point, num_symbols, seed)
        if gains is None:
            gains = fades(point.channel, num_symbols, point.snr_amc_db, seed)
        by_order = {
            order: effective_snr_db(gains, point.snr_amc_db, order)
            for order in (_ORDERS if _varies(gains) else ())
        }
        effective = effective_snr_db(gains, point.snr_amc_db)
        return TxKnowledge(effective, "instantaneous", by_order=by_order)
    mean = law(point.channel, num_symbols, point.snr_amc_db)
    by_order = {
        order: drawn
        for order in _ORDERS
        if (drawn := law(point.channel, num_symbols, point.snr_amc_db, order)) is not mean
    }
    return TxKnowledge(believed, "mean", db_to_linear(mean - point.snr_amc_db), by_order)
