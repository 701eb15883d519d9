"""Transport blocks against Sionna's 5G NR chain and the numbers of 38.212 and 38.214."""

from __future__ import annotations

import numpy as np
import pytest

from linksim.errors import BudgetError
from linksim.phy import crc
from linksim.phy import transport_block as tb
from linksim.phy.ldpc5g import Ldpc5G
from linksim.phy.mcs import TABLE

SIZES = (300, 512, 2048, 12288, 49152)


def test_sizes_are_those_of_sionna_for_every_mcs():
    from sionna.phy.nr.utils import calculate_tb_size

    for symbols in SIZES:
        for mcs in TABLE:
            theirs = calculate_tb_size(
                mcs.num_bits_per_symbol,
                mcs.target_rate,
                num_layers=1,
                num_coded_bits=symbols * mcs.num_bits_per_symbol,
                verbose=False,
            )[0]
            ours = tb.transport_block_size(symbols, mcs.num_bits_per_symbol, mcs.target_rate)
            assert ours == int(theirs), (symbols, mcs.name)


@pytest.mark.parametrize(
    ("symbols", "index"), [(300, 8), (2048, 9), (2048, 16), (2048, 30), (12288, 20), (12288, 36)]
)
def test_coded_bits_are_those_of_sionnas_transport_block_encoder(symbols, index):
    import tensorflow as tf
    from sionna.phy.nr import TBEncoder

    mcs = TABLE[index]
    code = Ldpc5G()
    plan = code.plan(symbols, mcs.num_bits_per_symbol, mcs.target_rate)
    bits = np.random.default_rng(index).integers(0, 2, (2, plan.info_bits), np.uint8)
    oracle = TBEncoder(
        target_tb_size=plan.info_bits,
        num_coded_bits=plan.coded_bits,
        target_coderate=mcs.target_rate,
        num_bits_per_symbol=mcs.num_bits_per_symbol,
        use_scrambler=False,
    )
    np.testing.assert_array_equal(
        code.encode(bits, plan), oracle(tf.constant(bits, tf.float32)).numpy().astype(np.uint8)
    )


@pytest.mark.parametrize("mcs", TABLE[::3], ids=lambda m: m.name)
@pytest.mark.parametrize("symbols", [300, 2048, 12288])
def test_noiseless_round_trip_and_exact_sizes(mcs, symbols):
    code = Ldpc5G()
    try:
        plan = code.plan(symbols, mcs.num_bits_per_symbol, mcs.target_rate)
    except BudgetError:
        assert symbols == 300
        return
    bits = np.random.default_rng(1).integers(0, 2, (2, plan.info_bits), np.uint8)
    coded = code.encode(bits, plan)
    assert coded.shape == (2, plan.coded_bits)
    decoded, ok, good = code.decode((8 * coded.astype(np.float32) - 4), plan)
    np.testing.assert_array_equal(decoded, bits)
    assert ok.all()
    assert (good == plan.info_bits).all()


def test_repetition_adds_up():
    """At rate 30/1024 each buffer position is sent several times: one copy alone must not decide."""
    mcs = TABLE[0]
    code = Ldpc5G()
    plan = code.plan(8192, mcs.num_bits_per_symbol, mcs.target_rate)
    layout = code._layout(plan)
    valid = layout.buffer_bits - (layout.mother_bits - layout.block_bits)
    assert plan.coded_bits > 2 * valid
    bits = np.random.default_rng(2).integers(0, 2, (1, plan.info_bits), np.uint8)
    llr = 2.0 * code.encode(bits, plan).astype(np.float32) - 1.0
    matched = tb.deinterleave(llr, 2).copy()
    matched[:, :valid] *= -1  # the first copy of everything is wrong
    spoiled = tb.interleave(matched, 2)
    decoded, ok, _ = code.decode(spoiled * 4, plan)
    assert ok.all()
    np.testing.assert_array_equal(decoded, bits)


def test_the_crc_judges_block_by_block():
    """Damage in the third of several code blocks leaves the first two as the good prefix."""
    mcs = TABLE[20]
    code = Ldpc5G()
    plan = code.plan(12288, mcs.num_bits_per_symbol, mcs.target_rate)
    layout = code._layout(plan)
    assert layout.num_code_blocks >= 4
    bits = np.random.default_rng(3).integers(0, 2, (1, plan.info_bits), np.uint8)
    llr = 8 * code.encode(bits, plan).astype(np.float32) - 4
    start = sum(layout.lengths[:2])
    llr[:, start : start + layout.lengths[2]] = np.random.default_rng(4).normal(
        0, 2, layout.lengths[2]
    )
    decoded, ok, good = code.decode(llr, plan)
    assert not ok.any()
    assert good[0] == 2 * (layout.block_bits - 24)
    np.testing.assert_array_equal(decoded[0, : good[0]], bits[0, : good[0]])


def test_crc_of_known_messages():
    # CRC-16/XMODEM of "123456789" is 0x31C3, CRC-24/LTE-A 0xCDE703, CRC-24/LTE-B 0x23EF52 (catalogue of parametrised
    # CRC algorithms, check values); 38.212 uses the same generators with zero initial state.
    bits = np.unpackbits(np.frombuffer(b"123456789", np.uint8))[None]
    for name, check in (("16", 0x31C3), ("24a", 0xCDE703), ("24b", 0x23EF52)):
        assert int(crc.remainder(bits, name)[0]) == check
        sealed = crc.append(bits, name)
        assert crc.check(sealed, name).all()
        sealed[0, 5] ^= 1
        assert not crc.check(sealed, name).any()


def test_a_frame_too_small_is_refused_with_the_numbers():
    with pytest.raises(BudgetError, match="10 channel uses at 2 bits a symbol hold 20 coded bits"):
        Ldpc5G().plan(10, 2, 0.5)


def test_back_ends_agree():
    mcs = TABLE[12]
    fast, oracle = Ldpc5G(), Ldpc5G(backend="sionna")
    plan = fast.plan(600, mcs.num_bits_per_symbol, mcs.target_rate)
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2, (8, plan.info_bits), np.uint8)
    coded = fast.encode(bits, plan)
    np.testing.assert_array_equal(coded, oracle.encode(bits, plan))
    llr = (2.0 * coded - 1.0) * 4 + rng.normal(0, 2.2, coded.shape)
    for code in (fast, oracle):
        decoded, ok, _ = code.decode(llr.astype(np.float32), plan)
        assert ok.all()
        np.testing.assert_array_equal(decoded, bits)
