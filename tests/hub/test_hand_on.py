import json
import os
import pickle
import subprocess
import sys

import pytest

from compressor.errors import CheckError, MissingExtra, ModelError, RecipeError
from compressor.files import read_json
from compressor.hub.hand_on import pull, push
from compressor.hub.hugging_face import LOG_IN
from compressor.package.manifest import MANIFEST, seal


def files(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def reseal(folder):
    (folder / MANIFEST).unlink()
    seal(folder)


def failure(name, status=None):
    """An error as the real package raises it."""
    errors = pytest.importorskip("huggingface_hub.errors")
    if status is None:
        return getattr(errors, name)("no")
    response = pytest.importorskip("httpx2").Response(
        status, request=pytest.importorskip("httpx2").Request("GET", "https://hub")
    )
    return getattr(errors, name)(f"{status} of the hub\nmore", response=response)


class TestFolders:
    """From one folder to another."""

    def test_a_package_arrives_byte_for_byte(self, package, tmp_path):
        pushed = push(package, str(tmp_path / "shelf" / "slim"))
        pulled = pull(str(tmp_path / "shelf" / "slim"), tmp_path / "mine")
        assert files(tmp_path / "mine") == files(package)
        assert (pushed.name, pushed.files, pulled.files) == ("tiny", 4, 4)
        assert pushed.num_bytes == pulled.num_bytes == sum(map(len, files(package).values()))

    def test_an_empty_folder_is_as_good_as_none(self, package, tmp_path):
        (tmp_path / "mine").mkdir()
        pull(str(package), tmp_path / "mine")
        assert files(tmp_path / "mine") == files(package)

    def test_a_folder_that_holds_something_is_left_alone(self, package, tmp_path):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "notes").write_text("keep")
        for hand in (
            lambda: push(package, str(tmp_path / "mine")),
            lambda: pull(str(package), tmp_path / "mine"),
        ):
            with pytest.raises(RecipeError, match="mine is there and not an empty folder"):
                hand()
        assert files(tmp_path / "mine") == {"notes": b"keep"}

    def test_a_package_is_not_put_into_itself(self, package):
        before = files(package)
        with pytest.raises(RecipeError, match="lies in the package"):
            push(package, str(package / "copy"))
        assert files(package) == before

    def test_a_folder_cannot_be_made_private(self, package, tmp_path):
        with pytest.raises(RecipeError, match="private is for repositories"):
            push(package, str(tmp_path / "mine"), private=True)

    @pytest.mark.parametrize("place", ["README.md/slim", "README.md/deep/slim"])
    def test_below_a_file_no_package_can_be_put(self, package, tmp_path, place):
        (tmp_path / "README.md").write_text("mine")
        for hand in (
            lambda: push(package, str(tmp_path / place)),
            lambda: pull(str(package), tmp_path / place),
        ):
            with pytest.raises(RecipeError, match="a part of the way to it is a file"):
                hand()

    def test_what_is_no_package_is_told(self, tmp_path):
        with pytest.raises(ModelError, match="there is no package"):
            push(tmp_path, str(tmp_path / "mine"))
        with pytest.raises(ModelError, match="there is no package"):
            pull(str(tmp_path), tmp_path / "mine")

    @pytest.mark.parametrize(
        "hand",
        [lambda package, place: push(package, str(place)), lambda p, place: pull(str(p), place)],
        ids=["push", "pull"],
    )
    def test_a_changed_file_goes_nowhere_and_comes_from_nowhere(self, package, tmp_path, hand):
        (package / "weights.safetensors").write_bytes(bytes(99) + b"x")
        with pytest.raises(CheckError, match=r"slim: weights\.safetensors is not the file"):
            hand(package, tmp_path / "mine")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["slim"]

    def test_a_pickle_is_not_handed_on_even_if_the_manifest_names_it(self, package, tmp_path):
        (package / "weights.safetensors").write_bytes(pickle.dumps([1, 2]))
        reseal(package)
        with pytest.raises(CheckError, match=r"slim: weights\.safetensors holds a pickle"):
            pull(str(package), tmp_path / "mine")
        assert not (tmp_path / "mine").exists()

    @pytest.mark.parametrize("name", ["../up.txt", "/tmp/up.txt"])
    def test_a_manifest_that_names_what_lies_outside_is_refused(self, package, tmp_path, name):
        from compressor.package import manifest

        (tmp_path / "up.txt").write_text("secret")
        sealed = {key: read_json(package / MANIFEST)[key] for key in ("format", "version", "files")}
        sealed["files"][name] = {"sha256": "0", "bytes": 6}
        (package / MANIFEST).write_text(manifest._text(sealed))
        with pytest.raises(CheckError, match=r"manifest\.json is not the file that was packaged"):
            pull(str(package), tmp_path / "mine")


