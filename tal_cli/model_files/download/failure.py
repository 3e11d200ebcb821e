"""What a download ends in when it does not end in a file."""

from __future__ import annotations

from tal_cli.errors import Missing


class DownloadFailed(Missing):
    """A published file that could not be had (exit code 4)."""
