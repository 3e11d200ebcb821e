"""What of annotations is counted: observations, subjects, labels, scores, and an interval of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tal_cli.behaviour.sessions import Session
from tal_cli.datasets.annotations import Annotations, GroundTruth
from tal_cli.datasets.formats.boris.timeline import NO_SUBJECT, subject_of
from tal_cli.datasets.formats.values import stem
from tal_cli.extractors.errors import UsageError
from tal_cli.safe_text import printable

Interval = Literal["all", "events", "observation", "subject"] | tuple[float, float]
NAMED: tuple[Literal["all", "events", "observation", "subject"], ...] = ("all", "events", "observation", "subject")


@dataclass(frozen=True)
class Selection:
    """Subjects (None: without subject) and labels that count; empty: all of them."""

    subjects: tuple[str | None, ...] = ()
    labels: tuple[str, ...] = ()

    @classmethod
    def named(
        cls, annotations: Iterable[Annotations], subjects: Sequence[str], labels: Sequence[str], option: str = "--label"
    ) -> Selection:
        """The selection by names as people write them. Raises UsageError for names that no annotations have."""
        found = list(annotations)
        items = [item for each in found for video in each.videos.values() for item in video.segments]
        people = {None, *(name for each in found for name in each.subjects), *(item.subject for item in items)}
        names = {item.name for each in found for item in each.definitions} | {item.label for item in items}
        chosen = tuple(subject_of(name) for name in subjects)
        _check("--subject", subjects, chosen, people, [NO_SUBJECT, *sorted(name for name in people if name)])
        _check(option, labels, labels, names, sorted(names))
        return cls(tuple(dict.fromkeys(chosen)), tuple(dict.fromkeys(labels)))

    def has_subject(self, item: GroundTruth) -> bool:
        """Whether the subject of an instance counts."""
        return not self.subjects or item.subject in self.subjects

    def has_label(self, label: str) -> bool:
        """Whether a label counts."""
        return not self.labels or label in self.labels

    def of_subjects(self, session: Session) -> Session:
        """What its subjects do in a session, whatever the label."""
        return replace(session, bouts=tuple(item for item in session.bouts if self.has_subject(item)))

    def of(self, items: Iterable[GroundTruth]) -> tuple[GroundTruth, ...]:
        """The instances that count."""
        return tuple(item for item in items if self.has_subject(item) and self.has_label(item.label))


def _check(
    option: str, told: Sequence[str], names: Sequence[object], known: set[str | None] | set[str], listed: Sequence[str]
) -> None:
    for text, name in zip(told, names, strict=True):
        if name not in known:
            raise UsageError(
                f"{option} {printable(text)}: no such name", f"it is one of {', '.join(map(printable, listed))}"
            )


def observations_of(annotations: Annotations, names: Sequence[str]) -> Annotations:
    """The videos of some observations, by name of the observation, of the video or of its file; all if none is named.

    Raises:
        UsageError: there is no such observation.
    """
    if not names:
        return annotations
    chosen = {name: _named(annotations, name) for name in names}
    if missing := next((name for name, found in chosen.items() if not found), None):
        known = ", ".join(dict.fromkeys(printable(v.observation or v.name) for v in annotations.videos.values()))
        raise UsageError(f"no observation {printable(missing)}", f"it is one of {known}")
    wanted = {name for found in chosen.values() for name in found}
    return replace(annotations, videos={name: video for name, video in annotations.videos.items() if name in wanted})


def _named(annotations: Annotations, name: str) -> list[str]:
    """The videos of an observation; else those of that name, or file."""
    videos = annotations.videos.values()
    return (
        [video.name for video in videos if name == video.observation]
        or [video.name for video in videos if name == video.name]
        or [video.name for video in videos if video.path and name in (video.path, stem(video.path))]
    )


def two_names(told: Sequence[str], first: Annotations, second: Annotations) -> tuple[str, str]:
    """Two observations, of which names may hold commas, as in `A,B`. Raises UsageError unless there are two."""
    if len(told) == 2:
        return told[0], told[1]
    text = told[0] if len(told) == 1 else ""
    halves = [(text[:place], text[place + 1 :]) for place, sign in enumerate(text) if sign == ","]
    if not halves:
        raise UsageError(f"--observations {','.join(told)}: expected two names, of A and of B")
    fitting = (pair for pair in halves if _named(first, pair[0]) and _named(second, pair[1]))
    return next(fitting, halves[0])


def keep_scores(annotations: Annotations, least: float) -> Annotations:
    """The annotations without instances of lower scores; those without a score stay."""
    videos = {
        name: replace(video, segments=tuple(i for i in video.segments if i.score is None or i.score >= least))
        for name, video in annotations.videos.items()
    }
    return replace(annotations, videos=videos)


def parse_interval(text: str) -> Interval:
    """The interval that a text names, in seconds if it is two numbers as in `30.5:120`. Raises UsageError."""
    for name in NAMED:
        if text == name:
            return name
    first, sign, last = text.partition(":")
    try:
        start, end = float(first), float(last)
    except ValueError:
        start, end = 0.0, 0.0
    if not sign or not (-float("inf") < start < end < float("inf")):
        raise UsageError(f"--interval {text}: no such interval", f"use {', '.join(NAMED)}, or seconds as in 30.5:120")
    return start, end


def in_interval(session: Session, interval: Interval) -> Session:
    """What of a session lies in an interval, cut at its ends. `subject` leaves it as it is."""
    if isinstance(interval, tuple):
        return session.within(*interval)
    if interval == "events":
        ends = [item.end for item in session.bouts]
        return session.within(min(item.start for item in session.bouts), max(ends)) if ends else session
    if interval == "observation":
        start, end = session.observed or (0.0, 0.0)
        return session.within(start, end or session.end) if start or end else session
    return session
