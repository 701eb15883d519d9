"""Bodies of tokens <-> packets: headers and parity around them, and whatever arrived taken apart again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from linksim.codec.token_coder import Packed
from linksim.codec.token_layout import Layout
from linksim.link.slices import Slice
from linksim.packet.base_layer import BaseLayer
from linksim.packet.reed_solomon import ReedSolomon
from linksim.packet.token_header import TokenFormat, TokenPacket, read_full


def layout_of(form: TokenFormat, tokens: int | None = None) -> Layout:
    """The layout of a picture with so many tokens (None: the fewest). Raises ValueError: there is none."""
    return Layout(
        form.rows,
        form.columns,
        form.packets,
        form.interleave,  # type: ignore[arg-type]
        form.descriptions,
        tokens or form.sent or max(form.packets, form.base * form.rows * form.columns),
        form.stages,
        form.sent,
        base=form.base,
    )


def base_layer(form: TokenFormat) -> BaseLayer | None:
    """How the base layer is protected, if there is one."""
    return BaseLayer(form.packets, form.parity) if form.base else None


def wrap(form: TokenFormat, tokens: int, packed: Packed) -> list[Slice]:
    """The packets of an image, parity behind, from the bodies of those that carry tokens."""
    if (base := base_layer(form)) is not None:
        return [
            Slice(
                form.wrap(number, tokens, front + piece + body),
                form.header_bytes + len(front),
                form.check_bytes,
                parity_bytes=len(piece),
            )
            for number, (front, piece, body) in enumerate(base.spread(packed.bodies, packed.head))
        ]
    bodies = packed.bodies
    whole = [*bodies, *ReedSolomon(form.packets, form.parity).protect(bodies)]
    return [
        Slice(
            form.wrap(number, tokens, body),
            form.header_bytes,
            form.check_bytes,
            parity_bytes=len(body) if number >= form.packets else 0,
        )
        for number, body in enumerate(whole)
    ]


def unwrap(
    packets: Sequence[bytes | None], mine: TokenFormat
) -> tuple[Layout, list[bytes | None], np.ndarray] | None:
    """Layout and bodies of an image's packets, in any order; None where none can be used. Never raises on any bytes.

    The third is [N] bool: where the head of a body alone came back (``linksim.packet.base_layer``).

    What most packets say of the picture holds, and of two packets with one number the first. In full form the packets
    may be laid out in another way than ``mine``, as long as weights and picture size are the same.
    """
    found: list[tuple[TokenFormat, TokenPacket]] = []
    for data in packets:
        if data is None:
            continue
        if mine.form == "full":
            read = read_full(data, mine.check)
            if read is not None and _readable(read[0], mine):
                found.append(read)
        else:
            packet = mine.open(data)
            if packet is not None:
                found.append((mine, packet))
    votes = Counter((form, packet.tokens) for form, packet in found)
    if not votes:
        return None
    chosen = form, tokens = votes.most_common(1)[0][0]
    try:
        layout = layout_of(form, tokens)
    except ValueError:
        return None
    numbered: dict[int, bytes] = {}
    for other, packet in found:
        if (other, packet.tokens) == chosen:
            numbered.setdefault(packet.number, packet.body)
    bodies = [numbered.get(n) for n in range(form.count)]
    if (base := base_layer(form)) is not None:
        return layout, *base.gather(bodies)
    recovered = ReedSolomon(form.packets, form.parity).recover(bodies)
    return layout, recovered, np.zeros(form.packets, bool)


def _readable(form: TokenFormat, mine: TokenFormat) -> bool:
    return (form.model, form.rows, form.columns, form.stages) == (
        mine.model,
        mine.rows,
        mine.columns,
        mine.stages,
    )
