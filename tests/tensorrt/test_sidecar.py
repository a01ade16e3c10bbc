import shlex
from itertools import pairwise

import pytest

from compressor.errors import ModelError
from compressor.files import read_json, write_json
from compressor.tensorrt.command import _settings
from compressor.tensorrt.cuda import Gpu
from compressor.tensorrt.sidecar import (
    Here,
    check_sidecar,
    check_source,
    read_sidecar,
    sidecar_path,
)

from .fakes import A10


def here(flavour="tensorrt", version="10.16.1.11", cuda_build=None, gpu=A10):
    return Here(flavour=flavour, version=version, cuda_build=cuda_build, gpu=gpu)


def gpu(name, *capability):
    return Gpu(name=name, capability=capability, driver="1.0")


def built(sidecar, **changes):
    """The sidecar of a plan that was built elsewhere."""
    return sidecar.model_copy(update={"built_with": sidecar.built_with.model_copy(update=changes)})


def difference(plan, sidecar, where):
    """The one sentence that says why a plan is refused, without the advice after it."""
    with pytest.raises(ModelError) as caught:
        check_sidecar(plan, sidecar, where)
    sentence, _, rest = str(caught.value).removeprefix(f"{plan} was built ").partition(". Build")
    assert rest.startswith(" it again on this machine: compressor build ")
    return sentence


def test_a_plan_fits_where_it_was_built_whatever_the_driver(make_sidecar):
    plan, sidecar = make_sidecar()
    check_sidecar(plan, sidecar, here(gpu=A10.model_copy(update={"driver": "999.9"})))


def test_a_sidecar_is_read_as_it_was_written(make_sidecar):
    plan, sidecar = make_sidecar(
        batch={"min": 1, "opt": 2, "max": 3}, gate={"precision": "int8"}, timing_cache="c.bin"
    )
    assert read_sidecar(plan) == sidecar
    assert sidecar_path(plan).name == "net.plan.json"


def test_all_differences_stand_in_one_sentence(make_sidecar):
    plan, sidecar = make_sidecar()
    sidecar = built(sidecar, cuda_build=12)
    there = here(version="11.4.0", cuda_build=13, gpu=gpu("NVIDIA H100", 9, 0))
    assert difference(plan, sidecar, there) == (
        "by tensorrt 10.16.1.11, not 11.4.0 and for CUDA 12, not 13 and for the GPU NVIDIA A10 "
        "(compute capability 8.6), not NVIDIA H100 (compute capability 9.0)"
    )


def test_another_engine_is_the_only_difference_that_is_said(make_sidecar):
    plan, sidecar = make_sidecar()
    there = here("tensorrt-rtx", "1.7", gpu=gpu("NVIDIA H100", 9, 0))
    assert difference(plan, sidecar, there) == "by tensorrt, not tensorrt-rtx"


def test_a_version_compatible_plan_fits_releases_of_its_major_version(make_sidecar):
    plan, sidecar = make_sidecar(version_compatible=True)
    check_sidecar(plan, sidecar, here(version="10.12.0"))
    assert "not 11.0.0" in difference(plan, sidecar, here(version="11.0.0"))


def test_any_other_plan_fits_its_own_release_alone(make_sidecar):
    plan, sidecar = make_sidecar()
    assert difference(plan, sidecar, here(version="10.16.1.12")) == (
        "by tensorrt 10.16.1.11, not 10.16.1.12"
    )


@pytest.mark.parametrize(
    ("level", "fits", "refused"),
    [
        ("none", A10, gpu("NVIDIA A40", 8, 6)),
        ("same-compute-capability", gpu("NVIDIA A40", 8, 6), gpu("NVIDIA A100", 8, 0)),
        ("ampere-plus", gpu("NVIDIA H100", 9, 0), gpu("Tesla T4", 7, 5)),
    ],
)
def test_hardware_compatibility_says_which_gpus_fit(make_sidecar, level, fits, refused):
    plan, sidecar = make_sidecar(hardware_compatible=level)
    check_sidecar(plan, sidecar, here(gpu=fits))
    assert refused.name in difference(plan, sidecar, here(gpu=refused))


