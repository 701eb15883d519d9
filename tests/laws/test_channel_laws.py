"""Every registered channel obeys the laws, with every set of parameters that it gives as an example."""

import pytest

from linksim import registry
from linksim.channel.laws import LAWS, check_channel, sizes


def test_the_built_in_channels_are_there():
    assert {"ideal", "awgn", "rayleigh", "rician"} <= set(registry.entries("channels"))


@pytest.mark.parametrize("name", registry.entries("channels"))
def test_channel_obeys_the_laws(name, tmp_path):
    examples = registry.examples(registry.find("channels", name).load(), tmp_path)
    assert examples
    for parameters in examples:
        channel = registry.create("channels", {"name": name, **parameters})
        frames, symbols = sizes(channel, None, None)
        results = check_channel(channel, frames=frames * 5 // 8, symbols=symbols * 3 // 4)
        assert [r.name for r in results] == list(LAWS), f"{parameters}: {results[0]}"
        assert not [r for r in results if not r.passed], parameters
        assert sum(r.applies for r in results) >= 9
