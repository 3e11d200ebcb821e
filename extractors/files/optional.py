"""Optional packages: what is missing says how to get it."""

from __future__ import annotations


class ExtraMissing(Exception):
    """An optional package that is not installed. `remedy` says how to get it; extra None: it is in none of ours."""

    def __init__(self, package: str, extra: str | None) -> None:
        super().__init__(f"the package {package} is not installed")
        self.package = package
        self.extra = extra
        self.remedy = f"pip install {package}" if extra is None else f"pip install 'tal-cli[{extra}]'"
