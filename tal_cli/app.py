"""The `tal` command: sub-commands, streams and signals, and the mapping of errors to exit codes. Imports no torch."""

from __future__ import annotations

import gc
import io
import os
import re
import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from tal_cli import __version__, console
from tal_cli.commands import (
    agree,
    benchmark,
    combine,
    compare,
    datasets,
    detect,
    diagnose,
    evaluate,
    export,
    extractors,
    features,
    label,
    models,
    selftest,
    stats,
    suggest,
    train,
    view,
)
from tal_cli.commands.options import current_spelling
from tal_cli.error_report import exit_code_of, message_of, remedy_of, write_log
from tal_cli.extractors.cpu import collect_garbage_rarely
from tal_cli.extractors.errors import EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_USAGE, OldName, PluginWarning
from tal_cli.safe_text import one_line

# typer carries its own copy of click in new releases and imports it in old ones; this is the class in both.
WrongCommandLine: type[Exception] = typer.BadParameter.__bases__[0]


class ClosedPipe(Exception):
    """The reader of standard output has closed it."""


class TalGroup(TyperGroup):
    """The top-level command; raises ClosedPipe, as typer would report a closed pipe as a failure."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError as error:
            raise ClosedPipe from error
        return result


app = typer.Typer(
    name="tal",
    cls=TalGroup,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": current_spelling},
    epilog="Example: tal detect holiday.mp4",
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"tal {__version__}")
        raise typer.Exit()


@app.callback()
def tal(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Temporal action localization: find labelled segments in videos."""
    if context.invoked_subcommand is None:
        print(context.get_help())


app.command("detect", cls=detect.DetectCommand, epilog=detect.EXAMPLE)(detect.detect)
app.command("extract-features", epilog=features.EXAMPLE)(features.extract_features)
app.command("train", epilog=train.EXAMPLE)(train.train)
app.command("label", epilog=label.EXAMPLE)(label.label)
app.command("suggest", epilog=suggest.EXAMPLE)(suggest.suggest)
app.command("view", epilog=view.EXAMPLE)(view.view)
app.command("eval", epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.command("diagnose", epilog=diagnose.EXAMPLE)(diagnose.diagnose)
app.command("compare", epilog=compare.EXAMPLE)(compare.compare)
app.command("stats", epilog=stats.EXAMPLE)(stats.stats)
app.command("agree", epilog=agree.EXAMPLE)(agree.agree)
app.command("export", epilog=export.EXAMPLE)(export.export)
app.command("selftest", epilog=selftest.EXAMPLE)(selftest.selftest)
app.command("benchmark", epilog=benchmark.EXAMPLE)(benchmark.benchmark)
app.add_typer(models.app, name="models")
app.add_typer(extractors.app, name="extractors")
app.add_typer(datasets.app, name="datasets")
app.add_typer(combine.app, name="combine")


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code, after reporting errors on standard error.

    Raises:
        ClosedPipe: the reader of standard output has closed it.
    """
    try:
        result = typer.main.get_command(app).main(list(arguments), prog_name="tal", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except ClosedPipe:
        raise
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except WrongCommandLine as error:
        return _report_usage(error)
    except Exception as error:
        return _report(error, list(arguments))


def _report_usage(error: Any) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())
        return 0
    message = one_line(error.format_message()).removesuffix(".")
    for theirs, ours in ((": Input should be ", ": must be "), (": Value error, ", ": ")):
        message = message.replace(theirs, ours)
    console.error(message[:1].lower() + message[1:])
    if error.ctx is not None:
        console.hint(_elsewhere(message) or f"{error.ctx.command_path} --help")
    return EXIT_USAGE


def _elsewhere(message: str) -> str:
    """The commands of the name that a message says `tal` does not have, in its groups; may be empty."""
    unknown = re.match(r"No such command '(.+)'", message)
    root: Any = typer.main.get_command(app)
    groups = (group for group in root.commands.values() if unknown and unknown[1] in getattr(group, "commands", ()))
    return ", ".join(f"tal {group.name} {unknown[1]}" for group in groups if unknown)


def _report(error: Exception, arguments: list[str]) -> int:
    code = exit_code_of(error)
    if code == EXIT_INTERNAL:
        path = write_log(error, arguments)
        console.error(f"internal error (a bug in tal): {type(error).__name__}: {error}")
        console.hint(f"the traceback is in {path}")
        return code
    console.error(message_of(error))
    remedy = remedy_of(error)
    if remedy:
        console.hint(remedy)
    return code


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but not during an import: libraries catch it there and stay partially imported."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _leave(EXIT_INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


def _show_warning(message: Warning | str, category: type[Warning], *where: object, **more: object) -> None:
    (console.warn if category is PluginWarning else console.note)(str(message))


def _leave(code: int) -> NoReturn:
    # Without joining threads that still process videos, and without flushing to a closed standard output.
    console.end_progress()
    sys.stderr.flush()
    os._exit(code)


def _open_streams() -> None:
    """Open closed standard streams on the null device: otherwise the next opened file takes over their descriptor and
    receives their output. Characters outside the terminal's encoding are escaped."""
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, mode))  # noqa: SIM115 - it lives as long as the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def main() -> None:
    """Entry point of the console script."""
    _open_streams()
    collect_garbage_rarely()
    # Set before torch loads: waiting OpenMP threads sleep instead of spinning; on a busy machine, spinning slows each
    # step tenfold.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGINT, _interrupt)
    if not sys.warnoptions:
        # Deprecation warnings of libraries are nothing that a user can act on.
        warnings.simplefilter("ignore")
        warnings.simplefilter("default", OldName)
        warnings.simplefilter("default", PluginWarning)
        warnings.showwarning = _show_warning
    try:
        code = run(sys.argv[1:])
    except ClosedPipe:
        _leave(0)
    if code == EXIT_INTERRUPTED:
        _leave(code)
    gc.freeze()  # what is loaded goes with the process: to search it for garbage first takes longer than many commands
    sys.exit(code)
