"""What cannot be written: a full disk and a folder in which nothing may be written. Nothing acknowledged is lost."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from label_client import Client, labelling
from numbered_videos import write_numbered_video

resource = pytest.importorskip("resource")
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1  # of Linux
ROOM = 40_000  # bytes that a file may have: as on a disk that is full
pytestmark = pytest.mark.slow


def full() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))


def add(client: Client, video: str, number: int) -> int:
    """Status of the answer to one more annotation, with a comment of 1 KB."""
    op = {
        "op": "add",
        "id": f"a{number}",
        "label": "bite",
        "segment": [0.04 * (number % 60)] * 2,
        "comment": "x" * 1000,
    }
    return client.ask("POST", "/api/changes", {"video": video, "client": "a", "ops": [op]})[0]


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of other processes cannot be changed here")
def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "v.mp4", 60, sound=None)
    path = tmp_path / "l.json"
    options = (tmp_path / "v.mp4", "--annotations", path, "--labels", "bite!")
    with labelling(*options, home=tmp_path / "home", code=None, preexec_fn=full) as client:
        video = client.videos()["v"]
        acknowledged: set[str] = set()
        number, deadline = 0, time.monotonic() + 60
        # Until neither the journal nor the file has room for more.
        while not (client.json("GET", "/api/project")["problem"] and add(client, video, number) == 503):
            assert time.monotonic() < deadline
            if add(client, video, number) == 200:
                acknowledged.add(f"a{number}")
                number += 1
        assert {item["id"] for item in client.contents(video)["annotations"]} == acknowledged and len(acknowledged) > 20
        json.loads(path.read_text())  # what is there is whole
        client.process.kill()
        client.process.wait()
    with labelling(*options, home=tmp_path / "home", code=None, preexec_fn=full) as client:
        assert {item["id"] for item in client.contents(video)["annotations"]} == acknowledged
        resource.prlimit(client.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert add(client, video, number) == 200
        client.json("POST", "/api/finish", {})
        assert client.process.wait(20) == 0
    found = json.loads(path.read_text())["database"]["v"]["annotations"]
    assert {item["id"] for item in found} == acknowledged | {f"a{number}"}


def held_by_modes() -> None:
    """Modes of files and folders decide what may be written, for root too: its right to pass over them goes."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


def test_a_read_only_folder_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(0o500)
    if subprocess.run(["touch", folder / "x"], preexec_fn=held_by_modes, capture_output=True).returncode == 0:
        pytest.skip("nothing keeps root from writing here")
    folder.chmod(0o700)
    write_numbered_video(tmp_path / "v.mp4", 60, sound=None)
    options = (tmp_path / "v.mp4", "--annotations", folder / "l.json", "--labels", "bite!")
    with labelling(*options, home=tmp_path / "home", preexec_fn=held_by_modes) as client:
        video = client.videos()["v"]
        assert add(client, video, 1) == 200
        folder.chmod(0o500)
        deadline = time.monotonic() + 20
        while not client.json("GET", "/api/project")["problem"]:
            assert time.monotonic() < deadline
        folder.chmod(0o700)
    found = json.loads((folder / "l.json").read_text())["database"]["v"]["annotations"]
    assert [item["id"] for item in found] == ["a1"]
