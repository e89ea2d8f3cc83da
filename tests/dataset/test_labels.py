"""Labels in a CSV: what is read, what they are joined to, and every way to be wrong."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitfinder.dataset.frames import Label, Series, about_diffuse
from hitfinder.dataset.labels import LabelRow, apply_labels, read_labels, write_labels
from hitfinder.dataset.series import open_series
from hitfinder.errors import DataFileError
from tests.dataset.files import counts, write_hdf5, write_stack

HIT, MISS = Label(truth="hit"), Label(truth="miss")

LABELS = st.builds(
    Label,
    truth=st.just("hit"),
    tier=st.sampled_from([None, "weak", "strong"]),
    artefacts=st.lists(st.sampled_from(["salt", "cosmic", "spotty-ice"])).map(tuple),
) | st.builds(Label, truth=st.sampled_from(["miss", "ambiguous"]))
NAMES = st.text(st.characters(blacklist_categories=("C", "Z")), min_size=1) | st.sampled_from(
    ['a "b", c.h5', "a;b.h5", "#x.h5"]
)
ROWS = st.lists(
    st.builds(LabelRow, file=NAMES, frame=st.integers(0, 10**6), label=LABELS), min_size=1
)


def _table(folder: Path, *lines: str, head: str = "file,frame,label") -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join((head, *lines)) + "\n")
    return path


def _run(path: Path, frames: int = 3, **datasets: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    return write_hdf5(path, entry__data__data=counts(frames, 8, 9), **datasets)


def _labels(series: list[Series]) -> list[Label | None]:
    return [frame.label for one in series for frame in one.frames]


@given(rows=ROWS)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, rows: list[LabelRow]
) -> None:
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    write_labels(path, rows)
    first = path.read_bytes()
    assert read_labels(path) == rows
    write_labels(path, rows)
    assert path.read_bytes() == first
    assert [each.name for each in path.parent.iterdir()] == ["labels.csv"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="cannot be written"):
        write_labels(tmp_path / "gone" / "labels.csv", [])


def test_a_failing_source_of_rows_leaves_the_old_file(tmp_path: Path) -> None:
    path = _table(tmp_path, "a.h5,0,hit")
    before = path.read_bytes()

    def rows() -> list[LabelRow]:
        raise DataFileError("no more")

    with pytest.raises(DataFileError, match="no more"):
        write_labels(path, (row for _ in range(1) for row in rows()))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file,frame,label\na.h5,7,hit\n", ("a.h5", 7, HIT)),
        ("\ufeffLabel;Note;FRAME;file\r\nMISS;why, oh;0;a b.h5\r\n\r\n", ("a b.h5", 0, MISS)),
        ("file\tframe\tlabel\na.h5\t1\t1\n", ("a.h5", 1, HIT)),
        ("file,frame,label\n a.h5 , 0 ,0", ("a.h5", 0, MISS)),
        ("file,frame,label\na.h5,0,-1", ("a.h5", 0, Label(truth="ambiguous"))),
        ("file,frame,label\na.h5,4,\na.h5,,\na.h5,5,hit\n", ("a.h5", 5, HIT)),
        (
            "file,frame,label,tier,artefacts\na.h5,0,hit,Weak,salt;cosmic  ice\n",
            ("a.h5", 0, Label(truth="hit", tier="weak", artefacts=("salt", "cosmic", "ice"))),
        ),
        ("file,frame,label,tier,artefacts\na.h5,0,hit\n", ("a.h5", 0, HIT)),
    ],
)
def test_spellings(tmp_path: Path, text: str, expected: tuple[str, int, Label]) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode())
    file, frame, label = expected
    assert read_labels(path) == [LabelRow(file=file, frame=frame, label=label)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "no column file, frame, label"),
        (b"\n\n", "no column file, frame, label"),
        (b"file,index,label\na.h5,0,hit\n", "has no column frame; its first line must name"),
        (b"a.h5,0,hit\n", "no column file, frame, label"),
        (b"file,frame,label\n", "labels no frame"),
        (b"file,frame,label\na.h5,0,\n", "labels no frame"),
        (b"PK\x03\x04\x14\x00\x06\x00workbook", "perhaps a workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "perhaps a workbook"),
        ("file,frame,label\n".encode("utf-16"), "perhaps a workbook"),
        (b"file,frame,label\na.h5,0,hit\na.h5,1,maybe\n", "line 3: 'maybe' is unknown"),
        (b"file,frame,label,tier\na.h5,1,hit,good\n", "line 2: 'good' is unknown"),
        (b"file,frame,label,tier\na.h5,1,miss,weak\n", "line 2: a miss has no tier"),
        (b"file,frame,label,diffuse\na.h5,1,0,yes\n", "line 2: a miss shows no diffuse"),
        (b"file,frame,label\na.h5,-1,hit\n", "line 2: frame '-1' is no number from 0"),
        (b"file,frame,label\na.h5,1.5,hit\n", r"line 2: frame '1\.5' is no number"),
        (b"file,frame,label\na.h5," + b"9" * 5000 + b",hit\n", "is no number from 0"),
        (b"file,frame,label\n,1,hit\n", "line 2: names no file"),
        (b"file,frame,label\na.h5,1,hit,salt,ice\n", "line 2: has 5 cells for 3 columns"),
        (b'file,frame,label\n"a.h5,1,hit\n', "line 2: is no CSV"),
        (b"file,frame,label\n" + b"x" * 200_000 + b",1,hit\n", "is no CSV"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=message) as caught:
        read_labels(path)
    assert str(caught.value).startswith(f"{path}")
    assert "\n" not in str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="cannot be read"):
        read_labels(tmp_path / "gone.csv")


@pytest.mark.parametrize("name", ["run1.h5", "data/run1.h5", "/beamline/run1.h5", "./data/run1.h5"])
@pytest.mark.parametrize("absolute", [True, False])
def test_how_a_file_may_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, absolute: bool
) -> None:
    _run(tmp_path / "data" / "run1.h5")
    _run(tmp_path / "data" / "run2.h5")
    monkeypatch.chdir(tmp_path)
    given = (tmp_path if absolute else Path()) / "data"
    series = apply_labels(open_series([given]), _table(tmp_path, f"{name},1,hit"))
    assert _labels(series) == [None, HIT, None, None, None, None]


def test_a_name_beside_the_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b"):
        _run(tmp_path / folder / "run.h5")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    series = open_series([tmp_path / "a", tmp_path / "b"])
    assert _labels(apply_labels(series, _table(tmp_path / "b", "run.h5,0,hit")))[3] == HIT
    with pytest.raises(DataFileError, match=r"line 2: run\.h5 is not among the data"):
        apply_labels(series, _table(tmp_path, "run.h5,0,hit"))


def test_another_file_of_the_same_name_is_not_meant(tmp_path: Path) -> None:
    _run(tmp_path / "a" / "run.h5")
    _run(tmp_path / "b" / "run.h5")
    series = open_series([tmp_path / "b"])
    with pytest.raises(DataFileError, match=r"line 2: a/run\.h5 is not among the data"):
        apply_labels(series, _table(tmp_path, "a/run.h5,0,hit"))
    with pytest.raises(DataFileError, match=r"line 3: gone/run\.h5 and b/run\.h5 could both mean"):
        apply_labels(series, _table(tmp_path, "b/run.h5,0,hit", "gone/run.h5,1,hit"))


def test_symbolic_links_lead_to_the_data(tmp_path: Path) -> None:
    run = _run(tmp_path / "data" / "run.h5")
    (tmp_path / "link.h5").symlink_to(run)
    table = _table(tmp_path, "link.h5,0,hit")
    assert _labels(apply_labels(open_series([run]), table))[0] == HIT
    with pytest.raises(DataFileError, match="given twice"):
        apply_labels(open_series([run, tmp_path / "link.h5"]), table)


def test_images_joined_to_a_series(tmp_path: Path) -> None:
    for number in range(3):
        np.save(tmp_path / f"a{number}.npy", counts(8, 9))
    table = _table(tmp_path, "a0.npy,0,hit", "a2.npy,0,miss")
    series = apply_labels(open_series([tmp_path / f"a{number}.npy" for number in range(3)]), table)
    assert _labels(series) == [HIT, None, MISS]


def test_a_row_replaces_what_the_file_says_of_its_frame_only(tmp_path: Path) -> None:
    run = _run(
        tmp_path / "run.h5",
        entry__truth__hit=np.array([1, 1, -2], "i1"),
        entry__truth__tier=np.array([2, 1, 0], "i1"),
    )
    (series,) = apply_labels(open_series([run]), _table(tmp_path, "run.h5,1,miss"))
    assert _labels([series]) == [Label(truth="hit", tier="strong"), MISS, None]
    np.testing.assert_array_equal(series.frames[2].load().whole(), counts(3, 8, 9)[2])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["run.h5,3,hit"], "line 2: frame 3 of run.h5, whose 3 frames count from 0 to 2"),
        (["run.h5,0,hit", "run9.h5,0,hit"], "line 3: run9.h5 is not among the data"),
        (
            ["run.h5,0,hit", "", "run.h5,0,miss"],
            "line 4: says something else of frame 0 of run.h5 than line 2",
        ),
    ],
)
def test_labels_that_do_not_fit_the_data(tmp_path: Path, lines: list[str], message: str) -> None:
    table = _table(tmp_path, *lines)
    with pytest.raises(DataFileError, match=message.replace(".", r"\.")):
        apply_labels(open_series([_run(tmp_path / "run.h5")]), table)


def test_rows_that_agree_may_repeat(tmp_path: Path) -> None:
    table = _table(tmp_path, "run.h5,0,hit", "run.h5,0,HIT")
    assert _labels(apply_labels(open_series([_run(tmp_path / "run.h5")]), table))[0] == HIT


def test_a_file_given_twice(tmp_path: Path) -> None:
    run = _run(tmp_path / "run.h5")
    with pytest.raises(DataFileError, match="are given twice"):
        apply_labels(open_series([run, run]), _table(tmp_path, "run.h5,0,hit"))


def test_of_a_miss_nobody_asks_whether_it_shows_diffuse_scattering(tmp_path: Path) -> None:
    write_stack(tmp_path / "a.h5", counts(4, 8, 9), "contiguous")
    (tmp_path / "labels.csv").write_text(
        "file,frame,label,diffuse\na.h5,0,hit,yes\na.h5,1,hit,no\na.h5,2,miss,no\na.h5,3,miss,\n"
    )
    (series,) = apply_labels(open_series([tmp_path / "a.h5"]), tmp_path / "labels.csv")
    assert [frame.truth for frame in about_diffuse(series).frames] == ["hit", "miss", None, None]
