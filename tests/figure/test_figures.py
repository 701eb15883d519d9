"""Figures: what is drawn equals the table, says its units, and is the same file every time."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from synthetic_runs import make_run, manifest, rows

from linksim.errors import RunStateError
from linksim.figure import plot_run
from linksim.figure.grid import grid_figure, items
from linksim.figure.ledger import ledger_figure
from linksim.figure.rd import rate_figure
from linksim.figure.style import KNOWN, styles
from linksim.figure.sweep import failure_figure, sweep_figure
from linksim.results import RunFolder, sweep_of, table
from linksim.results.table import axes_of

SYSTEMS = ("vvc", "jpeg", "softcast")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three systems, two channels, two budgets, three SNRs, eight images."""
    path = tmp_path_factory.mktemp("figures") / "run"
    return make_run(path, systems=SYSTEMS, snrs=(-4, 2, 8), cbrs=(1 / 48, 1 / 24), num_images=8)


@pytest.fixture(scope="module")
def tidy(run):
    return table(run)


def layout(tidy):
    return sweep_of(tidy, axes_of(tidy))


def lines(ax):
    """Label -> line of the artists that people see in the legend."""
    return {x.get_label(): x for x in ax.get_lines() if not x.get_label().startswith("_")}


def part(tidy, metric, title, system):
    """The table's rows of one curve in the panel with this title."""
    own = tidy[(tidy["metric"] == metric) & (tidy["system"] == system)]
    own = own[[t in title for t in own["channel"]]]
    own = own[[f"CBR {t:.3g}" in title for t in own["cbr_target"]]]
    return own.sort_values("es_n0_db")


# -------------------------------------------------------------------------------------------- the swept axis


def test_every_line_of_a_sweep_is_the_table(run, tidy):
    figure = sweep_figure(tidy, layout(tidy), "psnr", manifest())
    panels = figure.axes
    assert sorted(ax.get_title() for ax in panels) == sorted(
        f"{c}, CBR {b}" for c in ("awgn", "rayleigh") for b in ("0.0208", "0.0417")
    )
    for ax in panels:
        drawn = lines(ax)
        assert set(drawn) == set(SYSTEMS)
        for system, line in drawn.items():
            want = part(tidy, "psnr", ax.get_title(), system)
            assert len(want) == 3
            np.testing.assert_array_equal(line.get_xdata(), want["es_n0_db"])
            np.testing.assert_array_equal(line.get_ydata(), want["value"])


def test_every_point_of_a_sweep_has_its_interval(tidy):
    figure = sweep_figure(tidy, layout(tidy), "psnr", manifest())
    for ax in figure.axes:
        bars = {c.get_label().removeprefix("_interval "): c for c in ax.containers}
        assert set(bars) == set(SYSTEMS)
        for system, bar in bars.items():
            want = part(tidy, "psnr", ax.get_title(), system)
            segments = np.array(bar.lines[2][0].get_segments())  # [points, ends, xy]
            np.testing.assert_allclose(segments[:, 0, 1], want["ci_low"], rtol=1e-12)
            np.testing.assert_allclose(segments[:, 1, 1], want["ci_high"], rtol=1e-12)


def test_markers_are_hollow_where_images_failed(tidy):
    figure = sweep_figure(tidy, layout(tidy), "psnr", manifest())
    hollow = full = 0
    for ax in figure.axes:
        for line in ax.get_lines():
            if not line.get_label().startswith("_marks "):
                continue
            want = part(tidy, "psnr", ax.get_title(), line.get_label().removeprefix("_marks "))
            failed = dict(
                zip(want["es_n0_db"], want["num_failed"] / want["num_frames"], strict=True)
            )
            is_hollow = line.get_markerfacecolor() == "white"
            for x in line.get_xdata():
                assert (failed[x] > 0.05) == is_hollow
            hollow, full = hollow + is_hollow, full + (not is_hollow)
    assert hollow and full


def test_axes_name_quantity_unit_rule_and_direction(tidy):
    figure = sweep_figure(tidy, layout(tidy), "psnr", manifest())
    assert {ax.get_xlabel() for ax in figure.axes if ax.get_xlabel()} == {"Es/N0 [dB]"}
    left = {ax.get_ylabel() for ax in figure.axes if ax.get_ylabel()}
    assert left == {"PSNR [dB] \N{UPWARDS ARROW}\nmean of images"}
    said = " ".join(" ".join(t.get_text() for t in figure.texts).split())
    assert "Higher is better" in said and "Images: samples" in said
    assert "N = 8 a point" in said and "scored, as mean grey" in said
    assert [t.get_text() for t in figure.legends[0].get_texts()] == list(SYSTEMS)


