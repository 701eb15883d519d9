"""The channel behind OFDM that docs/channels.md shows obeys the laws."""

import re
from pathlib import Path

from linksim import registry
from linksim.channel.laws import check_channel

PAGE = Path(__file__).parents[2] / "docs" / "channels.md"


def test_the_example_behind_ofdm_obeys_the_laws(tmp_path):
    section = PAGE.read_text(encoding="utf-8").split("## Wideband channels over OFDM")[1]
    code = re.search(r"```python\n(.*?class TwoRays.*?)```", section, re.S)
    assert code is not None
    (tmp_path / "two_rays.py").write_text(code[1], encoding="utf-8")
    for csi_rx in ("lmmse", "ls", "perfect"):
        spec = {"plugin": "two_rays.py:TwoRays", "csi_rx": csi_rx}
        channel = registry.create("channels", spec, base=tmp_path)
        results = check_channel(channel, frames=600, symbols=600)
        assert not [r for r in results if not r.passed]
