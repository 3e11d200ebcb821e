"""The tree of errors: everything is a TalError with an exit code, exported, and travels between processes."""

from __future__ import annotations

import inspect
import pickle

import pytest

import tal_cli
from tal_cli.extractors import errors
from tal_cli.extractors.errors import EXIT_INPUT, EXIT_MISSING, EXIT_USAGE, InputError, TalError, VideoError

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, TalError)]


def test_every_error_is_exported_and_nothing_else() -> None:
    names = {kind.__name__ for kind in TREE}
    assert names <= set(tal_cli.__all__)
    assert set(tal_cli.__all__) - names == {"Detections", "Segment", "VideoDetector", "__version__"}
    assert all(getattr(tal_cli, name).__name__ == name for name in names)


@pytest.mark.parametrize("kind", TREE)
def test_every_error_has_an_exit_code_and_travels(kind: type[TalError]) -> None:
    assert kind is TalError or kind.exit_code in (EXIT_USAGE, EXIT_INPUT, EXIT_MISSING)
    error = errors.remake(kind, "reason", "remedy", "path")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.reason, copy.remedy, copy.path) == (kind, "reason", "remedy", "path")
    assert str(copy) == "path: reason"


def test_all_can_be_caught_as_one() -> None:
    with pytest.raises(TalError, match=r"^a\.mp4: broken$"):
        raise VideoError("a.mp4", "broken")
    assert issubclass(VideoError, InputError)
