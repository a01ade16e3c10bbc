"""A package that is whole and small, and a hub that lies in a folder."""

import inspect
import shutil
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import pytest

from compressor.files import write_json
from compressor.package.manifest import seal


@pytest.fixture
def package(tmp_path):
    """A folder that holds as a package, as far as that is found out without executing it."""
    folder = tmp_path / "slim"
    (folder / "architecture").mkdir(parents=True)
    write_json(folder / "package.json", {"name": "tiny"})
    (folder / "README.md").write_text("# tiny\n")
    (folder / "architecture" / "net [1].py").write_text("def net(): ...\n")
    (folder / "weights.safetensors").write_bytes(bytes(100))
    seal(folder)
    return folder


class Hub:
    """Repositories as folders, behind the four functions of ``huggingface_hub`` that are called.

    Each call is held against the signature of the real function, and names against its rules. Of a
    repository each push is a commit, numbered from 1.
    """

    def __init__(self, folder, real):
        self.folder, self._real = folder, real
        self.private, self.commits, self.messages = {}, {}, []
        self.fails = None
        self.asked = []

    def repository(self, name):
        return self.folder / name.replace("/", "--")

    def _call(self, name, args, words):
        bound = inspect.signature(getattr(self._real, name)).bind(*args, **words)
        if self.fails is not None:
            raise self.fails
        self._real.utils.validate_repo_id(bound.arguments["repo_id"])
        self.asked.append((name, bound.arguments.get("revision")))
        return bound.arguments

    def repo_info(self, *args, **words):
        name = self._call("repo_info", args, words)["repo_id"]
        return SimpleNamespace(
            private=self.private.get(name, False), sha=f"commit-{self.commits.get(name, 0)}"
        )

    def create_repo(self, *args, **words):
        asked = self._call("create_repo", args, words)
        assert asked["token"] is True
        assert asked["exist_ok"]
        self.private.setdefault(asked["repo_id"], bool(asked["private"]))
        self.repository(asked["repo_id"]).mkdir(exist_ok=True)
        # As the real one does it.
        (self.repository(asked["repo_id"]) / ".gitattributes").write_text("*.onnx lfs\n")

    def upload_folder(self, *args, **words):
        asked = self._call("upload_folder", args, words)
        place = self.repository(asked["repo_id"])
        shutil.copytree(asked["folder_path"], place, dirs_exist_ok=True)
        self.messages.append(asked["commit_message"])
        number = self.commits[asked["repo_id"]] = self.commits.get(asked["repo_id"], 0) + 1
        return SimpleNamespace(commit_url=f"https://hub/{asked['repo_id']}/commit/{number}")

    def snapshot_download(self, *args, **words):
        asked = self._call("snapshot_download", args, words)
        source, into = self.repository(asked["repo_id"]), Path(asked["local_dir"])
        (into / ".cache" / "huggingface").mkdir(parents=True, exist_ok=True)
        (into / ".cache" / "huggingface" / "CACHEDIR.TAG").touch()
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            name = path.relative_to(source).as_posix()
            if any(fnmatch(name, pattern) for pattern in asked["allow_patterns"]):
                (into / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, into / name)
        return str(into)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A fake of the hub; its errors are those of the real package."""
    real = pytest.importorskip("huggingface_hub", reason="pip install 'compressor[hub]'")
    pytest.importorskip("huggingface_hub.errors")
    functions = ("create_repo", "repo_info", "upload_folder", "snapshot_download")
    for name in (*functions, "utils"):
        getattr(real, name)  # loaded before it is hidden
    fake = Hub(tmp_path / "hub", real)
    fake.folder.mkdir()
    module = SimpleNamespace(**{name: getattr(fake, name) for name in functions})
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return fake
