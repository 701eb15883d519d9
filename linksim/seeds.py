"""Named seeds: every random number in a run comes from one root seed through a path of names.

The name of the system is never in the path of a channel's seed, so all systems meet the same fades, noise and losses.
Each frame (one image, one realisation) has a seed of its own: what happens to a frame does not depend on which other
frames share its batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Seed:
    """A 128-bit seed with named children.

    Args: key: 16 bytes.
    """

    key: bytes

    @classmethod
    def root(cls, number: int) -> Seed:
        """The seed that a scenario's ``seed: number`` stands for."""
        return cls(hashlib.blake2b(f"linksim/{number}".encode(), digest_size=16).digest())

    def child(self, *names: object) -> Seed:
        """The seed at the end of the path ``names``; equal names give equal seeds on every machine."""
        key = self.key
        for name in names:
            key = hashlib.blake2b(str(name).encode(), key=key, digest_size=16).digest()
        return Seed(key)

    def generator(self) -> np.random.Generator:
        """A fresh NumPy generator (Philox); calling twice gives the same stream twice."""
        return np.random.Generator(np.random.Philox(key=int.from_bytes(self.key, "little")))

    def integer(self, bits: int = 31) -> int:
        """An integer in [0, 2^bits), for libraries that take one (Sionna's ``config.seed``)."""
        return int.from_bytes(self.key[:8], "little") >> (64 - bits)


@dataclass(frozen=True)
class FrameSeeds(Sequence[Seed]):
    """One seed per frame of a batch, drawn from frame by frame.

    Args: seeds: B seeds.
    """

    seeds: tuple[Seed, ...]

    @classmethod
    def of(cls, root: Seed | int, batch: int) -> FrameSeeds:
        """Seeds for ``batch`` frames numbered from 0, for tests and notebooks."""
        root = Seed.root(root) if isinstance(root, int) else root
        return cls(tuple(root.child("frame", b) for b in range(batch)))

    def child(self, *names: object) -> FrameSeeds:
        """The children of every frame's seed along the path ``names``."""
        return FrameSeeds(tuple(seed.child(*names) for seed in self.seeds))

    def normal(self, *shape: int) -> np.ndarray:
        """Standard normal draws. Returns: [B, *shape] float32."""
        return self._stack(
            [s.generator().standard_normal(shape, np.float32) for s in self.seeds], shape
        )

    def complex_normal(self, *shape: int) -> np.ndarray:
        """Circular complex normal draws with E|w|^2 = 1. Returns: [B, *shape] complex64.

        A longer draw begins with the shorter one (along the last axis of a 1-D shape).
        """
        pairs = self.normal(*shape, 2) * np.float32(np.sqrt(0.5))
        return np.ascontiguousarray(pairs).view(np.complex64)[..., 0]

    def uniform(self, *shape: int) -> np.ndarray:
        """Uniform draws in [0, 1). Returns: [B, *shape] float64."""
        draws = [s.generator().random(shape) for s in self.seeds]
        return np.stack(draws) if draws else np.zeros((0, *shape))

    @staticmethod
    def _stack(draws: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        return np.stack(draws) if draws else np.zeros((0, *shape), np.float32)

    def __len__(self) -> int:
        return len(self.seeds)

    def __iter__(self) -> Iterator[Seed]:
        return iter(self.seeds)

    def __getitem__(self, index):  # type: ignore[override]
        picked = self.seeds[index]
        return FrameSeeds(picked) if isinstance(index, slice) else picked

    def take(self, index: Sequence[int] | np.ndarray) -> FrameSeeds:
        """The seeds of the frames at ``index``, in that order."""
        return FrameSeeds(tuple(self.seeds[int(i)] for i in index))