@pytest.mark.parametrize(
    ("targets", "fits", "refused"),
    [
        ((), gpu("RTX 5090", 12, 0), gpu("Tesla T4", 7, 5)),
        (("SM75", "SM120"), gpu("RTX 5090", 12, 0), A10),
    ],
)
def test_an_rtx_plan_runs_on_the_gpus_it_was_built_for(make_sidecar, targets, fits, refused):
    plan, sidecar = make_sidecar(compute_capabilities=targets)
    sidecar = built(sidecar, flavour="tensorrt-rtx", version="1.7", gpu=None)
    check_sidecar(plan, sidecar, here("tensorrt-rtx", "1.7", gpu=fits))
    assert refused.name in difference(plan, sidecar, here("tensorrt-rtx", "1.7", gpu=refused))


def test_a_plan_that_was_changed_is_refused(make_sidecar):
    plan, sidecar = make_sidecar()
    plan.write_bytes(b"another plan")
    with pytest.raises(ModelError, match="not the plan that its sidecar"):
        check_sidecar(plan, sidecar, here())


def test_a_plan_of_an_older_export_is_refused(make_sidecar, tmp_path):
    plan, sidecar = make_sidecar()
    check_source(plan, sidecar, tmp_path / "net.onnx")
    (tmp_path / "net.onnx").write_bytes(b"exported again")
    with pytest.raises(ModelError, match=r"built from another net\.onnx"):
        check_source(plan, sidecar, tmp_path / "net.onnx")


def test_a_plan_without_a_sidecar_is_refused(plan):
    sidecar_path(plan).unlink()
    with pytest.raises(ModelError, match=r"no sidecar net\.plan\.json"):
        read_sidecar(plan)


def test_a_plan_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ModelError, match="no such plan"):
        read_sidecar(tmp_path / "net.plan")


def test_a_sidecar_of_another_form_is_refused_with_the_field(plan):
    value = read_json(sidecar_path(plan))
    value["settings"]["fp16"] = True
    write_json(sidecar_path(plan), value)
    with pytest.raises(ModelError, match=r"no sidecar of this release \(settings\.fp16"):
        read_sidecar(plan)


def command(plan, sidecar, where):
    """Words of the command that an error gives."""
    with pytest.raises(ModelError) as caught:
        check_sidecar(plan, sidecar, where)
    return shlex.split(str(caught.value).partition("on this machine: ")[2])


def test_the_command_that_builds_it_again_stands_in_the_error(make_sidecar, tmp_path):
    plan, sidecar = make_sidecar()
    words = ["compressor", "build", str(tmp_path / "net.onnx"), "--engine", "tensorrt"]
    assert command(plan, sidecar, here(version="11.4.0")) == [*words, "--out", str(plan)]
    (tmp_path / "net.onnx").unlink()
    words = ["compressor", "build", "net.onnx", "--engine", "tensorrt-rtx", "--out", str(plan)]
    assert command(plan, sidecar, here("tensorrt-rtx", "1.7")) == words


def test_the_command_builds_it_as_it_was_built(make_sidecar):
    given = {
        **{"batch": {"min": 2, "opt": 3, "max": 4}, "tf32": False, "timing_cache": "a cache.bin"},
        **{"compute_capabilities": ("SM89", "SM120"), "optimization_level": 5},
        "gate": {"precision": "fp16", "min_share": 0.25},
    }
    plan, sidecar = make_sidecar(**given)
    words = command(plan, sidecar, here(version="11.4.0"))
    assert words[words.index("--batch") + 1] == "2,3,4"
    overrides = [word for before, word in pairwise(words) if before == "--set"]
    assert _settings(given["batch"], overrides) == sidecar.settings


def test_a_plan_of_an_older_export_is_built_again_from_the_file_at_hand(make_sidecar, tmp_path):
    plan, sidecar = make_sidecar()
    other = tmp_path / "export" / "net.onnx"
    other.parent.mkdir()
    other.write_bytes(b"exported again")
    with pytest.raises(ModelError, match=f"compressor build {other} --engine tensorrt --out"):
        check_source(plan, sidecar, other)
