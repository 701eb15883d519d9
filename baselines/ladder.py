"""A ladder of operating points per image: encode once, then every budget is a lookup.

    image --digest--> ladder: (scale, quality) -> packet, MSE        on disk, and in a small memory cache
    budget --search-> the rungs that decide about it, bisected towards the largest that fits -> the best of them

A ladder is keyed by the image's content and size, the codec, its parameters and its encoder's version. It holds the
rungs that budgets have asked for so far. Which rung a budget gets follows from the image and the budget alone, never
from what the ladder happens to hold: the search asks for the same rungs in the same order every time (see ``_search``).
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np

from baselines import store
from baselines.header import Header
from baselines.lru import Lru
from baselines.store import Rung, RungKey, Rungs
from linksim.errors import ImageError, LinksimError
from linksim.types import Decoded, Delivered, Packet, Packets, Status

FORMAT = 1  # of packets and colour conversion: raise it when either changes, and old ladders are left alone
_CHUNK = 16  # images in one run of an encoder
_SAVE_EVERY = 5.0  # seconds of encoding that a kill may cost
# Rungs on both sides of the last that fits at which a search looks too: sizes and MSE of neighbours are not always in
# order. With two the best of all rungs was missed for 24 of 79,314 budgets (bench_ladders.py --misses).
_NEIGHBOURS = 2

Coded = tuple[bytes, int]  # payload, note for the header

_ladders = Lru(16 << 20)
_prepared = Lru(2 << 20)
_pictures = Lru(8 << 20)
_count_lock = threading.Lock()
_count = 0


def encodings() -> int:
    """Pictures that source encoders have coded in this process so far, one per image and rung."""
    return _count


def _counted(pictures: int) -> None:
    global _count
    with _count_lock:
        _count += pictures


def workers() -> int:
    """Encoders that run at a time: LINKSIM_CODEC_JOBS, or the cores this process may use."""
    named = os.environ.get("LINKSIM_CODEC_JOBS", "")
    if named:
        if not named.isdigit() or int(named) < 1:
            raise LinksimError(f"LINKSIM_CODEC_JOBS must be a number from 1 up, got {named!r}")
        return int(named)
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@dataclass(frozen=True)
class LadderCodec(ABC):
    """A source codec with a quality parameter, as a ``linksim.types.Codec`` that meets any budget.

    Subclasses give ``qualities``, ``compress``, ``decompress``, ``version`` and ``min_bits``; their dataclass fields
    are the parameters. A picture is one packet: a counted header (see ``baselines.header``) and the payload.

    Args:
      ladder: when rungs are coded; what is sent is the same. "auto": with the first picture at a CBR all that any MCS
              may ask for there, so that a sweep over other SNRs does no source coding. "lazy": only what the budget at
              hand asks for; least work for few points. "full": every rung when a picture is first seen.
    """

    ladder: Literal["auto", "full", "lazy"] = "auto"

    codec: ClassVar[str]
    revision: ClassVar[int] = (
        0  # raise it when this codec's bytes change: old ladders are left alone
    )
    uses_prefix: ClassVar[bool] = (
        False  # whether ``decompress`` can use the first bytes of a payload
    )

    # ------------------------------------------------------------------------------------- what a codec gives

    @abstractmethod
    def qualities(self) -> dict[int, tuple[int, ...]]:
        """Scale (1, 2, 4) -> the encoder's quality parameters, smallest payload first."""

    @abstractmethod
    def version(self) -> str:
        """Name and version of the encoder."""

    @abstractmethod
    def compress(self, images: Sequence[np.ndarray], quality: int) -> list[Coded]:
        """Code pictures of one size. Args: images, each [H, W, 3] uint8. Returns: payload and note of each."""

    @abstractmethod
    def decompress(self, payload: bytes, header: Header, whole: bool) -> np.ndarray | None:
        """The picture at its coded size, [h, w, 3] uint8, or None; may raise on damage.

        Args: whole: False where the payload is a prefix of what was sent.
        """

    @abstractmethod
    def min_bits(self, height: int, width: int) -> int:
        """The smallest budget [bits] that any picture of this size fits, header included."""

    # -------------------------------------------------------------------------------------- the Codec protocol

    def encode(self, images: np.ndarray, budget_bits: np.ndarray) -> Packets:
        """See Codec.encode. Raises ImageError if images are not [B, H, W, 3] uint8."""
        _check(images)
        budgets = [int(bits) // 8 for bits in np.broadcast_to(budget_bits, len(images))]
        cases = list(zip(self._keys(images), budgets, strict=True))
        found = self._searched(images, cases)
        return Packets(
            tuple(
                (Packet(rung.data, rung.header_bytes),) if rung else ()
                for rung in map(found.__getitem__, cases)
            )
        )

    def distortion(self, images: np.ndarray, budget_bits: np.ndarray) -> np.ndarray:
        """See Codec.distortion: exact, of the picture that ``encode`` sends."""
        _check(images)
        keys, budgets = self._keys(images), [int(bits) // 8 for bits in budget_bits]
        found = self._searched(images, [(key, budget) for key in keys for budget in budgets])
        errors = {case: rung.mse if rung else np.inf for case, rung in found.items()}
        return np.array([[errors[key, budget] for budget in budgets] for key in keys])

    def prepare(self, images: np.ndarray, budget_bits: np.ndarray) -> None:
        """See Preparing.prepare: codes what these budgets ask for, unless ``ladder`` is lazy."""
        _check(images)
        if self.ladder == "lazy":
            return
        budgets = sorted({int(bits) // 8 for bits in budget_bits})
        keys = [k for k in self._keys(images) if _prepared.get((k, *budgets)) is None]
        if keys:
            self._searched(images, [(key, budget) for key in keys for budget in budgets])
        for key in keys:
            _prepared.put((key, *budgets), True, 200 + 40 * len(budgets))

    def quality_levels(self) -> tuple[int, ...]:
        """See Levelled.quality_levels: a tier for each size at which pictures are coded, the full size last."""
        return tuple(
            len(self.qualities()[scale]) for scale in sorted(self.qualities(), reverse=True)
        )

    def encode_at(self, images: np.ndarray, level: int) -> Packets:
        """See Levelled.encode_at: every image at the same quality parameter."""
        _check(images)
        rungs = [
            (scale, q) for scale, qs in sorted(self.qualities().items(), reverse=True) for q in qs
        ]
        keys = self._keys(images)
        wanted = self._all() if self.ladder == "full" else [rungs[level]]
        ladders = self._with(images, keys, {key: wanted for key in keys})
        found = [ladders[key][rungs[level]] for key in keys]
        return Packets(tuple((Packet(rung.data, rung.header_bytes),) for rung in found))

    def decode(self, delivered: Delivered) -> Decoded:
        """See Codec.decode. An image without packets is an outage; a lost one comes as an empty packet."""
        made = [
            self._decode_one(packets[0], ok[0]) if packets else (None, Status.OUTAGE)
            for packets, ok in zip(delivered.packets, delivered.ok, strict=True)
        ]
        return Decoded(tuple(image for image, _ in made), tuple(status for _, status in made))

    # --------------------------------------------------------------------------------------------- decoding

    def _decode_one(self, data: bytes, ok: bool) -> tuple[np.ndarray | None, Status]:
        if not data or not (ok or self.uses_prefix):
            return None, Status.FAILED
        image = self._picture(data, ok)
        if image is None:
            return None, Status.FAILED
        return image, Status.OK if ok else Status.CONCEALED

    def _picture(self, data: bytes, whole: bool) -> np.ndarray | None:
        """The picture of a packet, [H, W, 3] uint8, or None where the bytes make none."""
        state = hashlib.blake2b(self._configuration, digest_size=16)
        state.update(b"whole" if whole else b"prefix")
        state.update(data)
        key = state.digest()
        image = _pictures.get(key)
        if image is None:
            try:
                header, payload = Header.unpack(data)
                if header.scale not in self.qualities():
                    return None
                image = self.decompress(payload, header, whole)
                if image is None or image.shape != (*header.coded, 3):
                    return None
                if header.scale > 1:
                    image = _resized(image, header.height, header.width)
            except LinksimError:  # a program is missing: no fault of the bytes
                raise
            except (
                Exception
            ):  # damage takes many forms in other people's decoders; all of them mean no picture
                return None
            image = image.copy()  # a crop would hold its padded picture, beyond the cache's bound
            _pictures.put(key, image, image.nbytes)
        return image.copy()

    @staticmethod
    def _header(height: int, width: int) -> bytes:
        return Header(height, width).pack()

    # ------------------------------------------------------------------------------------------ the ladders

    @property
    def _configuration(self) -> bytes:
        """Everything that decides the bytes, but for the image."""
        skip = {"ladder"}
        settings: dict[str, Any] = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in skip
        }
        identity = [FORMAT, self.codec, self.version(), settings]
        identity += [self.revision] if self.revision else []
        return json.dumps(identity, sort_keys=True).encode()

    def _keys(self, images: np.ndarray) -> list[str]:
        """One key per image: equal for equal content, size and configuration."""
        base = hashlib.blake2b(self._configuration, digest_size=20)
        keys = []
        for image in images:
            digest = base.copy()
            digest.update(repr(image.shape).encode())
            digest.update(np.ascontiguousarray(image).tobytes())
            keys.append(digest.hexdigest())
        return keys

    def _all(self) -> list[RungKey]:
        return [(scale, q) for scale, qs in self.qualities().items() for q in qs]

    def _with(
        self, images: np.ndarray, keys: Sequence[str], wanted: dict[str, list[RungKey]]
    ) -> dict[str, Rungs]:
        """Ladders by key, each with the rungs wanted of it; what is missing is encoded and saved."""
        ladders = {key: self._open(key, wanted[key]) for key in wanted}
        self._fill(dict(zip(keys, images, strict=True)), ladders, wanted)
        return ladders

    def _fill(
        self,
        images: dict[str, np.ndarray],
        ladders: dict[str, Rungs],
        wanted: dict[str, list[RungKey]],
    ) -> None:
        missing: dict[RungKey, list[str]] = {}
        for key, rungs in wanted.items():
            for rung in rungs:
                if rung not in ladders[key]:
                    missing.setdefault(rung, []).append(key)
        if missing:
            self._build(images, ladders, missing)

    def _open(self, key: str, wanted: Iterable[RungKey] = ()) -> Rungs:
        held = _ladders.get(key)
        if held is None or any(rung not in held for rung in wanted):
            held = {**store.load(self.codec, key), **(held or {})}
            _ladders.put(key, held, _size(held))
        return dict(held)

    def _build(
        self,
        images: dict[str, np.ndarray],
        ladders: dict[str, Rungs],
        missing: dict[RungKey, list[str]],
    ) -> None:
        jobs = [
            (rung, keys[i : i + _CHUNK])
            for rung, keys in missing.items()
            for i in range(0, len(keys), _CHUNK)
        ]
        pool = ThreadPoolExecutor(workers(), thread_name_prefix=f"{self.codec}-encoder")
        unsaved: set[str] = set()
        saved_at = time.monotonic()
        try:
            futures = {
                pool.submit(self._rungs, [images[k] for k in keys], rung): (rung, keys)
                for rung, keys in jobs
            }
            for future in as_completed(futures):
                rung, keys = futures[future]
                for key, made in zip(keys, future.result(), strict=True):
                    ladders[key][rung] = made
                    unsaved.add(key)
                if time.monotonic() - saved_at > _SAVE_EVERY:
                    self._save(ladders, unsaved)
                    unsaved, saved_at = set(), time.monotonic()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._save(ladders, unsaved)

    def _save(self, ladders: dict[str, Rungs], keys: set[str]) -> None:
        for key in keys:
            store.save(self.codec, key, ladders[key])
            _ladders.put(key, dict(ladders[key]), _size(ladders[key]))

    def _rungs(self, images: Sequence[np.ndarray], key: RungKey) -> list[Rung]:
        """Encode images at one rung, decode them again and measure."""
        scale, quality = key
        height, width = images[0].shape[:2]
        rows, columns = Header(height, width, scale).coded
        small = [_resized(image, rows, columns) if scale > 1 else image for image in images]
        made = []
        coded = self.compress(small, quality)
        _counted(len(coded))
        for image, (payload, note) in zip(images, coded, strict=True):
            head = Header(height, width, scale, note).pack()
            decoded = self._picture(head + payload, True)
            if decoded is None:
                raise LinksimError(
                    f"{self.version()} made a {height}x{width} picture at {key} that its decoder does not show; "
                    "use another version of the encoder or another preset"
                )
            error = image.astype(np.float32) - decoded
            made.append(Rung(head + payload, len(head), float(np.mean(error**2, dtype=np.float64))))
        return made

    # ---------------------------------------------------------------------------------------------- picking

    def _searched(
        self, images: np.ndarray, cases: Iterable[tuple[str, int]]
    ) -> dict[tuple[str, int], Rung | None]:
        """The rung of each (ladder's key, budget in bytes), None where nothing fits; codes what is missing for that.

        All searches go on side by side, so that one run of the encoder serves many images.
        """
        of = dict(zip(self._keys(images), images, strict=True))
        every = self._all() if self.ladder == "full" else []
        cases = dict.fromkeys(cases)
        ladders = {key: self._open(key, every) for key in dict.fromkeys(key for key, _ in cases)}
        self._fill(of, ladders, {key: every for key in ladders})
        found: dict[tuple[str, int], Rung | None] = {}
        reread: set[str] = set()
        while True:
            wanted: dict[str, dict[RungKey, None]] = {}
            for case in [case for case in cases if case not in found]:
                best, missing = self._search(ladders[case[0]], case[1])
                if missing:
                    wanted.setdefault(case[0], {}).update(dict.fromkeys(missing))
                else:
                    found[case] = best
            if not wanted:
                return found
            fresh = [key for key in wanted if key not in reread]
            reread.update(fresh)
            for key in fresh:  # another process may have filled it
                ladders[key] = self._open(key, wanted[key])
            self._fill(of, ladders, {key: list(rungs) for key, rungs in wanted.items()})

    def _search(self, rungs: Rungs, budget: int) -> tuple[Rung | None, list[RungKey]]:
        """The best picture within a budget [bytes], or which rungs have to be coded before that can be said.

        Each tier is bisected towards the largest rung that fits; its neighbours are looked at too. A tier of smaller
        pictures is searched only where its best one is better than what the tiers before it gave. The least MSE among
        the rungs asked for on the way that fit wins, then the smaller packet. Where along every tier sizes grow and
        MSE falls, that is the best of all rungs. Else it may miss one, but it is the same one whatever the ladder holds
        beside: what is asked for depends on the image and the budget alone.
        """
        tiers = list(self.qualities().items())
        tops = [(scale, qualities[-1]) for scale, qualities in tiers[1:]]
        best: Rung | None = None
        for number, (scale, qualities) in enumerate(tiers):
            if number and best is not None and best.mse <= rungs[tops[number - 1]].mse:
                continue
            low, high = -1, len(qualities)
            while high - low > 1:
                middle = (low + high) // 2
                rung = rungs.get((scale, qualities[middle]))
                if rung is None:
                    return None, [k for k in [(scale, qualities[middle]), *tops] if k not in rungs]
                if len(rung.data) <= budget:
                    low, best = middle, _better(best, rung)
                else:
                    high = middle
            near = qualities[max(0, low - _NEIGHBOURS) : high + 1 + _NEIGHBOURS]
            missing = [k for k in [*((scale, q) for q in near), *tops] if k not in rungs]
            if missing:
                return None, missing
            for quality in near:
                if len(rungs[scale, quality].data) <= budget:
                    best = _better(best, rungs[scale, quality])
        return best, []


def _better(one: Rung | None, other: Rung) -> Rung:
    if one is None or (other.mse, len(other.data)) < (one.mse, len(one.data)):
        return other
    return one


def _size(rungs: Rungs) -> int:
    return sum(len(r.data) + 200 for r in rungs.values())


def _check(images: np.ndarray) -> None:
    if (
        images.ndim != 4
        or images.shape[-1] != 3
        or images.dtype != np.uint8
        or 0 in images.shape[1:]
    ):
        raise ImageError(
            f"source codecs take [B, H, W, 3] uint8 images, got {list(images.shape)} {images.dtype}; convert to RGB"
        )


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Lanczos both ways. Args: [h, w, 3] uint8. Returns: [height, width, 3] uint8."""
    pillow = _pillow()
    return np.asarray(pillow.fromarray(image).resize((width, height), pillow.Resampling.LANCZOS))


@cache
def _pillow() -> Any:
    from PIL import Image

    return Image
