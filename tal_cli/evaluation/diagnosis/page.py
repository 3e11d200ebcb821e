"""A diagnosis as one self-contained HTML page: figures and styles are embedded, and there are no scripts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib import resources

from tal_cli.evaluation.diagnosis.analysis import Diagnosis
from tal_cli.evaluation.diagnosis.error_types import ERRORS, Kind
from tal_cli.evaluation.diagnosis.figures import RenderedFigure

TEMPLATE = "page.html.j2"


def render(diagnosis: Diagnosis, figures: Sequence[RenderedFigure], predictions: str, annotations: str) -> str:
    """The page.

    Args:
        diagnosis: the diagnosis.
        figures: its figures.
        predictions, annotations: names of the files, as the page shows them.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = resources.files("tal_cli.evaluation.diagnosis").joinpath(TEMPLATE).read_text(encoding="utf-8")
    found = diagnosis.false_positives
    order = sorted(range(len(diagnosis.labels)), key=lambda index: float(diagnosis.sensitivity.precision[index]))
    return environment.from_string(source).render(
        diagnosis=diagnosis,
        predictions=predictions,
        annotations=annotations,
        thresholds=", ".join(f"{threshold:.6g}" for threshold in diagnosis.tiou),
        instances=int(diagnosis.instances.sum()),
        average=float(diagnosis.sensitivity.precision.mean()),
        true_share=float(found.profile[0, Kind.TRUE_POSITIVE]),
        errors=[(kind.words, found.profile[0, kind], found.gain[kind - 1]) for kind in ERRORS],
        labels=[
            (diagnosis.labels[index], int(diagnosis.instances[index]), float(diagnosis.sensitivity.precision[index]))
            for index in order
        ],
        buckets=diagnosis.buckets(),
        figures=[(figure, base64.b64encode(figure.svg).decode("ascii")) for figure in figures],
    )
