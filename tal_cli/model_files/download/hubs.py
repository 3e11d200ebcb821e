"""Where hubs keep their files: a hub's own kind of URL becomes one that can be received, or is received here."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from urllib.parse import urlsplit

from tal_cli import console
from tal_cli.extractors.errors import DownloadError
from tal_cli.model_files.download.request import FileRequest
from tal_cli.safe_text import one_line


def on_hugging_face(request: FileRequest) -> FileRequest:
    """hf://OWNER/REPOSITORY/PATH -> where that file is now, with the size and SHA-256 that the hub states.

    Endpoint, token and proxies are those that huggingface_hub is set up with (HF_ENDPOINT, HF_TOKEN, `hf auth login`).

    Raises:
        DownloadError: no such file, no connection, or a repository whose terms must be accepted first.
    """
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    owner, repository, path = request.url.removeprefix("hf://").split("/", 2)
    repo = f"{owner}/{repository}"
    url = hf_hub_url(repo, path, endpoint=os.environ.get("HF_ENDPOINT") or None)
    try:
        found = get_hf_file_metadata(url)
    except GatedRepoError:
        raise DownloadError(
            f"{request.file}: {repo} on Hugging Face asks to accept its terms first",
            f"accept them at https://huggingface.co/{repo}, then `hf auth login` (or set HF_TOKEN), and pull again",
        ) from None
    except RepositoryNotFoundError:
        raise DownloadError(f"{request.file}: Hugging Face shows no repository {repo} without a login") from None
    except HfHubHTTPError as error:
        raise DownloadError(f"{request.file}: Hugging Face answered: {one_line(error)[:200]}") from None
    except Exception as error:  # its HTTP library's own kinds, which differ between releases
        raise DownloadError(f"{request.file}: Hugging Face cannot be reached ({one_line(error)[:200]})") from None
    stated = found.etag if found.etag and re.fullmatch(r"[0-9a-f]{64}", found.etag) else None
    if stated and request.sha256 and not stated.startswith(request.sha256.lower()):
        raise DownloadError(
            f"{request.file}: Hugging Face now has a file of SHA-256 {stated}, the published one's is {request.sha256}"
        )
    token = get_token()
    by_the_hub = urlsplit(found.location).netloc == urlsplit(url).netloc  # and not by a host that needs no login
    return replace(
        request,
        url=found.location,
        headers={"Authorization": f"Bearer {token}"} if token and by_the_hub else {},
        size=request.size if request.size is not None else found.size,
        sha256=request.sha256 if request.sha256 and len(request.sha256) == 64 else stated or request.sha256,
        version=found.etag or request.version,
    )


def from_google_drive(request: FileRequest) -> None:
    """gdrive://ID, received by gdown, which knows the pages that Google puts before large files.

    Raises:
        DownloadError: no such file, no connection, or one that too many people have asked for today.
    """
    import gdown

    identifier = request.url.removeprefix("gdrive://")
    try:
        gdown.download(id=identifier, output=str(request.part), quiet=not console.is_lively(), resume=True)
    except Exception as error:  # gdown's, requests' and urllib3's own kinds
        raise DownloadError(
            f"{request.file}: Google Drive did not give it ({one_line(error)[:200]})",
            f"open https://drive.google.com/uc?id={identifier} in a browser; when it says that too many have asked for"
            " it, try again tomorrow",
        ) from None
    if not request.part.is_file():
        raise DownloadError(f"{request.file}: Google Drive did not give it")
