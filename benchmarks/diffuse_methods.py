"""The methods of Su's report on simulated frames: two tables, and the pictures of the maps.

    python -m benchmarks.diffuse_methods /tmp/diffuse

writes `tables.md`, `scores.npz`, `embedding.png` and `embedding-other.png`. The time of a frame is
that of one core: preparing it, and its share of what a method does with all frames together.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hitfinder.evaluation.diffuse_plots import plot_embedding
from hitfinder.evaluation.diffuse_table import DiffuseMeasures, diffuse_table, measure_diffuse
from hitfinder.training.diffuse_methods.diffusion_map import embedded
from hitfinder.training.diffuse_methods.methods import METHODS
from hitfinder.training.diffuse_methods.prepared import Prepared, Preparer, joined
from hitfinder.training.diffuse_methods.similarity import common_line, correlation, euclidean
from hitfinder.training.diffuse_methods.tables import (
    OTHER_TEST,
    TEST,
    TRAIN,
    Portion,
    frames_of,
)

MAPS = {"Euclidean": euclidean, "correlation": correlation, "common line": common_line}


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    train, train_labels, cost_ms = prepared(TRAIN)
    scores: dict[str, NDArray[np.generic]] = {"train diffuse": train_labels}
    texts = []
    for title, portions, picture in (
        ("One experiment", TEST, "embedding.png"),
        ("Other experiments", OTHER_TEST, "embedding-other.png"),
    ):
        test, labels, _ = prepared(portions)
        rows: list[DiffuseMeasures] = []
        scores[f"{title} diffuse"] = labels
        for name, method in METHODS.items():
            started = time.process_time()
            scored = method(train, train_labels, test)
            together_ms = 1e3 * (time.process_time() - started) / (len(train) + len(test))
            scores[f"{title} {name}"] = scored
            rows.append(measure_diffuse(name, scored, labels, ms_a_frame=cost_ms + together_ms))
            print(f"{title}, {name}: {together_ms:.1f} ms a frame, {cost_ms:.1f} prepared")
        texts.append(f"{title}\n\n{diffuse_table(rows)}\n")
        both = joined([train, test])
        maps = {name: embedded(alike(both)) for name, alike in MAPS.items()}
        plot_embedding(out / picture, maps, np.concatenate([train_labels, labels]))
    (out / "tables.md").write_text("\n".join(texts))
    np.savez(out / "scores.npz", **scores)  # type: ignore[arg-type]
    print("\n".join(texts))


def prepared(portions: tuple[Portion, ...]) -> tuple[Prepared, NDArray[np.bool_], float]:
    """The portions' frames, whether each is diffuse, and what preparing one cost, ms."""
    frames, labels, spent = [], [], 0.0
    known, preparer = None, None
    for image, detector, frame in frames_of(portions):
        if preparer is None or detector is not known:
            known, preparer = detector, Preparer(detector)
        started = time.process_time()
        frames.append(preparer.one(image))
        spent += time.process_time() - started
        labels.append(bool(frame.label.diffuse))
    return joined(frames), np.array(labels), 1e3 * spent / len(frames)


if __name__ == "__main__":
    main()
