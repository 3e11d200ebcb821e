"""Where this machine's pip looks for packages, and how it connects."""

from __future__ import annotations

import ast
import os
import ssl
import subprocess
import sys
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import BaseHandler, ProxyHandler

from tal_cli.extractors.errors import DownloadError
from tal_cli.model_files.http import PacedHTTP, PacedHTTPS, SafeRedirects

PYPI = "https://pypi.org/simple"
# Sections of pip's configuration, each above those before it, and uv's names for the same settings.
SECTIONS = ("global", "install", "download", ":env:")
UV = {
    "UV_INDEX_URL": "index-url",
    "UV_DEFAULT_INDEX": "index-url",
    "UV_EXTRA_INDEX_URL": "extra-index-url",
    "UV_INDEX": "extra-index-url",
    "UV_FIND_LINKS": "find-links",
}


@dataclass(frozen=True)
class IndexSettings:
    """Where pip looks for packages: addresses of indexes and of pages or folders of links; and how it connects."""

    indexes: tuple[str, ...] = (PYPI,)
    links: tuple[str, ...] = ()
    proxy: str | None = None
    certificates: str | None = None
    trusted: frozenset[str] = frozenset()

    def handlers(self, url: str) -> tuple[BaseHandler, ...]:
        """Handlers of urllib for an address. Raises DownloadError for certificates that cannot be read."""
        handlers: list[BaseHandler] = [SafeRedirects(), PacedHTTP()]
        if self.proxy:
            handlers.append(ProxyHandler({"http": self.proxy, "https": self.proxy}))
        parts = urlsplit(url)
        try:
            context = ssl.create_default_context(cafile=self.certificates)
        except (OSError, ssl.SSLError) as error:
            raise DownloadError(f"pip's certificates {self.certificates}: {error}") from None
        if {parts.hostname, parts.netloc.rpartition("@")[2]} & self.trusted:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return (*handlers, PacedHTTPS(context=context))


def pip_settings() -> IndexSettings:
    """Where pip looks, as `pip config` tells; without pip, by the environment variables of pip and uv."""
    values: dict[str, str] = {}
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False, cwd=sys.prefix
    )
    if listed.returncode == 0:
        by_section = parse_config(listed.stdout)
        for section in SECTIONS:
            values |= {key: value for key, value in by_section.get(section, {}).items() if value}
    else:
        named = {name: name.removeprefix("PIP_").lower().replace("_", "-") for name in os.environ}
        for name, key in (UV | {name: key for name, key in named.items() if name.startswith("PIP_")}).items():
            if os.environ.get(name):
                values[key] = os.environ[name]
    first = () if is_true(values.get("no-index")) else (values.get("index-url") or PYPI,)
    more = () if is_true(values.get("no-index")) else tuple(values.get("extra-index-url", "").split())
    return IndexSettings(
        indexes=(*first, *more),
        links=tuple(values.get("find-links", "").split()),
        proxy=values.get("proxy"),
        certificates=values.get("cert"),
        trusted=frozenset(values.get("trusted-host", "").split()),
    )


def parse_config(text: str) -> dict[str, dict[str, str]]:
    """Values by section from lines such as `global.index-url='https://...'`."""
    sections: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        section, _, key = name.rpartition(".")
        try:
            sections.setdefault(section, {})[key] = str(ast.literal_eval(value))
        except (ValueError, SyntaxError):
            if separator:
                sections.setdefault(section, {})[key] = value
    return sections


def is_true(value: str | None) -> bool:
    return (value or "").lower() in ("1", "true", "yes", "on")
