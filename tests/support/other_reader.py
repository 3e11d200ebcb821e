"""Run by the Python of another environment: reads a file with the reader of the program that it is for.

`python other_reader.py PROGRAM FILE` prints JSON. Such an environment, in which tal is not installed:

    python3.11 -m venv readers
    readers/bin/pip install --ignore-requires-python --no-deps boris-behav-obs==10.0.2 feral==1.0.2 \
        vtrace-behavior==1.2.1 fiftyone==1.22.1 voxel51-eta==0.17.0
    readers/bin/pip install pandas==2.3.2 PySide6-Essentials==6.10.0 pyqtgraph tablib openpyxl odfpy pyreadr hachoir \
        exifread matplotlib scipy scikit-learn 'opencv-python-headless<5' einops rich prompt_toolkit tqdm PyYAML ...

and for FiftyOne what its importer imports (it needs no data base).
"""

import importlib.util
import json
import os
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from unittest.mock import MagicMock

UNUSED = ("torch", "torchvision", "decord", "timm", "wandb", "transformers")  # imported, not needed to read labels


def boris(path):
    """Whether the project is sound, and the events that BORIS makes of each observation."""
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    sys.argv.append("--ipc")  # without libmpv
    from boris import project_functions

    _, _, project, message = project_functions.open_project_json(path)
    ethogram = project["behaviors_conf"]
    unsound = project_functions.check_project_integrity(project, "S", path, media_file_available=False)
    events, paired = {}, True
    for name, observation in project["observations"].items():
        paired &= project_functions.check_state_events_obs(name, ethogram, observation, "s")[0]
        found = project_functions.events_start_stop(ethogram, observation["events"], observation["type"])
        events[name] = [[float(event[0]), *map(str, event[1:5]), event[-1]] for event in found]
    return {"message": message, "unsound": unsound, "paired": paired, "events": events}


def boris_binary(path):
    """BORIS's binary table, in CSV, of each observation and subject: a row each half second."""
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    sys.argv.append("--ipc")
    from boris import behavior_binary_table, project_functions
    from boris import config as cfg

    project = project_functions.open_project_json(path)[2]
    subjects = [item["name"] for item in project["subjects_conf"].values()]
    parameters = {
        cfg.SELECTED_BEHAVIORS: [item["code"] for item in project["behaviors_conf"].values()],
        cfg.SELECTED_SUBJECTS: [cfg.NO_FOCAL_SUBJECT, *subjects],
        cfg.INCLUDE_MODIFIERS: True, cfg.EXCLUDE_BEHAVIORS: True, "time": cfg.TIME_FULL_OBS,
        cfg.START_TIME: Decimal(0), cfg.END_TIME: Decimal(0),
    }  # fmt: skip
    tables = behavior_binary_table.create_behavior_binary_table(
        project, list(project["observations"]), parameters, Decimal("0.5")
    )
    return {name: {who: table.export("csv") for who, table in each.items()} for name, each in tables.items()}


def vtrace(path):
    """The rows that V-TRACE trains on."""
    from vtrace.data_prep import _read_annotation_rows

    keys = ("labelId", "timestamp", "endTimestamp", "subject", "type", "review")
    return [[row[key] for key in keys] for row in _read_annotation_rows(path, "a")]


def feral(path):
    """None: FERAL raises ValueError for labels that it does not take."""
    for name in UNUSED:
        if importlib.util.find_spec(name) is None:
            sys.modules[name] = MagicMock()
    from feral.utils import validate_labels_json

    return validate_labels_json(json.loads(Path(path).read_text()), None)


def fiftyone(path):
    """The temporal detections of each video."""
    from fiftyone.utils.data.importers import FiftyOneTemporalDetectionDatasetImporter

    with tempfile.TemporaryDirectory() as folder:
        for video in json.loads(Path(path).read_text())["labels"]:
            (Path(folder) / f"{video}.mp4").touch()
        importer = FiftyOneTemporalDetectionDatasetImporter(data_path=folder, labels_path=path, compute_metadata=False)
        importer.setup()
        return {
            Path(video).stem: [
                [item.label, item.support, {name: item[name] for name in ATTRIBUTES if item.has_field(name)}]
                for item in (found.detections if found else [])
            ]
            for video, _, found, *_ in importer
        }


ATTRIBUTES = ("subject", "kind", "side", "how", "comment")

if __name__ == "__main__":
    programs = {"boris": boris, "boris-binary": boris_binary, "vtrace": vtrace, "feral": feral, "fiftyone": fiftyone}
    print(json.dumps(programs[sys.argv[1]](sys.argv[2])))
