"""What the channel code promises the link: the CRC judges, silence is never taken for data, parameters are checked."""

from __future__ import annotations

import numpy as np
import pytest

from linksim import registry
from linksim.errors import BudgetError
from linksim.phy import modem
from linksim.phy import transport_block as tb
from linksim.phy.ldpc5g import Ldpc5G
from linksim.phy.mcs import TABLE

CODE = Ldpc5G()
PLAN = CODE.plan(1000, 2, 449 / 1024)


@pytest.mark.parametrize("level", [0.0, 1e-6, 1e-3, 1e-2])
def test_silence_is_not_an_all_zero_block(level):
    """The all-zero word has a right CRC and a zero syndrome, and a deep fade decodes to it."""
    llr = np.random.default_rng(1).normal(0, level, (4, PLAN.coded_bits)).astype(np.float32)
    _, ok, good = CODE.decode(llr, PLAN)
    assert not ok.any()
    assert (good == 0).all()


def test_silence_in_one_code_block_of_several():
    plan = CODE.plan(12288, 2, 679 / 1024)
    assert plan.num_code_blocks >= 2
    bits = np.random.default_rng(2).integers(0, 2, (1, plan.info_bits), np.uint8)
    llr = 8 * CODE.encode(bits, plan).astype(np.float32) - 4
    llr[:, llr.shape[1] // 2 :] = 0
    _, ok, good = CODE.decode(llr, plan)
    assert not ok.any()
    assert 0 < good[0] < plan.info_bits


def test_an_all_zero_block_that_was_sent_arrives():
    bits = np.zeros((2, PLAN.info_bits), np.uint8)
    coded = CODE.encode(bits, PLAN)
    assert not coded.any()
    rng = np.random.default_rng(3)
    x = modem.map_bits(coded, 2)
    n0 = np.full(x.shape, 10**-0.3, np.float32)  # 3 dB, about 2 dB inside the working region
    w = (rng.standard_normal((*x.shape, 2)) @ np.array([1, 1j])) * np.sqrt(n0 / 2)
    llr = modem.demap((x + w).astype(np.complex64), np.ones_like(x), n0, 2)
    _, ok, _ = CODE.decode(llr, PLAN)
    assert ok.all()


def test_a_code_word_with_a_wrong_crc_is_refused():
    """A valid code word of another message: the syndrome is zero, the CRC is not."""
    block = CODE._layout(PLAN)
    pieces = np.random.default_rng(4).integers(0, 2, (1, block.block_bits), np.uint8)
    buffer = CODE._encode_blocks(pieces, block)
    (length,) = block.lengths
    sent = np.concatenate([buffer[:, part] for _, part in tb.walk(block, length)], axis=1)
    decoded, ok, good = CODE.decode(8 * tb.interleave(sent, 2).astype(np.float32) - 4, PLAN)
    np.testing.assert_array_equal(decoded, pieces[:, : PLAN.info_bits])
    assert not ok.any()
    assert good[0] == 0


@pytest.mark.parametrize("order", [2, 4, 6, 8])
def test_whatever_is_planned_arrives_without_noise(order):
    """Short blocks at rates near 1 are where decoding could stall: such plans must be refused."""
    planned = 0
    for symbols in range(8, 140, 7):
        for rate in (0.75, 0.84, 0.885, 0.926):
            try:
                plan = CODE.plan(symbols, order, rate)
            except BudgetError:
                continue
            planned += 1
            bits = np.random.default_rng(symbols).integers(0, 2, (4, plan.info_bits), np.uint8)
            _, ok, _ = CODE.decode(8 * CODE.encode(bits, plan).astype(np.float32) - 4, plan)
            assert ok.all(), plan
    assert planned > 10


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_any_llrs_are_decoded_to_a_verdict(value):
    llr = np.full((2, PLAN.coded_bits), value, np.float32)
    llr[1, ::2] = -llr[1, ::2]
    bits, ok, good = CODE.decode(llr, PLAN)
    assert bits.shape == (2, PLAN.info_bits)
    assert set(np.unique(bits)) <= {0, 1}
    assert not ok[1]
    assert ((good == PLAN.info_bits) == ok).all()


@pytest.mark.parametrize("rv", [0, 1, 2, 3])
def test_redundancy_versions_begin_where_the_table_says(rv):
    block = CODE._layout(PLAN)
    assert block.base_graph == 2
    first, *_ = tb.runs(block, rv)
    assert first[0] == (0, 13, 25, 43)[rv] * block.z
    positions = [
        p for _, part in tb.walk(block, block.buffer_bits, rv) for p in range(part.start, part.stop)
    ]
    fillers = block.mother_bits - block.block_bits
    assert len(set(positions)) == block.buffer_bits - fillers
    assert len(positions) == block.buffer_bits  # the last ones are the first again
    assert positions[-fillers:] == positions[:fillers]


def test_every_mcs_has_a_name_of_its_own_and_rising_efficiency():
    assert len({m.name for m in TABLE}) == len(TABLE)
    assert [m.index for m in TABLE] == list(range(len(TABLE)))
    efficiencies = [m.efficiency for m in TABLE]
    assert efficiencies == sorted(efficiencies)


def test_parameters_and_shapes_are_checked():
    with pytest.raises(ValueError, match="num_iter must be 1"):
        Ldpc5G(num_iter=0)
    with pytest.raises(ValueError, match="backend must be one of"):
        Ldpc5G(backend="gpu")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bits must be"):
        CODE.encode(np.zeros((1, 3), np.uint8), PLAN)
    with pytest.raises(ValueError, match="llr must be"):
        CODE.decode(np.zeros((1, 3), np.float32), PLAN)
    assert registry.create("channel_codes", {"name": "ldpc-5g", "num_iter": 8}).num_iter == 8
