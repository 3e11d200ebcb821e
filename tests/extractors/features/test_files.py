"""Feature sequences, their times and their files."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tal_cli.extractors.errors import FeatureError, InputError
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.files import load_features, save_features
from tal_cli.extractors.features.formats import FORMATS, WRITTEN
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.extractors.files.atomic import write_atomically

MakeContract = Callable[..., FeatureContract]


@pytest.fixture
def sequence(contract: MakeContract) -> FeatureSequence:
    features = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    return FeatureSequence(features=features, contract=contract(), fps=25.0, frames=50, duration=2.0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.parametrize("suffix", WRITTEN)
@pytest.mark.parametrize("windows", [1, 100_000])
def test_a_full_disk_is_called_one(suffix: str, windows: int) -> None:
    with pytest.raises(InputError, match="/dev/full: cannot be written: No space left on device"):
        write_atomically(
            Path("/dev/full"), lambda file: FORMATS[suffix].write(np.zeros((windows, 3), np.float32), file)
        )


@pytest.mark.parametrize("suffix", WRITTEN)
def test_files_give_back_what_was_saved(sequence: FeatureSequence, tmp_path: Path, suffix: str) -> None:
    times = np.linspace(0.1, 1.9, 9).round(6)
    sequence = replace(
        sequence, window_times=times, warnings=("2 frames could not be decoded",), feature_fps=12.5, start=1.4
    )
    path = tmp_path / "deep" / f"a.b.{suffix}"
    save_features(sequence, path)
    found = load_features(path)
    assert np.array_equal(found.features, sequence.features)
    assert np.array_equal(found.window_times, times)  # type: ignore[arg-type]
    assert replace(found, features=0, window_times=0) == replace(sequence, features=0, window_times=0)  # type: ignore[arg-type]
    assert sorted(file.name for file in path.parent.iterdir()) == ["a.b.json", f"a.b.{suffix}"]


def test_features_without_description_are_someone_elses(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((5, 1, 7), np.float64))
    found = load_features(tmp_path / "x.npy")
    assert found.contract is None
    assert found.features.shape == (5, 7)
    assert found.features.dtype == np.float32
    with pytest.raises(ValueError, match="no times"):
        found.seconds(0.0)


def test_a_kill_between_the_two_files_leaves_nothing_that_counts(
    sequence: FeatureSequence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npy"
    save_features(sequence, path)

    def stop(*arguments: object, **more: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("tal_cli.extractors.features.files.json.dumps", stop)
    with pytest.raises(KeyboardInterrupt):
        save_features(replace(sequence, fps=30.0), path)
    assert not path.with_suffix(".json").exists()
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("suffix", WRITTEN)
def test_damaged_files_are_rejected(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    for content in (b"", b"rubbish" * 50, b"\x93NUMPY\x01\x00", b"PK\x03\x04" + bytes(60)):
        path.write_bytes(content)
        with pytest.raises(FeatureError, match="no features can be read from it"):
            load_features(path)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "executed",))

    np.save(tmp_path / "x.npy", np.array([[Bomb()]], object), allow_pickle=True)
    (tmp_path / "x.pt").write_bytes(pickle.dumps(Bomb(), protocol=2))
    for name in ("x.npy", "x.pt"):
        with pytest.raises(FeatureError):
            load_features(tmp_path / name)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "array",
    [np.ones(5), np.ones((2, 3, 4)), np.ones((0, 3)), np.array([["a"]]), np.array([[np.nan]]), np.array([[np.inf]])],
    ids=["1d", "3d", "empty", "text", "nan", "inf"],
)
def test_arrays_that_are_no_features_are_rejected(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(FeatureError):
        load_features(tmp_path / "x.npy")


def test_the_window_that_is_not_finite_is_named(tmp_path: Path) -> None:
    array = np.ones((20_000, 1), np.float32)
    array[[18_321, 19_000]] = np.nan
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(FeatureError, match="window 18321 holds values that are not finite"):
        load_features(tmp_path / "x.npy")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("contract"),
        lambda content: content.pop("video"),
        lambda content: content["contract"].pop("stride"),
        lambda content: content["contract"].update(colour="blue"),
        lambda content: content["contract"].update(stride=0),
        lambda content: content["contract"].update(channels=4),
        lambda content: content["video"].update(fps="fast"),
        lambda content: content.update(shape=[8, 3]),
        lambda content: content.update(window_times=[1.0]),
    ],
)
def test_descriptions_that_do_not_fit_are_rejected(
    sequence: FeatureSequence, tmp_path: Path, change: Callable[[dict[str, object]], object]
) -> None:
    save_features(sequence, tmp_path / "x.npy")
    description = tmp_path / "x.json"
    content = json.loads(description.read_text())
    change(content)
    description.write_text(json.dumps(content))
    with pytest.raises(FeatureError):
        load_features(tmp_path / "x.npy")


def test_other_suffixes_and_missing_contracts_are_not_written(sequence: FeatureSequence, tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="written as npy"):
        save_features(sequence, tmp_path / "x.csv")
    with pytest.raises(FeatureError, match="without a contract"):
        save_features(replace(sequence, contract=None), tmp_path / "x.npy")


def test_differences_name_the_fields(contract: MakeContract) -> None:
    assert contract().differences(contract()) == []
    assert contract().differences(contract(window=32, resize="bilinear")) == [
        "window: 16, not 32",
        "resize: area, not bilinear",
    ]


def test_seconds_stay_within_the_video(sequence: FeatureSequence) -> None:
    assert list(sequence.seconds([-100.0, 0.0, 3.0, 1e6])) == pytest.approx([0.0, 0.32, 0.8, 2.0])


@given(
    steps=st.lists(st.floats(0.01, 3.0), min_size=1, max_size=30),
    positions=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20),
)
def test_variable_rate_seconds_and_grid_are_inverse(
    contract: MakeContract, steps: list[float], positions: list[float]
) -> None:
    times = np.cumsum(steps)
    sequence = FeatureSequence(
        features=np.zeros((len(times), 3), np.float32),
        contract=contract(),
        fps=25.0,
        frames=16 + 4 * (len(times) - 1),
        duration=float(times[-1]) + 0.5,
        window_times=times,
    )
    assert sequence.seconds(np.arange(len(times))) == pytest.approx(times)
    at = np.array(positions) * (len(times) - 1)
    assert np.allclose(sequence.grid(sequence.seconds(at)), at, atol=1e-6)
    everywhere = sequence.seconds(np.linspace(-20, len(times) + 20, 200))
    assert (np.diff(everywhere) >= 0).all()
    assert everywhere[0] == 0
    assert everywhere[-1] == sequence.duration
