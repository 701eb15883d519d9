"""Every registered channel obeys the laws."""

import pytest

from linksim import registry
from linksim.channel.laws import check_channel

PARAMETERS: dict[str, list[dict]] = {
    "rayleigh": [{}, {"block_length": 7}],
    "rician": [{"k_factor_db": 6.0}, {"k_factor_db": -3.0, "block_length": 1}],
}
CASES = [(n, p) for n in registry.entries("channels") for p in PARAMETERS.get(n, [{}])]


def test_the_built_in_channels_are_there():
    assert {"ideal", "awgn", "rayleigh", "rician"} <= set(registry.entries("channels"))


@pytest.mark.parametrize(("name", "parameters"), CASES, ids=str)
def test_channel_obeys_the_laws(name, parameters):
    channel = registry.create("channels", {"name": name, **parameters})
    results = check_channel(channel, frames=2500, symbols=48)
    assert len(results) == 16
    assert not [r for r in results if not r.passed]
