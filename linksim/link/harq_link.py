"""Blocks that are sent until they arrive: the digital link with HARQ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from linksim.link import control, csi, harq, overhead
from linksim.link.amc import Amc
from linksim.link.digital import DigitalLink
from linksim.link.harq import Harq, HarqOption
from linksim.link.system import LinkPoint
from linksim.phy.mcs import TABLE
from linksim.seeds import FrameSeeds
from linksim.types import Delivered, Frame, Ledger, Packets, Received

_MAX_KEPT = 64


def add_up(received: Sequence[Received]) -> Received:
    """Maximum-ratio combining of the same symbols sent several times: what each is worth, by |h|^2 / n0.

    Returns: the scalar equivalent with h = 1 and the noise that is left; SNRs add.
    """
    if len(received) == 1:
        return received[0]
    signal: Any = 0.0
    weight: Any = 0.0
    for one in received:
        y, h, n0 = one.full()
        inverse = 1 / np.maximum(n0.astype(np.float64), 1e-12)
        signal = signal + np.conj(h) * y * inverse
        weight = weight + np.abs(h.astype(np.complex128)) ** 2 * inverse
    weight = np.maximum(weight, 1e-20)
    y = (signal / weight).astype(np.complex64)
    return Received(y, np.ones_like(y), (1 / weight).astype(np.float32))


@dataclass(frozen=True)
class Sent:
    """What became of a batch.

    Args:
      delivered:     packets and whether they arrived.
      ledger:        everything behind the first transmission under ``retransmissions``.
      transmissions: [B] int64, how often each was sent.
      papr_db:       [B] float64, of the first transmission, dB.
    """

    delivered: Delivered
    ledger: Ledger
    transmissions: np.ndarray
    papr_db: np.ndarray


@dataclass(frozen=True)
class HarqLink:
    """Transmissions of one block an image, each on a piece of the channel of its own.

    The first transmission meets the channel of the frame's seed, as a system without HARQ does; transmission t > 0 that
    of its child ("harq", t): a fresh fade for block fading.

    Args:
      harq:    kind and number of transmissions.
      amc:     rule and target of the choice.
      digital: code, modem.
    """

    harq: Harq
    amc: Amc
    digital: DigitalLink

    @cached_property
    def _known(self) -> dict[Any, tuple[str, list[HarqOption]]]:
        return {}

    def options(self, point: LinkPoint, height: int, width: int) -> tuple[str, list[HarqOption]]:
        """The AMC rule and what it chooses from. Raises BudgetError."""
        total = point.all_uses(height, width)
        data = point.uses(height, width)
        tx = csi.knowledge(point, data, FrameSeeds.of(0, 2))
        rule = self.amc.resolve(tx)
        drawn = tuple(tx.snr_db(order).tobytes() for order in (2, 4, 6, 8))
        key = (total, rule, tx.csi_tx, drawn, id(point.channel))
        if key not in self._known:
            first = control.NUM_USES if rule == "expected-distortion" else 0
            table = TABLE if self.amc.mcs is None else (TABLE[self.amc.mcs],)
            found = harq.options(
                self.digital.code, table, self.harq, tx, point.channel, total, first
            )
            if len(self._known) >= _MAX_KEPT:
                self._known.clear()
            self._known[key] = rule, found
        return self._known[key]

    def most_for_target(self, options: list[HarqOption]) -> int:
        """Index of the most bits whose residual error rate meets the target; the most robust where none does."""
        meets = [i for i, o in enumerate(options) if o.residual <= self.amc.target]
        return max(meets) if meets else int(np.argmin([o.residual for o in options]))

    def cross(
        self,
        packets: Packets,
        options: list[HarqOption],
        choice: np.ndarray,
        signalled: bool,
        point: LinkPoint,
        seeds: FrameSeeds,
    ) -> Sent:
        """Send every block until its CRCs are right, or max_transmissions times."""
        batch = len(choice)
        sizes = np.array([options[c].plan.num_symbols for c in choice], np.int64)
        widest = max(
            o.plan.num_symbols for o in options
        )  # whatever the batch, the channel sees one shape
        head = control.NUM_USES if signalled else 0
        rows = np.arange(batch)
        read = choice
        history: list[Received] = []
        out: list[tuple[tuple[bytes, ...], tuple[bool, ...]]] = [((), ())] * batch
        sent = np.zeros(batch, np.int64)
        retransmitted = np.zeros(batch)
        ledger, papr_db = Ledger.zeros(batch), np.zeros(batch)
        for t, rv in enumerate(self.harq.rvs):
            plans = [options[c].plan for c in choice[rows]]
            some = Packets(tuple(packets.of[b] for b in rows))
            x, books = self.digital.send(some, plans, rv, widest)
            num_symbols = sizes[rows]
            if t == 0 and signalled:
                x = np.concatenate([control.modulate(choice), x], axis=1)
                books = books + Ledger.zeros(batch, headers=np.full(batch, float(head)))
                num_symbols = num_symbols + head
            own = seeds.take(rows).child("harq", t) if t else seeds
            frame = Frame(x, num_symbols, books)
            received, booked = overhead.cross(point.channel, frame, point.n0, own)
            if t == 0:
                ledger, papr_db = booked, frame.papr_db()
                if signalled:
                    read = control.demodulate(received.slice(0, head))
                    read = np.where(read < len(options), read, 0)
                    received = received.slice(head, head + widest)
            else:
                retransmitted[rows] += booked.total
            sent[rows] += 1
            history.append(received)
            told = [options[c].plan for c in read[rows]]
            if self.harq.kind == "chase":
                found, ok, whole = self.digital.receive_together([add_up(history)], told, (0,))
            else:
                found, ok, whole = self.digital.receive_together(
                    history, told, self.harq.rvs[: t + 1]
                )
            for row, data, good in zip(rows, found, ok, strict=True):
                out[row] = data, good
            left = np.flatnonzero(~whole)
            if not left.size:
                break
            rows, history = rows[left], [one.take(left) for one in history]
        delivered = Delivered(tuple(data for data, _ in out), tuple(good for _, good in out))
        ledger = ledger + Ledger.zeros(batch, retransmissions=retransmitted)
        return Sent(delivered, ledger, sent, papr_db)