def test_legend_and_caption_stand_clear_of_the_axes_and_inside_the_page(tidy):
    figure = sweep_figure(tidy, layout(tidy), "psnr", manifest())
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    caption = figure.texts[0].get_window_extent()
    lowest = min(ax.get_tightbbox().y0 for ax in figure.axes)
    assert caption.y1 <= legend.y0 + 1 and legend.y1 <= lowest + 1
    width, _ = figure.get_size_inches() * figure.dpi
    for box in (legend, caption):
        assert box.x0 >= 0 and box.x1 <= width and box.y0 >= -1


def test_a_metric_that_is_null_somewhere_is_drawn_where_it_is_not(tidy):
    holed = tidy.copy()
    holed.loc[(holed["system"] == "vvc") & (holed["es_n0_db"] == 2), "value"] = np.nan
    holed.loc[holed["system"] == "jpeg", ["value", "ci_low", "ci_high"]] = np.nan
    figure = sweep_figure(holed, layout(holed), "psnr", manifest())
    for ax in figure.axes:
        assert set(lines(ax)) == {"vvc", "softcast"}
        assert list(lines(ax)["vvc"].get_xdata()) == [-4, 8]


def test_an_axis_of_one_system_splits_its_curve(tidy):
    split = tidy.assign(**{"vvc.preset": tidy["system"].map({"vvc": "fast"})})
    again = split[split["system"] == "vvc"].assign(**{"vvc.preset": "slower"})
    both = pd.concat([split, again])
    figure = sweep_figure(both, layout(both), "psnr", manifest())
    names = {"vvc (vvc.preset fast)", "vvc (vvc.preset slower)", "jpeg", "softcast"}
    for ax in figure.axes:
        drawn = lines(ax)
        assert set(drawn) == names
        fast, slower = (drawn[f"vvc (vvc.preset {p})"] for p in ("fast", "slower"))
        assert fast.get_color() == slower.get_color() == KNOWN["vvc"].color
        assert fast.get_linestyle() != slower.get_linestyle()


def test_page_width_puts_channels_beside_each_other(tidy):
    one = tidy[tidy["cbr_target"] == tidy["cbr_target"].min()]
    wide = manifest()
    wide["scenario"] = {**wide["scenario"], "figures": {"width": "page"}}
    narrow = sweep_figure(one, layout(one), "psnr", manifest())
    page = sweep_figure(one, layout(one), "psnr", wide)
    assert narrow.get_size_inches()[0] == 3.5
    assert page.get_size_inches()[0] == 7.16
    assert page.axes[0].get_position().y0 == pytest.approx(page.axes[1].get_position().y0)


# ------------------------------------------------------------------------------------------------ failure rate


