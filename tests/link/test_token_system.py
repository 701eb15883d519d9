"""The tokens system: what is sent and booked, what losses do, over both links and with parity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from dsc_small import pictures
from tokens_small import write

from linksim import registry
from linksim.channel.awgn import Awgn
from linksim.channel.fading import Rayleigh
from linksim.codec.tokens import TokenCodec
from linksim.errors import BudgetError, ComponentError
from linksim.link.amc import Amc
from linksim.link.slices import Rooms
from linksim.link.system import LinkPoint
from linksim.link.token_packets import unwrap
from linksim.link.token_sender import TokenSender
from linksim.link.tokens import Tokens, Uep
from linksim.packet.gilbert_elliott import GilbertElliott
from linksim.packet.loss import Iid
from linksim.packet.markov import Markov
from linksim.packet.trace import Trace
from linksim.seeds import FrameSeeds
from linksim.types import Status

SIZE = (64, 96)
COUNT = 4
IMAGES = pictures(COUNT, 5, SIZE)
SEEDS = FrameSeeds.of(1, COUNT)


@dataclass(frozen=True)
class Lose:
    """These packets are lost in every frame."""

    which: tuple[int, ...]

    def __call__(self, num_packets, seed):
        return [np.isin(np.arange(n), self.which) for n in num_packets]


def packet(erasure=None, bpp=0.1, **more) -> LinkPoint:
    return LinkPoint("packet", erasure=erasure or Lose(()), bpp=bpp, **more)


def phy(snr=10.0, cbr=0.05, channel=None, **more) -> LinkPoint:
    return LinkPoint(
        "phy", channel=channel or Awgn(), es_n0_db=snr, snr_amc_db=snr, cbr=cbr, **more
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return write(tmp_path_factory.mktemp("tokens"))


def made(weights, **more) -> Tokens:
    return registry.create("systems", {"name": "tokens", "weights": weights, "packets": 6, **more})


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"descriptions": 1},
        {"descriptions": 2},
        {"parity": 2},
        {"header": "full"},
        {"base": 1, "parity": 3},
    ],
    ids=["intra", "layered", "two", "parity", "full", "base"],
)
@pytest.mark.parametrize("kind", ["packet", "phy"])
def test_without_losses_the_picture_crosses_both_links(weights, kind, more):
    point = phy() if kind == "phy" else packet(bpp=0.17 if {"header", "base"} & set(more) else 0.1)
    outcome = made(weights, **more).simulate(IMAGES, point, SEEDS)
    assert set(outcome.status) == {Status.OK} and outcome.images.shape == IMAGES.shape
    book = outcome.ledger
    if point.kind == "phy":
        assert book.total == pytest.approx(point.uses(*SIZE)), "every channel use is in the ledger"
        assert (book.crc > 0).all() and outcome.papr_db is not None
    else:
        head = 11 if more.get("header") == "full" else 2
        own = 6 if "base" in more else 0  # lengths of the heads
        assert (book.headers == 8 * (6 * head + own)).all() and (book.crc == 8 * 6 * 2).all()
        assert (book.total <= point.bits(*SIZE)).all()
        assert (book.total > 0.85 * point.bits(*SIZE)).all(), "the budget is used"
    assert ((book.parity > 0) == ("parity" in more or point.kind == "phy")).all()


def test_the_ledger_is_what_was_sent(weights):
    system = made(weights, parity=1)
    codec = TokenCodec(weights)
    form = system._format(codec, *SIZE, "packet")
    budget = packet().bits(*SIZE) // 8
    rooms = Rooms(np.full(COUNT, budget), np.full((COUNT, 6), 1500))
    sent = TokenSender(codec).send(IMAGES, rooms, form)
    outcome = system.simulate(IMAGES, packet(), SEEDS)
    assert [8 * sum(len(p.data) for p in row) for row in sent] == outcome.ledger.total.tolist()
    parity = [8 * (len(row[5].data) - 4) for row in sent]
    assert parity == outcome.ledger.parity.tolist()
    bodies = [[p.data[2:-2] for p in row[:5]] for row in sent]
    for row, mine in zip(sent, bodies, strict=True):
        layout, found, _ = unwrap([p.data for p in row], form)
        assert found == mine
        assert layout.tokens >= 5 and len(row[5].data) == max(map(len, mine)) + 2 + 4


def test_a_base_layer_survives_what_its_parity_allows(weights):
    """With P lost every position has its first stages, with more those that arrived have all of theirs."""
    system = made(weights, base=1, parity=3)
    codec = TokenCodec(weights)
    form = system._format(codec, *SIZE, "packet")
    rooms = Rooms(np.full(COUNT, packet(bpp=0.17).bits(*SIZE) // 8), np.full((COUNT, 6), 1500))
    sent = TokenSender(codec).send(IMAGES, rooms, form)
    whole = system.simulate(IMAGES, packet(bpp=0.17), SEEDS)
    assert [8 * sum(len(p.data) for p in row) for row in sent] == whole.ledger.total.tolist()
    for b, row in enumerate(sent):
        data = [p.data for p in row]
        layout, bodies, heads = unwrap(data, form)
        assert layout.base == 1 and len(bodies) == 6 and layout.tokens >= layout.positions
        assert not heads.any()
        kept = [d if n in (0, 4, 5) else None for n, d in enumerate(data)]
        layout, bodies, heads = unwrap(kept, form)
        assert heads.tolist() == [False, True, True, True, False, False]
        read = codec.unpack([bodies], [layout], [heads])[0]
        assert read.decodable.tolist() == [True, False, False, False, True, True]
        assert (read.index[..., 0] >= 0).all() and (read.index[..., 1] < 0).any()
        assert np.array_equal(read.index[..., 0], codec.tokenise(IMAGES[b : b + 1])[0, ..., 0])
        fewer = unwrap([*kept[:5], None], form)
        assert not fewer[2].any() and [d is not None for d in fewer[1]] == [
            True,
            *[False] * 3,
            True,
            False,
        ]
    for lost in ((0, 1, 2), (3, 4, 5)):
        got = system.simulate(IMAGES, packet(Lose(lost), 0.17), SEEDS)
        assert set(got.status) == {Status.CONCEALED} and (got.images != whole.images).any()
        assert np.array_equal(got.ledger.total, whole.ledger.total)
    got = system.simulate(IMAGES, packet(Lose((0, 1, 2, 3)), 0.17), SEEDS)
    assert set(got.status) == {Status.CONCEALED}, (
        "two packets are worth what they are without parity"
    )
    got = system.simulate(IMAGES, packet(Lose(range(6)), 0.17), SEEDS)
    assert set(got.status) == {Status.FAILED}
    assert (whole.ledger.parity > 0).all() and (whole.ledger.parity % (8 * 6) == 0).all()
    assert "any 3 of which give 1 stages of all positions" in system.preview(
        packet(bpp=0.17), *SIZE
    )


@pytest.mark.parametrize(("base", "parity"), [(0, 0), (0, 4), (1, 5), (2, 4), (3, 3)])
def test_packets_fill_the_budget(base, parity):
    """Also where only the bodies tell how long parity is: one in a hundred is left, and what a token takes."""
    system = Tokens(packets=10, base=base, parity=parity)
    images = pictures(COUNT, 5, (128, 128))
    form = system._format(TokenCodec(), 128, 128, "packet")
    rooms = Rooms(np.full(COUNT, 512), np.full((COUNT, 10), 1500))
    for row in TokenSender(TokenCodec()).send(images, rooms, form):
        assert form.open(row[0].data).tokens < form.max_tokens
        assert 0.98 * 512 <= sum(len(p.data) for p in row) <= 512


def test_losses_are_concealed_and_statuses_tell(weights):
    system = made(weights)
    whole = system.simulate(IMAGES, packet(), SEEDS)
    lost = system.simulate(IMAGES, packet(Lose((1, 4))), SEEDS)
    assert set(lost.status) == {Status.CONCEALED} and (lost.images != whole.images).any()
    assert np.array_equal(lost.ledger.total, whole.ledger.total), "losses cost nothing"
    gone = system.simulate(IMAGES, packet(Lose(tuple(range(6)))), SEEDS)
    assert set(gone.status) == {Status.FAILED} and (gone.images == 128).all()


def test_context_decides_what_a_loss_takes_with_it(weights):
    first = packet(Lose((0,)))
    assert set(made(weights, descriptions=1).simulate(IMAGES, first, SEEDS).status) == {
        Status.FAILED
    }
    for more in ({}, {"descriptions": 2}):
        status = made(weights, **more).simulate(IMAGES, first, SEEDS).status
        assert set(status) == {Status.CONCEALED}


def test_parity_restores_up_to_its_number_and_then_what_arrived_counts(weights):
    system = made(weights, parity=2, conceal="none")
    whole = system.simulate(IMAGES, packet(), SEEDS)
    for lost in ((0, 3), (4, 5), (2, 5)):
        got = system.simulate(IMAGES, packet(Lose(lost)), SEEDS)
        assert set(got.status) == {Status.OK} and np.array_equal(got.images, whole.images)
    beyond = system.simulate(IMAGES, packet(Lose((0, 3, 5))), SEEDS)
    assert set(beyond.status) == {Status.CONCEALED}, "the systematic packets that arrived are used"
    bare = made(weights, conceal="none").simulate(IMAGES, packet(), SEEDS)
    assert (whole.ledger.payload < bare.ledger.payload).all(), "equal totals, fewer tokens"


@pytest.mark.parametrize("how", ["none", "one-shot", "iterative", "posterior-mean"])
def test_every_way_to_fill_in_depends_on_its_own_seed_alone(weights, how):
    system = made(weights, conceal=how, steps=2, samples=2)
    point = packet(Iid(0.4))
    together = system.simulate(IMAGES, point, SEEDS)
    order = [2, 0, 3, 1]
    turned = system.simulate(IMAGES[order], point, SEEDS.take(order))
    alone = system.simulate(IMAGES[2:3], point, SEEDS.take([2]))
    assert np.array_equal(turned.images, together.images[order])
    assert np.array_equal(alone.images[0], together.images[2])
    assert alone.status[0] == together.status[2]


@pytest.mark.parametrize(
    "process",
    [
        Iid(0.3),
        GilbertElliott(rate=0.3, mean_burst=2.5),
        Markov(preset="EP6"),
        "trace",
    ],
    ids=["iid", "gilbert-elliott", "markov", "trace"],
)
def test_every_kind_of_loss(weights, process, tmp_path):
    if process == "trace":
        (tmp_path / "trace.txt").write_text("0110010010")
        process = Trace(str(tmp_path / "trace.txt"))
    outcome = made(weights).simulate(IMAGES, packet(process), SEEDS)
    assert Status.CONCEALED in outcome.status


def test_damaged_duplicated_reordered_and_foreign_packets(weights):
    system = made(weights)
    codec = TokenCodec(weights)
    form = system._format(codec, *SIZE, "packet")
    rooms = Rooms(np.full(COUNT, 100), np.full((COUNT, 6), 1500))
    sent = [[p.data for p in row] for row in TokenSender(codec).send(IMAGES, rooms, form)]
    foreign = made(weights, interleave="raster")._format(codec, *SIZE, "packet")
    plain = system._decode([sent[0]], [False], SIZE, "packet", SEEDS[:1])
    mixed = [sent[0][5], foreign.wrap(0, 8, b"abc"), *sent[0][::-1], b"", b"\xff" * 30]
    again = system._decode([mixed], [False], SIZE, "packet", SEEDS[:1])
    assert again.status == plain.status == (Status.OK,)
    assert np.array_equal(again.images[0], plain.images[0])
    flipped = [bytes([data[0] ^ 4]) + data[1:] for data in sent[0]]
    nothing = system._decode([flipped], [False], SIZE, "packet", SEEDS[:1])
    assert nothing.status == (Status.FAILED,) and nothing.images == (None,)


def test_full_headers_are_read_without_an_agreement_about_the_layout(weights):
    codec = TokenCodec(weights)
    other = made(weights, header="full", packets=4, interleave="raster", descriptions=2)
    form = other._format(codec, *SIZE, "packet")
    rooms = Rooms(np.full(COUNT, 120), np.full((COUNT, 4), 1500))
    sent = [[p.data for p in row] for row in TokenSender(codec).send(IMAGES, rooms, form)]
    mine = made(weights, header="full")
    assert mine._decode(sent, [False] * COUNT, SIZE, "packet", SEEDS).status == (Status.OK,) * 4


def test_blocks_are_lost_where_the_snr_is_below_the_belief(weights):
    """The same system from an SNR that it was made for to one at which nothing arrives."""
    system = made(weights, amc=Amc("fixed", mcs=14))
    plan = system._link.rooms(phy(), *SIZE, SEEDS).options[0].plans[0]
    snrs = np.linspace(-2, 12, 600)
    rate = system._link._code.error_rate(snrs, plan)
    near = float(snrs[int(np.argmin(np.abs(rate - 0.4)))])
    seen = []
    for snr in (near + 3, near, near - 4):
        status = system.simulate(IMAGES, phy(snr), SEEDS).status
        seen.append([status.count(s) for s in (Status.OK, Status.CONCEALED, Status.FAILED)])
    assert seen[0] == [COUNT, 0, 0] and seen[2] == [0, 0, COUNT] and seen[1][1] > 0


def test_unequal_error_protection_keeps_the_first_packets_alive(weights):
    kinds = {"descriptions": 2, "amc": {"rule": "fixed", "mcs": 14}}
    plain = made(weights, **kinds)
    safe = made(weights, uep={"packets": 1, "steps": 5}, **kinds)
    assert safe.uep == Uep(1, 5) and safe._link.lowered == (5, 5, 0, 0, 0, 0)
    plan = plain._link.rooms(phy(), *SIZE, SEEDS).options[0].plans[0]
    snrs = np.linspace(-2, 12, 600)
    rate = plain._link._code.error_rate(snrs, plan)
    low = float(snrs[int(np.argmin(np.abs(rate - 0.95)))])
    failed = [
        s.simulate(IMAGES, phy(low), SEEDS).status.count(Status.FAILED) for s in (plain, safe)
    ]
    assert failed[1] == 0 and failed[0] > 0


def test_blocks_meet_fades_of_their_own(weights):
    block = phy().uses(*SIZE) // 6
    fading = phy(12.0, channel=Rayleigh(block_length=block))
    status = made(weights).simulate(IMAGES, fading, SEEDS).status
    assert set(status) <= {Status.OK, Status.CONCEALED, Status.FAILED}
    assert Status.CONCEALED in status


def test_where_the_fade_is_unknown_whole_pictures_are_not_staked_on_it(weights):
    """With one fade a frame its packets are lost together, with a fade for each they are not; the MCS follows."""
    block = phy().uses(*SIZE) // 6
    system, chosen, together = made(weights), {}, {}
    for length in (None, block):
        point = phy(12.0, channel=Rayleigh(block_length=length), csi_tx="mean")
        seen: list[np.ndarray] = []

        def watch(ways, seen=seen):
            seen += [lost for _, lost in ways]
            return system._judge(*SIZE)(ways)

        rooms = system._link.rooms(point, *SIZE, SEEDS, watch)
        chosen[length] = int(rooms.choice[0])
        lost = seen[len(seen) // 2]
        assert 0.05 < lost.mean() < 0.95
        some = lost.any(1)
        together[length] = float(lost.all(1)[some].mean())
        most = system._link.rooms(point, *SIZE, SEEDS)
        assert chosen[length] <= most.choice[0]
        # the preview says what is done
        name = rooms.options[chosen[length]].mcs.name
        assert name in system.preview(point, *SIZE)
    assert together[None] > 0.8 > 0.2 > together[block]
    assert chosen[None] < chosen[block]


def test_the_judge_weighs_bytes_against_losses(weights):
    judge = made(weights)._judge(*SIZE)
    never, always = np.zeros((8, 6), bool), np.ones((8, 6), bool)
    assert judge([(100, never), (200, never)]) == 1
    assert judge([(100, never), (200, always)]) == 0
    assert judge([(5, never), (6, never), (7, never)]) == 2, "no way has room: the largest says so"
    assert made(weights, descriptions=1, fraction=0.5)._judge(*SIZE) is None


def test_semantic_compression_sends_a_share_of_the_positions(weights):
    system = made(weights, descriptions=1, packets=3, fraction=0.5)
    outcome = system.simulate(IMAGES, packet(bpp=0.05), SEEDS)
    assert set(outcome.status) == {Status.OK}
    assert (outcome.ledger.total <= packet(bpp=0.05).bits(*SIZE)).all()


def test_a_packet_has_at_most_mtu_bytes(weights):
    sizes = []
    for mtu in (1500, 16):
        outcome = made(weights, mtu=mtu, packets=3).simulate(IMAGES, packet(bpp=0.2), SEEDS)
        assert set(outcome.status) == {Status.OK}
        sizes.append(outcome.ledger.total)
    assert (sizes[1] <= 8 * 3 * 16).all() and (sizes[1] < sizes[0]).all()


def test_budgets_too_small(weights):
    with pytest.raises(BudgetError, match=r"in 6 packets leave 0 bytes for tokens, after 4 bytes"):
        made(weights).preview(packet(bpp=0.03), *SIZE)
    outcome = made(weights).simulate(IMAGES, packet(bpp=0.03), SEEDS)
    assert set(outcome.status) == {Status.OUTAGE} and (outcome.ledger.total == 0).all()
    with pytest.raises(BudgetError, match="pictures of 16x16"):
        made(weights).preview(packet(bpp=3), 16, 16)
    assert "bytes for the codec" in made(weights).preview(packet(), *SIZE)
    assert "6 blocks" in made(weights, parity=1).preview(phy(), *SIZE)
    with pytest.raises(ComponentError, match="budget: per_image"):
        made(weights).preview(packet(budget="mean"), *SIZE)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"parity": 6}, r"parity must be 0\.\.5, got 6"),
        ({"packets": 65}, r"packets must be 1\.\.64"),
        ({"descriptions": 7}, r"descriptions must be 1\.\.6, got 7"),
        ({"fraction": 0.5}, "needs descriptions: 1"),
        ({"base": 1, "descriptions": 2}, "leave descriptions out, got 2"),
        ({"base": 1, "fraction": 0.5}, "neither fraction nor uep"),
        ({"base": 4, "parity": "auto"}, "auto knows base layers of 1, 2, 3, 5 stages, got 4"),
        ({"base": 16}, r"base must be 0\.\.15 stages, got 16"),
        ({"base": -1}, r"base must be 0\.\."),
        ({"base": 1, "packets": 40, "parity": 35}, "the loss of at most 33 of them, got 35"),
        ({"fraction": 0}, r"fraction must be in \(0, 1\]"),
        ({"temperature": -1}, "temperature at least 0"),
        ({"uep": {"packets": 1}}, "there are no others"),
        ({"uep": {"packets": 0}, "descriptions": 1}, "packets and steps must be at least 1"),
        ({"shares": [0], "descriptions": 1}, "numbers above 0"),
        ({"amc": {"rule": "expected-distortion"}}, "take amc rule auto, target or fixed"),
        ({"conceal": "magic"}, "conceal"),
        ({"prior": "magic"}, "prior"),
        ({"interleave": "magic"}, "interleave"),
    ],
)
def test_parameters_are_checked(weights, given, match):
    with pytest.raises(ComponentError, match=match):
        made(weights, **given)
