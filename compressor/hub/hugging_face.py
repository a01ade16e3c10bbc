"""Packages in model repositories of huggingface.co, through ``huggingface_hub``.

Three of its functions are called, and what they raise becomes one line. Its login is its own: this
project asks for no token and stores none.
"""

import contextlib
import glob
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from compressor.bench.runner import import_engine
from compressor.errors import CompressorError, ModelError, RecipeError
from compressor.hub.target import Repository
from compressor.package.manifest import MANIFEST, names_in

INSTALL = "'compressor[hub]'"

LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN to a token that may write there."

UNAUTHORISED, FORBIDDEN = 401, 403
"""States of an answer to somebody whose token is missing or wrong, or may not do this."""


def upload(folder: Path, repository: Repository, *, private: bool) -> str:
    """Put the files of ``folder`` into the repository, made if it is not there; its address.

    Other files that are there stay. A repository that exists keeps its visibility.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        RecipeError: No token, or one that may not write there; or a revision was given.
        ModelError: The hub cannot be reached, or refuses.
    """
    if repository.revision is not None:
        raise RecipeError(
            f"{repository}: push makes the next revision of the main branch. Leave @ and what "
            "follows it out."
        )
    hub = import_engine("huggingface_hub", INSTALL)
    with _failures(repository):
        # token=True: without one it fails here and says so, before anything is sent.
        hub.create_repo(
            repository.name,
            token=True,
            private=private or None,
            repo_type="model",
            exist_ok=True,
        )
        commit = hub.upload_folder(
            repo_id=repository.name,
            folder_path=folder,
            repo_type="model",
            commit_message=f"Package {folder.name}",
            token=True,
        )
    return str(commit.commit_url)


def download(repository: Repository, folder: Path) -> None:
    """Put the files that the repository's manifest names into ``folder``, and no others.

    What they hold is for the caller to check.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        ModelError: No such repository or revision, no package in it, or no way to the hub.
        CheckError: Its manifest is not one that was written here.
    """
    hub = import_engine("huggingface_hub", INSTALL)
    _fetch(hub, repository, folder, [MANIFEST])
    if not (folder / MANIFEST).is_file():
        raise ModelError(
            f"{repository} has no {MANIFEST}, so it is not a package. Name a repository that "
            "`compressor push` wrote."
        )
    # The names are patterns there. Escaped they stand for themselves.
    _fetch(hub, repository, folder, [glob.escape(name) for name in names_in(folder)])


def _fetch(hub: ModuleType, repository: Repository, folder: Path, patterns: list[str]) -> None:
    with _failures(repository):
        hub.snapshot_download(
            repository.name,
            repo_type="model",
            revision=repository.revision,
            local_dir=folder,
            allow_patterns=patterns,
        )


@contextlib.contextmanager
def _failures(repository: Repository) -> Iterator[None]:
    """Make what ``huggingface_hub`` raises one line; what is ours passes."""
    errors: Any = import_engine("huggingface_hub.errors", INSTALL)
    try:
        yield
    except errors.LocalTokenNotFoundError as failure:
        raise RecipeError(f"{repository}: there is no token for the hub. {LOG_IN}") from failure
    except errors.RevisionNotFoundError as failure:
        raise ModelError(
            f"{repository}: the repository has no such revision. Name a branch, tag or commit "
            "of it, or leave @ and what follows it out."
        ) from failure
    except errors.RepositoryNotFoundError as failure:
        raise ModelError(
            f"{repository}: there is no such repository, or it is private and the token may not "
            "read it. Check the name, or log in with `hf auth login`."
        ) from failure
    except errors.HfHubHTTPError as failure:
        raise _refused(repository, failure) from failure
    except (errors.HTTPError, OSError) as failure:
        raise _unreachable(repository, failure) from failure


def _refused(repository: Repository, failure: Any) -> CompressorError:
    status = getattr(failure.response, "status_code", None)
    if status in (UNAUTHORISED, FORBIDDEN):
        return RecipeError(f"{repository}: the hub refuses the token (status {status}). {LOG_IN}")
    return _unreachable(repository, failure)


def _unreachable(repository: Repository, failure: BaseException) -> ModelError:
    lines = str(failure).strip().splitlines() or [type(failure).__name__]
    return ModelError(
        f"{repository}: the hub cannot be asked: {lines[0].rstrip('. ')}. Try again later, or "
        "hand the package on as a folder."
    )
