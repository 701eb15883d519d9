"""Golden outputs of NTC weights: what packets made once must decode to, on any machine."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from linksim.model.store import load_bundle
from linksim.train.golden import block_means, golden_picture

LEVELS = (16, 80)


def golden(path: Path) -> list[dict[str, Any]]:
    """Packets, digests of their integers, block means of the pictures."""
    from linksim.codec.engine import Engine
    from linksim.codec.ntc import pack

    machine = Engine(load_bundle(str(path)))
    entries = []
    for level in LEVELS:
        symbols = machine.analyse(golden_picture()[None], [level])[0]
        entries.append(
            {
                "level": level,
                "packet": pack(machine, symbols, 128, 128).data.hex(),
                "symbols_sha256": _digest(symbols),
                "block_means": block_means(machine.synthesise(symbols, 128, 128)),
            }
        )
    return entries


def differences(path: Path, entries: list[dict[str, Any]]) -> list[str]:
    """Where packets no longer decode to the same integers and pictures, or cost over 1 % more or less."""
    from linksim.codec.engine import Engine
    from linksim.codec.ntc import pack, unpack

    machine = Engine(load_bundle(str(path)))
    found = []
    for entry in entries:
        what, data = f"level {entry['level']}", bytes.fromhex(entry["packet"])
        symbols = machine.read(data[4:], data[1], 128, 128)
        if _digest(symbols) != entry["symbols_sha256"]:
            found.append(f"{what}: the packet decodes to other integers")
        picture = unpack(machine, data)
        if picture is None:
            found.append(f"{what}: the packet does not decode")
            continue
        error = np.abs(np.subtract(block_means(picture), entry["block_means"])).max()
        if error >= 0.1:
            found.append(f"{what}: block means are off by up to {error:.2f}")
        again = machine.analyse(golden_picture()[None], [entry["level"]])[0]
        size = len(pack(machine, again, 128, 128).data)
        if abs(size - len(data)) > max(3, 0.01 * len(data)):
            found.append(f"{what}: encoding takes {size} bytes instead of {len(data)}")
    return found


def _digest(symbols: Any) -> str:
    content = symbols.z.astype("<i4").tobytes() + symbols.s.astype("<i4").tobytes()
    return hashlib.sha256(content).hexdigest()
