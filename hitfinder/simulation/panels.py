"""What the detector is made of inside the window: modules, gaps, chips, and its bad pixels."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hitfinder.simulation.maps import Image
from hitfinder.simulation.run import Layout, Run

_PAIRED_SHARE = 0.15
"""Hot pixels come in pairs so often."""

_HOT_SPREAD = 1.6
"""Sigma of the logarithm of a hot pixel's rate: from warm to saturated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panels:
    """`panel` and `chip` (rows, cols) int32 number modules and chips over the whole detector;
    `area` float32 is the light a pixel collects; `along_chip` (cols,) goes from 0 to 1 along a
    chip; `mask` are gaps and dead pixels, `dead` only these. `hot` are flat indices, `hot_photons`
    their means, `hot_steady` how often they are on.
    """

    panel: NDArray[np.int32] = field(repr=False)
    chip: NDArray[np.int32] = field(repr=False)
    area: Image = field(repr=False)
    along_chip: NDArray[np.float32] = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)
    dead: NDArray[np.bool_] = field(repr=False)
    hot: NDArray[np.intp] = field(repr=False)
    hot_photons: NDArray[np.float64] = field(repr=False)
    hot_steady: NDArray[np.float64] = field(repr=False)
    noisy_rows: NDArray[np.intp] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Axis:
    """Along one axis of the window: module, chip within the detector, gap, and light collected."""

    module: NDArray[np.int32]
    chip: NDArray[np.int32]
    gap: NDArray[np.bool_]
    light: NDArray[np.float32]
    along_chip: NDArray[np.float32]


def make_panels(run: Run, rng: np.random.Generator) -> Panels:
    """The window's part of the detector; `rng` places the bad pixels."""
    window, layout, flaws = run.window, run.layout, run.flaws
    row = _axis(layout, 0, run.geometry.shape[0], window.top, window.rows)
    col = _axis(layout, 1, run.geometry.shape[1], window.left, window.cols)
    shape = window.rows, window.cols
    gaps = row.gap[:, None] | col.gap[None, :]
    dead = np.zeros(shape, np.bool_)
    size = dead.size
    dead.reshape(-1)[rng.integers(0, size, rng.poisson(flaws.dead_share * size))] = True
    hot = rng.integers(0, size, rng.poisson(flaws.hot_per_mpx * size / 1e6)).astype(np.intp)
    photons = flaws.hot_photons * rng.lognormal(0.0, _HOT_SPREAD, len(hot))
    paired = rng.random(len(hot)) < _PAIRED_SHARE
    neighbours = (hot[paired] + rng.choice([1, window.cols], int(paired.sum()))) % size
    photons = np.append(photons, photons[paired] * rng.uniform(0.2, 1.0, len(neighbours)))
    places = np.append(hot, neighbours).astype(np.intp)
    mask = gaps | dead
    shown = ~mask.reshape(-1)[places]  # the others are flagged, whatever they read
    steady = np.where(rng.random(len(places)) < 0.7, 1.0, rng.uniform(0.1, 0.9, len(places)))
    return Panels(
        panel=(row.module[:, None] * 1000 + col.module[None, :]).astype(np.int32),
        chip=(row.chip[:, None] * 1000 + col.chip[None, :]).astype(np.int32),
        area=row.light[:, None] * col.light[None, :],
        along_chip=col.along_chip,
        mask=mask,
        dead=dead & ~gaps,
        hot=places[shown],
        hot_photons=photons[shown],
        hot_steady=steady[shown],
        noisy_rows=rng.integers(0, window.rows, flaws.noisy_lines).astype(np.intp),
    )


def _axis(layout: Layout, axis: int, length: int, start: int, count: int) -> _Axis:
    modules, gap, chips = layout.modules[axis], layout.gap_px[axis], layout.chips[axis]
    size = max((length - (modules - 1) * gap) // modules, 1)
    position = np.arange(start, start + count)
    module = np.clip(position // (size + gap), 0, modules - 1)
    within = position - module * (size + gap)
    chip_size = max(size // chips, 1)
    chip = np.clip(within // chip_size, 0, chips - 1)
    on_chip = within - chip * chip_size
    line = ((on_chip == 0) & (chip > 0)) | ((on_chip == chip_size - 1) & (chip < chips - 1))
    return _Axis(
        module=module.astype(np.int32),
        chip=(module * chips + chip).astype(np.int32),
        gap=within >= size,
        light=np.where(line, layout.chip_line, 1.0).astype(np.float32),
        along_chip=np.clip(on_chip / chip_size, 0.0, 1.0).astype(np.float32),
    )
