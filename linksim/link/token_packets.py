"""Bodies of tokens <-> packets: headers and parity around them, and whatever arrived taken apart again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from linksim.codec.token_layout import Layout
from linksim.link.slices import Slice
from linksim.packet.base_layer import PAD_BYTES, BaseLayer
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
        tokens or form.sent or form.packets + form.base * form.rows * form.columns,
        form.stages,
        form.sent,
        base=form.base,
    )


def base_layer(form: TokenFormat) -> BaseLayer | None:
    """How the base layer travels, if there is one."""
    return BaseLayer(form.packets, form.parity) if form.base else None


def wrap(form: TokenFormat, tokens: int, bodies: Sequence[bytes]) -> list[Slice]:
    """The packets of an image, parity behind, from the bodies of those that carry tokens (and of the base layer)."""
    if (base := base_layer(form)) is not None:
        found = []
        for number, (head, piece, body) in enumerate(base.spread(bodies)):
            data = form.wrap(number, tokens, head + piece + body)
            front = form.header_bytes + len(head)
            if number >= base.enough:
                one = Slice(data, front, form.check_bytes, parity_bytes=len(piece))
            else:
                fill = base.padding_bytes(len(bodies[-1]), number)
                one = Slice(data, front + PAD_BYTES * (number == 0), form.check_bytes, fill)
            found.append(one)
        return found
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
) -> tuple[Layout, list[bytes | None]] | None:
    """Layout and bodies of an image's packets, in any order; None where none can be used. Never raises on any bytes.

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
        return layout, base.gather(bodies)
    return layout, ReedSolomon(form.packets, form.parity).recover(bodies)


def _readable(form: TokenFormat, mine: TokenFormat) -> bool:
    return (form.model, form.rows, form.columns, form.stages) == (
        mine.model,
        mine.rows,
        mine.columns,
        mine.stages,
    )
