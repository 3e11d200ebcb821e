"""`tal label`: the labelling page."""

from __future__ import annotations

import ctypes
import getpass
import hashlib
import os
import sys
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import typer

from tal_cli import console
from tal_cli.commands.options import InputPaths, NullSeparated, Quiet
from tal_cli.error_report import message_of
from tal_cli.extractors.errors import EXIT_INPUT, InputError, UsageError
from tal_cli.inputs import gather

M_ARENA_MAX = -8  # of <malloc.h>
EXAMPLE = 'Example: tal label videos/ --labels "groom:g,walk,bite!" --subjects m1,m2'


def label(
    inputs: InputPaths = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            "--annotations",
            metavar="FILE",
            help="Annotation file; made if absent. A file of another form is imported into a JSON file beside it.  "
            "[default: labels.json in the first folder]",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="NAME:KEY,...", help="Labels to add: name, name:key, or name! for a point."),
    ] = None,
    subjects: Annotated[str | None, typer.Option(metavar="NAME,...", help="Subjects to add.")] = None,
    suggestions: Annotated[
        str | None,
        typer.Option(
            metavar="RESULTS|MODEL", help="Results of tal detect to accept or reject, or a model to run first."
        ),
    ] = None,
    person: Annotated[str | None, typer.Option(metavar="NAME", help="Who labels.  [default: the user's name]")] = None,
    order: Annotated[
        Literal["given", "uncertain"],
        typer.Option(metavar="given|uncertain", help="Order of the videos: as given, or by what a model doubts most."),
    ] = "given",
    proxies: Annotated[
        bool, typer.Option("--proxies", help="Make copies that any browser plays of all videos first.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, metavar="N", help="Port of the page.  [default: a free one]")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the browser.")] = False,
    null: NullSeparated = False,
    quiet: Quiet = False,
) -> None:
    """Label videos in the browser, by keys, while they play.

    Prints the page's address and serves it, on this machine only, until Finish on the page or Ctrl-C. Every change is
    on disk before the page calls it saved.
    """
    share_heap()
    found = gather(inputs or [], null_separated=null)
    from tal_cli.labelling.library import Video, admitted

    sources, problems = admitted(found.sources, inputs or [])
    for problem in (*found.problems, *problems):
        console.error(message_of(problem))
        if problem.remedy:
            console.hint(problem.remedy)
    if not sources:
        raise typer.Exit(EXIT_INPUT)
    from tal_cli.datasets.video_facts import VideoFacts
    from tal_cli.labelling.model_work import ModelWork
    from tal_cli.labelling.project.document import parse_labels
    from tal_cli.labelling.project.files import Lock, free_name
    from tal_cli.labelling.project.importing import imported, with_labels
    from tal_cli.labelling.session import Events, Session
    from tal_cli.labelling.web.api import Api
    from tal_cli.labelling.web.server import Server

    try:
        added = parse_labels(labels or "")
    except ValueError as error:
        raise UsageError(f"--labels: {error}") from None
    path = annotations or default_file(inputs or [], sources[0][1])
    path = path.resolve() if path.is_symlink() else path  # its lock and its journal are beside the file itself
    file = path if path.suffix.lower() == ".json" else free_name(path)
    if not file.parent.is_dir():
        raise InputError(file, "its folder does not exist", "create it first")
    lock = Lock(file)
    try:
        events = Events()
        videos = [Video(source.name, real, events.tell) for source, real in sources]
        document = None
        if file != path and file.exists():
            console.note(f"{file} is already there: it is opened, and {path} is not imported again")
        elif file != path:
            document = imported(path, VideoFacts([real for _, real in sources]))
            console.note(f"{path} is imported; the labels are kept in {file} from now on")
        session = Session(videos, file, person or user_name(), order, events, document)
        session.store.look(lambda document: with_labels(document, added, names_of(subjects)))
        models = ModelWork(session)
        server = Server(port or 0, Api(session, models).respond, usual_port(file))
        lock.tell(server.url)
        session.start()
        server.start()
        print(server.url, flush=True)
        console.note(f"labels are kept in {file}, change by change; Finish on the page, or Ctrl-C here, ends")
        if suggestions is not None:
            models.begin_with(suggestions)
        if proxies:
            models.add_job("proxy", {})
        if not no_browser and has_screen():
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        try:
            session.finished.wait()
        finally:
            server.close()
            if not session.close():
                console.warn(f"{file}: {session.store.problem}; the changes are kept in {session.store.journal.path}")
    finally:
        lock.release()


def default_file(arguments: list[str], first: Path) -> Path:
    """`labels.json` in the first folder among the inputs, else in the folder of the first video."""
    folder = next((Path(argument) for argument in arguments if Path(argument).is_dir()), first.parent)
    return folder / "labels.json"


def share_heap() -> None:
    """Have all threads allocate from one heap; to be called before there are any. By the GNU library's default each of
    many has its own, and keeps what its largest answer took: 20 MB after a day's work."""
    with suppress(OSError, AttributeError, TypeError):  # other systems' libraries have no such setting
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def has_screen() -> bool:
    """Whether a browser would have a screen to open on, and not take over the terminal."""
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def usual_port(file: Path) -> int:
    """A port that follows from the annotation file: changes that a page could not send are found by the next one."""
    name = os.fspath(file.resolve()).encode("utf-8", "surrogatepass")
    return 20_000 + int.from_bytes(hashlib.sha256(name).digest()[:4], "big") % 12_000


def names_of(text: str | None) -> tuple[str, ...]:
    """The names of a list with commas."""
    return tuple(filter(None, (name.strip() for name in (text or "").split(","))))


def user_name() -> str:
    """The user's name, empty if the system knows none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
