"""A few bytes that announce a large picture to a video decoder."""

from __future__ import annotations

import subprocess
import sys

AVIF = """
import io, resource, sys
from PIL import Image
from baselines.avif import Avif, _item
from baselines.header import Header
from linksim.types import Delivered
file = open(sys.argv[1], "rb").read()
packet = Header(16, 16).pack() + _item(file)
decoded = Avif().decode(Delivered(((packet,),), ((True,),)))
print(decoded.status[0].name, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_an_avif_payload_that_announces_a_large_picture_takes_no_memory(tmp_path):
    from PIL import Image

    Image.new("RGB", (5000, 5000)).save(
        tmp_path / "large.avif", quality=5, speed=10, subsampling="4:4:4"
    )
    Image.new("RGB", (16, 16)).save(
        tmp_path / "small.avif", quality=5, speed=10, subsampling="4:4:4"
    )
    found = {}
    for name in ("small", "large"):
        done = subprocess.run(
            [sys.executable, "-c", AVIF, str(tmp_path / f"{name}.avif")],
            capture_output=True,
            text=True,
            check=True,
        )
        status, peak = done.stdout.split()
        found[name] = (status, float(peak))
    assert found["small"][0] == "OK" and found["large"][0] == "FAILED"
    assert found["large"][1] < found["small"][1] + 30  # the picture's planes are 75 MB
