"""What tokens cost: real bodies beside the estimate."""

from __future__ import annotations

from dsc_small import pictures
from tokens_small import write

from linksim.bench.token_bits import measure


def test_real_bodies_are_within_whole_bytes_of_the_estimate(tmp_path):
    rows = measure(str(write(tmp_path)), list(pictures(2, 1, (96, 128))), [1, 4], packets=6)
    assert {(row["stages"], row["descriptions"]) for row in rows} == {
        (stages, count) for stages in (1, 4) for count in (1, 2, 3, 4, 5, 6)
    }
    for row in rows:
        assert 0.8 < row["real_over_whole_bytes"] <= 1 < row["real_over_estimate"] < 1.2
        assert row["real_over_estimate"] > row["packets_over_estimate"]
        assert row["bits_fixed"] == 5 and len(row["perplexity"]) == row["stages"]
