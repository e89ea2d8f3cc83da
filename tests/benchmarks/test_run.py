"""The driver: what cannot run is a row, and the page shows the records and nothing else."""

import sys
from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.peers import PEERS, Peer, PeerError, peer_finders
from benchmarks.plots import draw
from benchmarks.record import Section, Tell, as_markdown, picture
from benchmarks.run import Measure, measured
from hitfinder.errors import HitfinderError
from tests.benchmarks.test_record import RECORD, SECTION


def quiet(text: str) -> None:
    pass


def raising(error: Exception) -> Measure:
    def measure(share: float, tell: Tell) -> list[Section]:
        raise error

    return measure


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (HitfinderError("port taken; free it"), "port taken; free it"),
        (OSError("disk full"), "disk full"),
        (ImportError("No module named 'scipy'"), "No module named 'scipy'; install it"),
    ],
)
def test_a_part_that_cannot_run_is_a_row_that_says_why(error: Exception, why: str) -> None:
    (section,) = measured("finders", lambda: raising(error), 1.0, quiet)
    assert why in section.rows[0].problem
    assert section.taken is not None
    assert f"- finders: not measured: {why}" in as_markdown(
        [RECORD.with_part([section], run.PARTS)]
    )


def test_a_part_that_is_not_there_is_a_row_too() -> None:
    def missing() -> Measure:
        raise ModuleNotFoundError("No module named 'benchmarks.nothing'")

    (section,) = measured("nothing", missing, 1.0, quiet)
    assert "benchmarks.nothing" in section.rows[0].problem


def test_a_defect_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        measured("finders", lambda: raising(ZeroDivisionError()), 1.0, quiet)


def test_a_part_gets_its_share_and_is_stamped() -> None:
    def measure(share: float, tell: Tell) -> list[Section]:
        assert share == 0.5
        return [SECTION]

    (section,) = measured("finders", lambda: measure, 0.5, quiet)
    assert section.rows == SECTION.rows
    assert section.taken is not None
    assert section.taken != SECTION.taken


def test_a_peer_that_is_not_installed_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.peers.shutil.which", lambda name: None)
    (dials,) = (peer for peer in PEERS if peer.name == "dials")
    with pytest.raises(PeerError, match="apt install dials"), peer_finders(dials, quiet):
        pass


def test_a_peer_that_no_python_takes_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("benchmarks.peers._runs", lambda command: False)
    peer = Peer(name="om", title="OM", pip=(("om",),), remedy="install Python 3.11")
    with pytest.raises(PeerError, match=r"no Python with venv.*install Python 3\.11"):
        peer_finders(peer, quiet).__enter__()


def test_a_peer_that_dies_says_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text("print('\"1.0\"', flush=True)\ninput()\nraise SystemExit('no such finder')\n")
    monkeypatch.setattr("benchmarks.peers._WORKER", worker)
    monkeypatch.setattr("benchmarks.peers._python_of", lambda peer, tell: Path(sys.executable))
    with peer_finders(PEERS[0], quiet) as peer:
        assert peer.version == "1.0"
        for _ in range(3):
            with pytest.raises(PeerError, match=r"no such finder.*install Python"):
                peer.find("exact", 0)


def test_plots_are_drawn(tmp_path: Path) -> None:
    draw(RECORD, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["box-finders.png"]


def test_the_page_is_what_the_records_give() -> None:
    page = run.PAGE.read_text(encoding="utf-8")
    assert page == run.written_page(page, run.RESULTS), "run: python -m benchmarks.run --only"


def test_the_plots_of_the_page_are_there() -> None:
    for record in run.records(run.RESULTS):
        for section in record.sections:
            if section.plot is not None:
                assert (run.RESULTS / picture(record.name, section.plot)).is_file()