@pytest.mark.usefixtures("hub")
class TestTheHub:
    """Through a fake of four functions, each call held against the real signature."""

    def test_a_package_comes_back_byte_for_byte(self, package, tmp_path):
        pushed = push(package, "hf:me/slim")
        assert pushed.target == "https://hub/me/slim/commit/1"
        pulled = pull("hf:me/slim@main", tmp_path / "mine")
        assert files(tmp_path / "mine") == files(package)
        assert pulled.source == "hf:me/slim@main"

    def test_what_else_lies_in_the_repository_stays_there(self, hub, package, tmp_path):
        push(package, "hf:me/slim")
        (hub.repository("me/slim") / "old.bin").write_bytes(b"x")
        push(package, "hf:me/slim")
        pull("hf:me/slim", tmp_path / "mine")
        assert (hub.repository("me/slim") / "old.bin").is_file()
        assert files(tmp_path / "mine") == files(package)

    def test_a_repository_is_private_where_that_is_asked(self, hub, package):
        push(package, "hf:me/open")
        push(package, "hf:me/mine", private=True)
        assert hub.private == {"me/open": False, "me/mine": True}

    def test_nothing_is_uploaded_to_a_public_one_where_a_private_one_is_asked(self, hub, package):
        push(package, "hf:me/open")
        before = files(hub.repository("me/open"))
        (package / "README.md").write_text("# secret\n")
        reseal(package)
        with pytest.raises(RecipeError, match="hf:me/open is there already and public"):
            push(package, "hf:me/open", private=True)
        assert files(hub.repository("me/open")) == before

    def test_a_private_one_that_is_there_takes_more(self, hub, package):
        for _ in range(2):
            push(package, "hf:me/mine", private=True)
        assert hub.commits == {"me/mine": 2}

    def test_a_commit_is_named_by_what_is_in_the_package(self, hub, package):
        push(package, "hf:me/slim")
        assert hub.messages == ["Package tiny"]

    def test_all_that_is_pulled_is_of_one_commit(self, hub, package, tmp_path):
        push(package, "hf:me/slim")
        pull("hf:me/slim@main", tmp_path / "mine")
        assert hub.asked[-3:] == [
            ("repo_info", "main"),
            *[("snapshot_download", "commit-1")] * 2,
        ]

    @pytest.mark.parametrize("name", ["me/slim--v1", "me/a..b", "me/x.git", f"me/{'x' * 97}"])
    def test_a_name_that_the_hub_does_not_take_is_the_users(self, package, tmp_path, name):
        for hand in (
            lambda: push(package, f"hf:{name}"),
            lambda: pull(f"hf:{name}", tmp_path / "mine"),
        ):
            with pytest.raises(RecipeError, match=r"hub takes no such name: .* Choose another"):
                hand()
        assert not (tmp_path / "mine").exists()

    def test_a_changed_package_is_not_uploaded(self, hub, package):
        (package / "README.md").write_text("# other\n")
        with pytest.raises(CheckError, match=r"README\.md is not the file"):
            push(package, "hf:me/slim")
        assert not hub.repository("me/slim").exists()

    def test_a_repository_that_was_changed_is_not_said_to_be_there(self, hub, package, tmp_path):
        push(package, "hf:me/slim")
        (hub.repository("me/slim") / "README.md").write_text("# other\n")
        with pytest.raises(CheckError, match=r"^hf:me/slim: README\.md is not the file"):
            pull("hf:me/slim", tmp_path / "mine")
        assert not (tmp_path / "mine").exists()

    def test_a_repository_without_a_manifest_is_no_package(self, hub, tmp_path):
        hub.repository("me/bert").mkdir()
        with pytest.raises(ModelError, match=r"hf:me/bert has no manifest\.json, so it is not"):
            pull("hf:me/bert", tmp_path / "mine")
        assert not (tmp_path / "mine").exists()

    def test_a_revision_is_for_pulling(self, package):
        with pytest.raises(RecipeError, match="push makes the next revision"):
            push(package, "hf:me/slim@v1")

    @pytest.mark.parametrize(
        ("name", "status", "kind", "told"),
        [
            (
                "LocalTokenNotFoundError",
                None,
                RecipeError,
                f"there is no token for the hub. {LOG_IN}",
            ),
            ("RepositoryNotFoundError", 404, ModelError, "there is no such repository"),
            ("GatedRepoError", 403, ModelError, "there is no such repository, or it is private"),
            ("RevisionNotFoundError", 404, ModelError, "the repository has no such revision"),
            ("HfHubHTTPError", 401, RecipeError, "the hub refuses the token (status 401)"),
            ("HfHubHTTPError", 403, RecipeError, "the hub refuses the token (status 403)"),
            (
                "HfHubHTTPError",
                500,
                ModelError,
                "the hub cannot be asked: 500 of the hub. Try again",
            ),
            ("LocalEntryNotFoundError", None, ModelError, "the hub cannot be asked: no. Try again"),
            ("HTTPError", None, ModelError, "the hub cannot be asked: no. Try again"),
        ],
    )
    def test_what_the_hub_refuses_is_one_line(
        self, hub, package, tmp_path, name, status, kind, told
    ):
        hub.fails = failure(name, status)
        for hand in (
            lambda: push(package, "hf:me/slim"),
            lambda: pull("hf:me/slim", tmp_path / "m"),
        ):
            with pytest.raises(kind) as raised:
                hand()
            assert str(raised.value).startswith(f"hf:me/slim: {told}")
            assert len(str(raised.value).splitlines()) == 1
        assert not (tmp_path / "m").exists()

    def test_without_the_extra_it_says_how_to_get_it(self, package, monkeypatch):
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        with pytest.raises(MissingExtra, match=r"pip install 'compressor\[hub\]'"):
            push(package, "hf:me/slim")


