"""Images -> packets of tokens: as many tokens as fit their rooms."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from linksim.codec.token_coder import HEAD_SLACK
from linksim.codec.tokens import SPARE, TokenCodec, whole_bytes
from linksim.link.slices import Rooms, Slice
from linksim.link.token_packets import base_layer, layout_of, wrap
from linksim.packet.base_layer import BaseLayer
from linksim.packet.reed_solomon import LENGTH_BYTES
from linksim.packet.token_header import TokenFormat

_KEPT = 1 << 12  # images whose packets are remembered
_TRIES = 6  # at a number of tokens that fills the packets

_kept: OrderedDict[bytes, list[Slice]] = OrderedDict()


@dataclass(frozen=True)
class TokenSender:
    """The transmitter. Args: codec: of the tokens."""

    codec: TokenCodec

    def send(self, images: np.ndarray, rooms: Rooms, form: TokenFormat) -> list[list[Slice]]:
        """The packets of each image, none where not even the fewest tokens fit.

        From memory where the same image went into the same rooms before: what is sent does not depend on what gets
        lost, so a sweep over losses codes each image once.
        """
        state = repr((self.codec, self.codec.digest, form)).encode()
        keys = []
        for image, total, each in zip(images, rooms.total, rooms.each, strict=True):
            room = np.append(each, total).astype(np.int64).tobytes()
            shape = repr(image.shape).encode()
            data = state + room + shape + np.ascontiguousarray(image).tobytes()
            keys.append(hashlib.blake2b(data, digest_size=16).digest())
        fresh = {key: b for b, key in enumerate(keys) if key not in _kept}
        if fresh:
            rows = np.array(list(fresh.values()))
            some = replace(rooms, total=rooms.total[rows], each=rooms.each[rows])
            made = self._encode(images[rows], some, form)
            _kept.update(zip(fresh, made, strict=True))
        found = []
        for key in keys:
            _kept.move_to_end(key)
            found.append(_kept[key])
        while len(_kept) > _KEPT:
            _kept.popitem(last=False)
        return found

    def _encode(self, images: np.ndarray, rooms: Rooms, form: TokenFormat) -> list[list[Slice]]:
        """The packets of each image: as many tokens as fit, none where not even the fewest do."""
        codec, fixed = self.codec, form.overhead_bytes
        count, layer = form.count, base_layer(form)
        tokens = codec.tokenise(images)
        try:
            least = layout_of(form)
        except ValueError:
            return [[] for _ in images]
        found: list[list[Slice]] = [[] for _ in images]
        # What is left for bodies when parity packets are as long as the others. They are longer, by how much only the
        # bodies tell: the search goes on from what a first try takes.
        whole = rooms.total - count * fixed
        if layer is None:
            whole = whole - form.parity * LENGTH_BYTES
        budgets = np.maximum(whole, 0) * form.packets // count
        tried: list[set[int]] = [set() for _ in images]
        most = np.zeros(len(images), np.int64)  # tokens of what was found
        rows = np.arange(len(images))
        sizes = None if layer is None else partial(based_sizes, layer)
        for _ in range(_TRIES):
            layouts = codec.fit(tokens[rows], least, budgets[rows], sizes=sizes)
            fitting = [
                (int(b), layout)
                for b, layout in zip(rows, layouts, strict=True)
                if layout is not None and layout.tokens not in tried[b]
            ]
            if not fitting:
                break
            rows = np.array([b for b, _ in fitting])
            packed = codec.pack(tokens[rows], [layout for _, layout in fitting])
            again = []
            for (b, layout), mine in zip(fitting, packed, strict=True):
                tried[b].add(layout.tokens)
                packets = wrap(form, layout.tokens, mine)
                scale = _scale(packets, int(rooms.total[b]), rooms.each[b], fixed)
                if scale >= 1 and layout.tokens > most[b]:
                    found[b], most[b] = packets, layout.tokens
                # the parity of a base layer is shorter than estimated, so that packets do not fill their budget
                of_tokens = sum(len(p.data) - fixed for p in packets[: form.packets])
                spent = of_tokens if layer is None else int(budgets[b])
                wanted = _next_budget(spent, scale)
                if wanted is not None and wanted != budgets[b]:
                    budgets[b] = wanted
                    again.append(b)
            rows = np.array(again, np.int64)
            if not rows.size:
                break
        return found


def based_sizes(layer: BaseLayer, cost: np.ndarray) -> np.ndarray:
    """Bytes of packets without their overhead. Args: cost [N, 2] bits, of the base layer and the rest. Returns: [N]."""
    head = int(np.ceil(cost[:, 0].max() / 8 + HEAD_SLACK))
    return whole_bytes(cost) + layer.added_bytes(head)


def _next_budget(spent: int, scale: float) -> int | None:
    """What to fit next after packets of ``spent`` bytes that might grow by ``scale``; None: they fill their rooms."""
    if scale < 1:
        return int(spent * scale * 0.997)
    return int(spent * scale) if scale > 1 + SPARE else None


def _scale(packets: Sequence[Slice], total: int, each: np.ndarray, fixed: int) -> float:
    """By how much the bodies of packets might grow: below 1 where they do not fit their rooms."""
    sizes = np.array([len(p.data) - fixed for p in packets])
    room = total - fixed * len(packets)
    scales = [room / max(int(sizes.sum()), 1), *((each - fixed) / np.maximum(sizes, 1))]
    return float(min(scales))
