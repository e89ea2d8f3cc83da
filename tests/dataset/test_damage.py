"""Whatever happens to a file's bytes, reading it gives frames or a DataFileError.

DAMAGE_EXAMPLES=3000 in the environment looks harder.
"""

import io
import os

import numpy as np
import pytest
from fabio.cbfimage import CbfImage
from fabio.edfimage import EdfImage
from fabio.tifimage import TifImage
from hypothesis import given, settings
from hypothesis import strategies as st

from hitfinder.dataset.series import open_series
from hitfinder.errors import DataFileError
from tests.dataset.files import counts


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder, pixels = tmp_path_factory.mktemp("originals"), counts(20, 30)
    CbfImage(data=pixels.astype(np.int32)).write(str(folder / "a.cbf"))
    TifImage(data=pixels).write(str(folder / "a.tif"))
    EdfImage(data=pixels).write(str(folder / "a.edf"))
    np.save(folder / "a.npy", pixels)
    out = io.BytesIO()
    np.savez_compressed(out, data=pixels)
    (folder / "a.npz").write_bytes(out.getvalue())
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.filterwarnings("ignore")  # numpy and Pillow also warn of what they then refuse
@settings(max_examples=int(os.environ.get("DAMAGE_EXAMPLES", "40")), deadline=None)
@given(
    suffix=st.sampled_from([".cbf", ".tif", ".edf", ".npy", ".npz"]),
    flips=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=6),
    keep=st.floats(0, 1),
)
def test_damaged_bytes(
    originals: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    suffix: str,
    flips: list[tuple[int, int]],
    keep: float,
) -> None:
    data = bytearray(originals[suffix])
    for place, value in flips:
        data[place % len(data)] = value
    path = tmp_path_factory.mktemp("damaged") / f"a{suffix}"
    path.write_bytes(data[: round(len(data) * keep)])
    try:
        frames = [frame.load() for series in open_series([path]) for frame in series.frames]
    except DataFileError:
        return
    assert all(frame.whole().size for frame in frames)