REAL = """
import os, sys
from click.testing import CliRunner
from compressor.cli import main
for token in ("", "hf_x"):
    os.environ["HF_TOKEN"] = token
    done = CliRunner().invoke(main, ["push", sys.argv[1], "hf:me/slim"])
    print(done.exit_code, done.stderr, end="")
"""


def test_the_real_hub_asks_for_a_token_and_tells_when_it_is_not_reached(package, tmp_path):
    pytest.importorskip("huggingface_hub", reason="pip install 'compressor[hub]'")
    # A port that nobody listens at: nothing leaves this machine.
    aside = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", REAL, str(package)],
        env={**os.environ, **aside},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    without, unreached = done.stdout.splitlines()
    assert without == f"2 hf:me/slim: there is no token for the hub. {LOG_IN}"
    assert unreached.startswith("1 hf:me/slim: the hub cannot be asked: ")


class TestCommands:
    """``compressor push`` and ``compressor pull``."""

    def test_they_say_what_is_where(self, package, tmp_path):
        from click.testing import CliRunner

        from compressor.cli import main

        pushed = CliRunner().invoke(main, ["push", str(package), str(tmp_path / "shelf")])
        assert pushed.exit_code == 0
        assert pushed.stdout.startswith(f"{tmp_path / 'shelf'}: package tiny, 4 files, ")
        pulled = CliRunner().invoke(
            main, ["pull", str(tmp_path / "shelf"), str(tmp_path / "mine"), "--json"]
        )
        told = json.loads(pulled.stdout)
        assert (told["name"], told["target"]) == ("tiny", str(tmp_path / "mine"))

    def test_a_wrong_target_is_the_users(self, package):
        from click.testing import CliRunner

        from compressor.cli import main

        done = CliRunner().invoke(main, ["push", str(package), "hf:slim"])
        assert done.exit_code == 2
        assert done.stderr.startswith("hf:slim is not a repository.")
