"""A separated system under ``budget: mean``: one quality level for a whole set, each image its own channel uses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from linksim.errors import BudgetError
from linksim.link import amc as amc_rules
from linksim.link import csi, overhead, set_budget
from linksim.link.amc import Amc, Rule
from linksim.link.digital import DigitalLink
from linksim.link.packet_link import PacketLink
from linksim.link.set_budget import NUM_USES, Blocks, McsRule, Sizes
from linksim.link.system import (
    GREY,
    Frames,
    LinkPoint,
    OperatingPoint,
    Outcome,
    apply_failure_policy,
    final_status,
    mse_of_grey,
)
from linksim.packet import fragment
from linksim.phy.mcs import TABLE, Mcs
from linksim.seeds import FrameSeeds
from linksim.types import (
    BlockPlan,
    ChannelCode,
    Codec,
    Delivered,
    Frame,
    Ledger,
    Levelled,
    Packets,
    Received,
    TxKnowledge,
)

Totals = Callable[[int], float]
WINDOW = 7  # schemes that blocks of a point may have under the rule "target"


@dataclass(frozen=True)
class SeparatedSet:
    """What ``Separated`` does where the budget is the set's.

    Args:
      codec:   the transmitter's, with levels.
      decoder: the receiver's.
      digital: the link of a block.
      amc:     how the MCS is chosen. "fixed": as given. "target": by the size of each image's block, from the MCS that
               a block of the mean budget would have and its neighbours (see WINDOW). "expected-distortion": the one
               MCS, with the level that meets the budget at it, that gives the set the least expected MSE.
      mtu:     of the packet link.
    """

    codec: Levelled
    decoder: Codec
    digital: DigitalLink
    amc: Amc
    mtu: int
    _coded: dict[tuple[int, bytes], tuple[int, float]] = field(default_factory=dict)
    _blocks: Blocks = field(default_factory=dict)

    @property
    def _code(self) -> ChannelCode:
        return self.digital.code

    # -------------------------------------------------------------------------------------------- calibration

    def calibrate(self, frames: Frames, point: LinkPoint) -> OperatingPoint:
        """See Calibrated.calibrate. Returns: level, and mcs where the set has one by expected distortion."""
        tiers = self.codec.quality_levels()
        if point.kind == "packet":
            level = self._level(tiers, lambda n: self._mean_bpp(frames, point, n), point.bpp, "bpp")
            return {"level": level}
        seeds = FrameSeeds.of(0, 1)
        rule = self._rule(csi.knowledge(point, 32, seeds))
        if rule != "expected-distortion":
            level = self._level(
                tiers, lambda n: self._mean_cbr(frames, point, n, None), point.cbr, "cbr"
            )
            return {"level": level}
        best: tuple[float, OperatingPoint] | None = None
        for mcs in TABLE:
            expected = self._expected(frames, point, tiers, mcs)
            if expected is not None and (best is None or expected[0] < best[0]):
                best = expected
        if best is None:
            raise BudgetError(f"no MCS carries the set's lowest level at cbr={point.cbr:g}")
        return best[1]

    def _rule(self, tx: TxKnowledge) -> Rule:
        rule = self.amc.resolve(tx)
        if rule == "genie":
            raise BudgetError("amc rule genie decides frame by frame; use budget: per_image")
        return rule

    def _level(self, tiers: tuple[int, ...], mean: Totals, budget: float, name: str) -> int:
        level = set_budget.best_level(tiers, lambda n: mean(n) <= budget * (1 + 1e-9))
        if level is None:
            least = min(mean(int(start)) for start in np.cumsum([0, *tiers[:-1]]))
            raise BudgetError(
                f"{name}={budget:g} is below the {least:.3g} that the set takes at the lowest level; raise it"
            )
        return level

    def _expected(
        self, frames: Frames, point: LinkPoint, tiers: tuple[int, ...], mcs: Mcs
    ) -> tuple[float, OperatingPoint] | None:
        """The set's expected MSE at an MCS and the level that meets the budget at it."""
        fails = {}
        for images, seeds in frames():
            shape = images.shape[1:3]
            if shape not in fails:
                uses = point.uses(*shape)
                try:
                    plan = self._code.plan(
                        uses - NUM_USES, mcs.num_bits_per_symbol, mcs.target_rate
                    )
                except (BudgetError, ValueError):
                    return None
                tx = csi.knowledge(point, uses, seeds.take([0]))
                law_db = tx.snr_db(mcs.num_bits_per_symbol)
                fails[shape] = float(self._code.error_rate(law_db, plan).mean())
        if min(fails.values()) > 0.95:
            return None
        try:
            level = self._level(
                tiers, lambda n: self._mean_cbr(frames, point, n, mcs), point.cbr, "cbr"
            )
        except BudgetError:
            return None
        total, count = 0.0, 0
        for images, _ in frames():
            fail = fails[images.shape[1:3]]
            failed = mse_of_grey(images)
            total += float(((1 - fail) * self._distortion(images, level) + fail * failed).sum())
            count += len(images)
        return total / count, {"level": level, "mcs": mcs.index}

    def _mean_cbr(self, frames: Frames, point: LinkPoint, level: int, mcs: Mcs | None) -> float:
        """Mean all-in channel uses per source sample at a level; the MCS by the rule where none is given.

        A frame that faces so deep a fade that not even the lowest level could be told (``Sizes.block``) is an outage
        and takes its control words alone; inf where another frame is one, or all are.
        """
        total, count, sent = 0.0, 0, 0
        for images, seeds in frames():
            shape = images.shape[1:3]
            rules = [McsRule((mcs,))] * len(images) if mcs else self._rules(shape, point, seeds)
            blocks = self._blocks_for(shape, point, rules, self._bits(images, level))
            if None in blocks:
                least = self._blocks_for(shape, point, rules, self._bits(images, 0))
                if any(own is None and lowest for own, lowest in zip(blocks, least, strict=True)):
                    return float("inf")
            for block in blocks:
                data = NUM_USES + (block[1].num_symbols if block else 0)
                total += overhead.total_uses(point.channel, data) / (3 * shape[0] * shape[1])
                sent += block is not None
            count += len(images)
        return total / count if sent else float("inf")

    def _blocks_for(
        self, shape: Sequence[int], point: LinkPoint, rules: list[McsRule], bits: np.ndarray
    ) -> list[tuple[Mcs, BlockPlan] | None]:
        sizes = self._sizes(shape, point)
        return [sizes.block(r, int(n), self._blocks) for r, n in zip(rules, bits, strict=True)]

    def _mean_bpp(self, frames: Frames, point: LinkPoint, level: int) -> float:
        total, count = 0.0, 0
        for images, _ in frames():
            sizes = self._bits(images, level) // 8
            wire = [
                n + fragment.OVERHEAD_BYTES * fragment.num_fragments(int(n), self.mtu)
                for n in sizes
            ]
            total += 8.0 * float(np.sum(wire)) / (images.shape[1] * images.shape[2])
            count += len(images)
        return total / count

    def _bits(self, images: np.ndarray, level: int) -> np.ndarray:
        return np.array([bits for bits, _ in self._coded_at(images, level, False)], np.int64)

    def _distortion(self, images: np.ndarray, level: int) -> np.ndarray:
        return np.array([mse for _, mse in self._coded_at(images, level, True)])

    def _coded_at(self, images: np.ndarray, level: int, with_mse: bool) -> list[tuple[int, float]]:
        """Bits and MSE (NaN if not asked for) of each image at a level; each picture is coded once."""
        keys = [(level, hashlib.blake2b(i.tobytes(), digest_size=16).digest()) for i in images]
        first = {key: b for b, key in reversed(list(enumerate(keys)))}
        rows = [
            b
            for key, b in first.items()
            if key not in self._coded or (with_mse and np.isnan(self._coded[key][1]))
        ]
        if rows:
            packets = self.codec.encode_at(images[rows], level)
            bits = set_budget.bits_of(packets)
            mse = np.full(len(rows), np.nan)
            if with_mse:
                data = tuple(tuple(p.data for p in row) for row in packets.of)
                shown = self.decoder.decode(Delivered(data, ((True,),) * len(rows))).images
                for i, (row, picture) in enumerate(zip(rows, shown, strict=True)):
                    error = images[row].astype(np.float64) - (GREY if picture is None else picture)
                    mse[i] = float(np.mean(error**2))
            for row, n, error in zip(rows, bits, mse, strict=True):
                self._coded[keys[row]] = (int(n), float(error))
        return [self._coded[key] for key in keys]

    # --------------------------------------------------------------------------------------------- simulation

    def _sizes(self, shape: Sequence[int], point: LinkPoint) -> Sizes:
        return Sizes(self._code, point.uses(shape[0], shape[1]))

    def _rules(self, shape: Sequence[int], point: LinkPoint, seeds: FrameSeeds) -> list[McsRule]:
        """How the MCS of each frame follows from its size, as both ends know it."""
        uses = point.uses(shape[0], shape[1])
        tx = csi.knowledge(point, uses, seeds)
        rule = self._rule(tx)
        if rule == "fixed":
            assert self.amc.mcs is not None
            return [McsRule((TABLE[self.amc.mcs],))] * len(seeds)
        if rule == "expected-distortion":
            return [McsRule((TABLE[int(point.settled("mcs"))],))] * len(seeds)
        if uses <= NUM_USES:
            raise BudgetError(
                f"{uses} channel uses do not hold the {NUM_USES} of the control words; raise cbr"
            )
        options = amc_rules.candidates(self._code, uses - NUM_USES)
        chosen = amc_rules.choose_for_target(options, self._code, tx, self.amc.target)
        believed = np.stack([amc_rules.believed(tx, option) for option in options])
        rules = []
        for b, choice in enumerate(chosen):
            near = slice(max(0, choice + 2 - WINDOW), choice + 2)
            rules.append(
                McsRule(
                    tuple(option.mcs for option in options[near]),
                    tuple(believed[near, b].tolist()),
                    self.amc.target,
                )
            )
        return rules

    def simulate(self, images: np.ndarray, point: LinkPoint, seeds: FrameSeeds) -> Outcome:
        """See System.simulate."""
        packets = self.codec.encode_at(images, int(point.settled("level")))
        if point.kind == "packet":
            assert point.erasure is not None
            delivered, ledger = PacketLink(self.mtu).cross(packets, point.erasure, seeds)
            names: tuple[str | None, ...] = (None,) * len(images)
        else:
            delivered, ledger, names = self._cross(packets, images.shape[1:3], point, seeds)
        if point.failure != "good-prefix":
            delivered = delivered.without_prefixes()
        decoded = self.decoder.decode(delivered)
        return Outcome(
            apply_failure_policy(decoded, images.shape, point.failure),
            final_status(decoded, images.shape),
            ledger,
            names,
        )

    def _cross(
        self,
        packets: Packets,
        shape: Sequence[int],
        point: LinkPoint,
        seeds: FrameSeeds,
    ) -> tuple[Delivered, Ledger, tuple[str | None, ...]]:
        """Send every image in a block of its own size. Returns: what arrives, the ledger, names of the MCS used."""
        assert point.channel is not None
        sizes, rules = self._sizes(shape, point), self._rules(shape, point, seeds)
        blocks = self._blocks_for(shape, point, rules, set_budget.bits_of(packets))
        rows = [b for b, block in enumerate(blocks) if block]
        plans = [block[1] for block in blocks if block]
        used = np.array([block[1].num_symbols if block else 0 for block in blocks], np.int64)
        words = np.array([sizes.word(block[1]) if block else 0 for block in blocks])
        x = np.zeros((len(blocks), NUM_USES + int(used.max(initial=0))), np.complex64)
        x[:, :NUM_USES] = set_budget.modulate(words)
        books = {name: np.zeros(len(blocks)) for name in Ledger.zeros(0).entries()}
        books["headers"] += NUM_USES
        if rows:
            sent = Packets(tuple(packets.of[b] for b in rows))
            x[rows, NUM_USES:], ledger = self.digital.send(sent, plans, width=int(used.max()))
            for name, entry in ledger.entries().items():
                books[name][rows] += entry
        frame = Frame(x, NUM_USES + used, Ledger(**books))
        received, total = overhead.cross(point.channel, frame, point.n0, seeds)
        names = tuple(block[0].name if block else None for block in blocks)
        return self._deliver(received, sizes, rules), total, names

    def _deliver(self, received: Received, sizes: Sizes, rules: list[McsRule]) -> Delivered:
        """The receiver's side: reads the size of each block, then the block."""
        block = received.slice(NUM_USES, received.y.shape[1])
        room = block.y.shape[1]
        words = set_budget.demodulate(received.slice(0, NUM_USES))
        plans = [sizes.read(int(word), rule) for word, rule in zip(words, rules, strict=True)]
        rows = [b for b, plan in enumerate(plans) if plan and plan.num_symbols <= room]
        packets: list[tuple[bytes, ...]] = [(b"",)] * len(plans)
        ok: list[tuple[bool, ...]] = [(False,)] * len(plans)
        if rows:
            known = [plan for plan in plans if plan and plan.num_symbols <= room]
            for row, data, good in zip(
                rows, *self.digital.receive(block.take(rows), known), strict=True
            ):
                packets[row], ok[row] = data, good
        for row in np.flatnonzero(words == 0):  # nothing was sent
            packets[row], ok[row] = (), ()
        return Delivered(tuple(packets), tuple(ok))
