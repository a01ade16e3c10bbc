import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from compressor.bench import environment as subject

X86 = """processor\t: 0
model name\t: Some CPU @ 2.00GHz
flags\t\t: fpu avx2 avx512f avx512_vnni

processor\t: 1
model name\t: Another
"""
ARM = "processor : 0\nFeatures : fp asimd asimddp\n"


def test_the_record_is_json_and_names_versions_and_date():
    record = json.loads(json.dumps(subject.environment(), allow_nan=False))

    assert record["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert datetime.fromisoformat(record["date"]).utcoffset() == datetime.now(UTC).utcoffset()
    assert record["cores"] >= record["usable_cores"] >= 1


def test_the_first_processor_names_the_cpu():
    assert subject.cpu_model(X86) == "Some CPU @ 2.00GHz"


@pytest.mark.parametrize(
    ("cpuinfo", "flags"),
    [
        (X86, ["avx2", "avx512f", "avx512_vnni"]),
        (ARM, ["asimd", "asimddp"]),
        ("flags : fpu sse2", []),
        ("", None),
    ],
)
def test_only_instruction_sets_of_interest_are_kept(cpuinfo, flags):
    assert subject.isa_flags(cpuinfo) == flags


def test_what_another_system_does_not_know_is_none(monkeypatch):
    for name in ("CPUINFO", "GOVERNOR"):
        monkeypatch.setattr(subject, name, Path("/does/not/exist"))
    monkeypatch.setattr(subject.platform, "processor", lambda: "")
    for name in ("getloadavg", "sched_getaffinity"):
        monkeypatch.delattr(subject.os, name, raising=False)

    record = subject.environment()

    unknown = ("cpu", "isa_flags", "governor", "load_average", "usable_cores")
    assert [record[name] for name in unknown] == [None] * 5


def test_a_package_that_is_not_installed_has_no_version():
    assert subject.version("no-such-package-here") is None