@pytest.mark.parametrize("frames", [8, 800])
def test_failure_rates_have_their_intervals_and_zero_is_no_point(tidy, frames):
    from linksim.metric.interval import clopper_pearson

    grown = tidy.assign(
        num_frames=tidy["num_frames"] * (frames // 8), num_failed=tidy["num_failed"] * (frames // 8)
    )
    figure = failure_figure(grown, layout(grown), manifest())
    seen_zero = 0
    for ax in figure.axes:
        assert ax.get_yscale() == ("log" if frames == 800 else "linear")
        bars = {
            c.get_label().removeprefix("_interval "): np.array(c.get_segments())
            for c in ax.collections
        }
        for system, line in lines(ax).items():
            want = part(grown, "psnr", ax.get_title(), system)
            failed = want["num_failed"].to_numpy(int)
            rate = failed / frames
            np.testing.assert_allclose(
                line.get_ydata(), np.where((failed == 0) & (frames == 800), np.nan, rate)
            )
            np.testing.assert_allclose(line.get_xdata(), want["es_n0_db"], atol=1)
            assert list(line.get_markevery()) == list(np.flatnonzero(failed))
            ends = np.array([clopper_pearson(int(k), frames) for k in failed])
            np.testing.assert_allclose(bars[system][:, 1, 1], ends[:, 1])
            assert (bars[system][failed == 0, 1, 1] > 0).all()
            seen_zero += int((failed == 0).sum())
    assert seen_zero


# -------------------------------------------------------------------------------------------- rates and ledger


def test_rate_curves_run_over_the_measured_rate(tidy):
    moved = tidy.assign(cbr=tidy["cbr"] * 0.95)
    figure = rate_figure(moved, layout(moved), "psnr", manifest())
    assert len(figure.axes) == 6  # two channels x three SNRs
    for ax in figure.axes:
        channel, condition = ax.get_title().split(", ")
        snr = float(condition.removeprefix("Es/N0 ").removesuffix(" dB"))
        for system, line in lines(ax).items():
            own = moved[(moved["metric"] == "psnr") & (moved["system"] == system)]
            own = own[(own["channel"] == channel) & (own["es_n0_db"] == snr)].sort_values("cbr")
            np.testing.assert_array_equal(line.get_xdata(), own["cbr"])
            np.testing.assert_array_equal(line.get_ydata(), own["value"])


def test_ledger_bars_are_shares_of_what_was_sent(run):
    frame = RunFolder(run).rows()
    means = frame.groupby("system", sort=False)[
        [c for c in frame if c.startswith("ledger_")]
    ].mean()
    means.columns = [c.removeprefix("ledger_") for c in means.columns]
    figure = ledger_figure(means, "phy", manifest())
    ax = figure.axes[0]
    assert ax.get_xlabel() == "share of the channel uses sent [%]"
    assert [t.get_text() for t in ax.get_yticklabels()] == list(SYSTEMS)
    total = np.zeros(3)
    for bars in ax.containers:
        widths = [bar.get_width() for bar in bars]
        want = 100 * means[bars.get_label()] / means.sum(axis=1)
        np.testing.assert_allclose(widths, want)
        total += widths
    np.testing.assert_allclose(total, 100)
    assert ledger_figure(means * 0, "phy", manifest()) is None


# ------------------------------------------------------------------------------------------------------- grid


def with_pictures(path):
    """A run that kept the reconstructions of image 2."""
    make_run(path, systems=("vvc", "softcast"), snrs=(-4, 8), channels=("awgn",), num_images=4)
    given = json.loads((path / "run.json").read_text())
    with RunFolder.create_or_open(path, given) as folder:
        folder.write_picture("original", 2, np.full((16, 24, 3), 200, np.uint8))
        for point in folder.points():
            folder.write_picture(point["id"], 2, np.full((16, 24, 3), 90, np.uint8))
    return RunFolder(path)


def test_the_grid_shows_original_scores_and_failures(tmp_path):
    folder = with_pictures(tmp_path)
    tidy = table(folder)
    assert items(folder) == [2]
    figure = grid_figure(folder, tidy.drop_duplicates("point"), layout(tidy), 2, "awgn")
    cells = np.array(figure.axes).reshape(2, 3)
    assert [ax.get_title() for ax in cells[0]] == ["original", "Es/N0 -4 dB", "Es/N0 8 dB"]
    assert [ax.get_ylabel() for ax in cells[:, 0]] == ["vvc", "softcast"]
    frame = folder.rows()
    for row, system in zip(cells, ("vvc", "softcast"), strict=True):
        for ax, snr in zip(row[1:], (-4, 8), strict=True):
            fact = frame[(frame["system"] == system) & (frame["es_n0_db"] == snr)]
            fact = fact[fact["image"] == "photo-02"].iloc[0]
            assert f"{fact['metric_psnr']:.1f} dB" in ax.get_xlabel()
            assert f"LPIPS {fact['metric_lpips-alex']:.2f}" in ax.get_xlabel()
            assert [t.get_text() for t in ax.texts] == (["failed"] if fact["failed"] else [])
    assert frame["failed"].any()
    assert "photo-02" in figure.texts[0].get_text()


# ------------------------------------------------------------------------------------------------- whole runs


def test_a_run_is_drawn_whole_and_to_the_same_bytes(tmp_path):
    folder = with_pictures(tmp_path)
    first = plot_run(folder.path)
    names = [p.name for p in first if p.suffix == ".png"]
    assert names == [
        *("psnr.png", "mse.png", "lpips-alex.png", "failures.png", "ledger.png"),
        "grid-2-awgn-cbr-0.0417.png",
    ]
    assert [p.with_suffix(".svg") for p in first if p.suffix == ".png"] == first[1::2]
    before = [p.read_bytes() for p in first]
    script = f"from linksim.figure import plot_run; plot_run({str(folder.path)!r})"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert [p.read_bytes() for p in first] == before
    with Image.open(first[0]) as image:
        assert image.size[0] >= 3.5 * 200
    assert b"<dc:date>" not in before[1]


def test_a_packet_run_has_its_own_axes_and_names(tmp_path):
    base = manifest()
    base["scenario"] = {**base["scenario"], "link": "packet"}
    with RunFolder.create_or_open(tmp_path, base) as folder:
        for i, rate in enumerate((0.0, 0.1)):
            axes = {"erasure": "iid", "erasure_rate": rate, "bpp_target": 1.0}
            made = rows(f"c{i}", f"p{i}", "jpeg", images=["a", "b"], axes=axes, link="packet")
            folder.write(f"c{i}", [{**row, "channel": None} for row in made])
    tidy = table(tmp_path)
    figure = sweep_figure(tidy, layout(tidy), "psnr", base)
    assert figure.axes[0].get_xlabel() == "packet loss rate"
    assert figure.axes[0].get_title() == "iid, bpp 1"
    names = {p.name for p in plot_run(tmp_path)}
    assert {"psnr-packet.png", "ledger-packet.svg"} <= names


def test_a_run_without_a_sweep_still_draws(tmp_path):
    path = make_run(tmp_path / "r", systems=("vvc",), snrs=(4,), channels=("awgn",), num_images=4)
    assert {p.name for p in plot_run(path)} >= {"psnr.png", "ledger.png"}


def test_importing_results_and_figures_loads_no_heavy_library():
    script = (
        "import sys, linksim.results, linksim.figure, linksim.figure.sweep, linksim.figure.grid;"
        "print([m for m in ('matplotlib', 'pandas', 'pyarrow', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# ------------------------------------------------------------------------------------------------------ styles


def test_known_systems_look_the_same_in_any_company():
    assert styles(["x", "vvc", "jpeg2000"])["vvc"] == styles(["vvc"])["vvc"] == KNOWN["vvc"]
    assert styles(["jpeg2000"])["jpeg2000"] == KNOWN["jpeg2000"]
    looks = {(s.color, s.marker) for s in KNOWN.values()}
    assert len(looks) == len({s.color for s in KNOWN.values()}) == len(KNOWN)


def test_variants_keep_their_colour_and_new_labels_never_meet():
    found = styles(["vvc", "vvc-slower", "vvc (fixed mcs)", "mine", "yours", "jpeg2000x"])
    assert found["vvc-slower"].color == found["vvc"].color
    assert len(set(found.values())) == len(found)
    assert found["jpeg2000x"].color not in (KNOWN["jpeg"].color, KNOWN["jpeg2000"].color)
    many = styles([f"system {i}" for i in range(20)])
    assert len(set(many.values())) == 20
    assert styles(["mine"])["mine"] == styles(["mine", "vvc"])["mine"]


def test_published_curves_are_drawn_beside_ours():
    from matplotlib.figure import Figure

    from linksim.figure.published import draw_published, published_note
    from linksim.results.published import published_curve

    ax = Figure().add_subplot()
    names = ["neural-dsc-kitti", "dsin-kitti", "ntscc-kodak-awgn10", "of-another-package"]
    manifest = {"scenario": {"figures": {"published": names}}}
    drawn = draw_published(ax, manifest, "bpp_target", "ms-ssim")
    assert list(drawn) == ["Neural DSC (published)"], "DSIN has no MS-SSIM, NTSCC another axis"
    assert drawn["Neural DSC (published)"][1].get_xydata().tolist()[0] == [0.0110, 0.867]
    assert list(draw_published(ax, manifest, "bpp", "psnr")) == [
        published_curve(name).label for name in names[:2]
    ]
    assert "KITTI stereo 128x256" in published_note(manifest)
    assert published_note({}) == ""


# ----------------------------------------------------------------------------------- one metric against another


def test_a_plane_has_a_marker_for_every_system_and_condition(run, tidy):
    from linksim.figure.plane import plane_figure

    one = tidy[(tidy["cbr_target"] == tidy["cbr_target"].max()) & (tidy["channel"] == "awgn")]
    figure = plane_figure(one, layout(one), ("mse", "psnr"), manifest())
    assert [ax.get_title() for ax in figure.axes] == ["Es/N0 -4 dB", "Es/N0 2 dB", "Es/N0 8 dB"]
    for ax, snr in zip(figure.axes, (-4, 2, 8), strict=True):
        assert set(lines(ax)) == set(SYSTEMS)
        for system, line in lines(ax).items():
            here = one[(one["system"] == system) & (one["es_n0_db"] == snr)]
            for metric, drawn in (("mse", line.get_xdata()), ("psnr", line.get_ydata())):
                assert drawn == pytest.approx(here[here["metric"] == metric]["value"].to_numpy())
    assert "MSE" in figure.axes[0].get_xlabel() and "PSNR [dB]" in figure.axes[0].get_ylabel()


def test_a_plane_is_saved_under_both_names(run):
    paths = plot_run(run, ("mse", "psnr"))
    assert [path.name for path in paths] == ["psnr-against-mse.png", "psnr-against-mse.svg"]
    with pytest.raises(RunStateError, match="no values of 'ms-ssim', only of"):
        plot_run(run, ("mse", "ms-ssim"))
