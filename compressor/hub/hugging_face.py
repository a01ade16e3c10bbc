"""Packages in model repositories of huggingface.co, through ``huggingface_hub``.

Four of its functions are called, and what they raise becomes one line. Its login is its own: this
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
from compressor.files import read_json
from compressor.hub.target import Repository
from compressor.package.manifest import DESCRIPTION, MANIFEST, names_in

INSTALL = "'compressor[hub]'"

LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN to a token that may write there."

UNAUTHORISED, FORBIDDEN = 401, 403
"""States of an answer to somebody whose token is missing or wrong, or may not do this."""


def upload(folder: Path, repository: Repository, *, private: bool) -> str:
    """Put the files of ``folder`` into the repository, made if it is not there; its address.

    Other files that are there stay. A repository that exists keeps its visibility, so nothing is
    uploaded to a public one where a private one was asked for.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        RecipeError: No token, or one that may not write there; a name that the hub does not take;
            a revision was given; or the repository is public and should be private.
        ModelError: The hub cannot be reached, or refuses.
    """
    if repository.revision is not None:
        raise RecipeError(
            f"{repository}: push makes the next revision of the main branch. Leave @ and what "
            "follows it out."
        )
    hub = import_engine("huggingface_hub", INSTALL)
    name = read_json(folder / DESCRIPTION)["name"]
    with _failures(repository):
        # token=True: without one it fails here and says so, before anything is sent.
        hub.create_repo(
            repository.name,
            token=True,
            private=private or None,
            repo_type="model",
            exist_ok=True,
        )
        if private:
            _check_private(hub, repository)
        commit = hub.upload_folder(
            repo_id=repository.name,
            folder_path=folder,
            repo_type="model",
            commit_message=f"Package {name}",
            token=True,
        )
    return str(commit.commit_url)


def download(repository: Repository, folder: Path) -> None:
    """Put the files that the repository's manifest names into ``folder``, and no others.

    What they hold is for the caller to check. All are of one commit, however the branch moves.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        RecipeError: The hub does not take such a name.
        ModelError: No such repository or revision, no package in it, or no way to the hub.
        CheckError: Its manifest is not one that was written here.
    """
    hub = import_engine("huggingface_hub", INSTALL)
    with _failures(repository):
        info = hub.repo_info(repository.name, repo_type="model", revision=repository.revision)
    _fetch(hub, repository, info.sha, folder, [MANIFEST])
    if not (folder / MANIFEST).is_file():
        raise ModelError(
            f"{repository} has no {MANIFEST}, so it is not a package. Name a repository that "
            "`compressor push` wrote."
        )
    # The names are patterns there. Escaped they stand for themselves.
    names = [glob.escape(name) for name in names_in(folder)]
    _fetch(hub, repository, info.sha, folder, names)


def _check_private(hub: ModuleType, repository: Repository) -> None:
    """Refuse a repository that everybody may read.

    Raises:
        RecipeError: It is one.
    """
    if not hub.repo_info(repository.name, repo_type="model", token=True).private:
        raise RecipeError(
            f"{repository} is there already and public; only a new one is made private. Nothing "
            "was uploaded. Make it private in its settings on the hub, or name another."
        )


def _fetch(
    hub: ModuleType, repository: Repository, commit: str, folder: Path, patterns: list[str]
) -> None:
    with _failures(repository):
        hub.snapshot_download(
            repository.name,
            repo_type="model",
            revision=commit,
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
    except errors.HFValidationError as failure:
        raise RecipeError(
            f"{repository}: the hub takes no such name: {_first_line(failure)}. Choose another."
        ) from failure
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
    return ModelError(
        f"{repository}: the hub cannot be asked: {_first_line(failure)}. Try again later, or "
        "hand the package on as a folder."
    )


def _first_line(failure: BaseException) -> str:
    lines = str(failure).strip().splitlines() or [type(failure).__name__]
    return lines[0].rstrip(". ")
