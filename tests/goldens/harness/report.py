"""The outcome of comparing a case."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """One recorded tensor: largest error (absolute; of backbones relative, L2), largest recorded value, and whether the
    error is within tolerance."""

    tensor: str
    error: float
    largest: float
    ok: bool


@dataclass(frozen=True)
class CaseReport:
    """One case: what was compared, or why nothing was."""

    case: str
    not_checked: str | None
    comparisons: tuple[Comparison, ...]

    @property
    def ok(self) -> bool:
        """True unless a comparison is off; a case that was not checked is not off."""
        return all(comparison.ok for comparison in self.comparisons)
