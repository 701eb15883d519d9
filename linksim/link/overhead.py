"""What a channel takes for itself: pilots, cyclic prefix, guards, and the rest of a last OFDM symbol.

A channel that sends more than its data says how much by two methods, ``data_uses(total)`` and ``total_uses(data)``; one
without them spends every use on data. Budgets come in here (``LinkPoint.uses``) and frames go out here (:func:`cross`),
so no system knows of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from linksim.errors import BudgetError, ComponentError
from linksim.link import guard
from linksim.seeds import FrameSeeds
from linksim.types import Frame, Ledger, Received


def data_uses(channel: Any, total: int) -> int:
    """How many of ``total`` channel uses carry data.

    Raises:
      BudgetError:    none do; says how many uses it takes.
      ComponentError: the channel's answer is not a number of uses.
    """
    ask = getattr(channel, "data_uses", None)
    if ask is None:
        return total
    data = ask(total)
    _check(channel, _whole(data) and 0 <= data <= total, "data_uses", total, data)
    if data < 1:
        raise BudgetError(
            f"{total} channel uses leave none for data after the channel's pilots and cyclic prefix; "
            f"raise cbr by a factor of {total_uses(channel, 1) / total:.3g}"
        )
    return int(data)


def total_uses(channel: Any, data: int) -> int:
    """Channel uses that ``data`` symbols take. Raises ComponentError: the channel's answer is less than that."""
    ask = getattr(channel, "total_uses", None)
    if ask is None:
        return data
    total = ask(data)
    _check(channel, _whole(total) and total >= data, "total_uses", data, total)
    return int(total)


def cross(channel: Any, frame: Frame, n0: float, seeds: FrameSeeds) -> tuple[Received, Ledger]:
    """Send a frame, and book what it took.

    Returns: what arrives; the frame's ledger with the channel's share: under ``padding`` the data places of its last
             OFDM symbol that stay empty, under ``pilots`` everything else that is not data.
    """
    received = guard.send(channel, frame.x, n0, seeds)
    if getattr(channel, "total_uses", None) is None:
        return received, frame.ledger
    sizes, inverse = np.unique(frame.num_symbols, return_inverse=True)
    totals = np.array([total_uses(channel, int(size)) for size in sizes])
    room = np.array([int(channel.data_uses(int(total))) for total in totals])
    _check(channel, bool((room >= sizes).all()), "data_uses", totals.tolist(), room.tolist())
    share = Ledger.zeros(
        len(frame.x), padding=(room - sizes)[inverse], pilots=(totals - room)[inverse]
    )
    return received, frame.ledger + share


def _whole(value: Any) -> bool:
    return isinstance(value, int | np.integer)


def _check(channel: Any, fine: Any, method: str, asked: object, answer: object) -> None:
    if not fine:
        raise ComponentError(
            f"channel {type(channel).__qualname__}: {method}({asked}) is {answer!r}; it must be a whole number, with "
            "data_uses at most its argument, total_uses at least, and one the other's inverse"
        )
