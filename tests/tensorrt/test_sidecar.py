import pytest

from compressor.errors import ModelError
from compressor.files import read_json, write_json
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
    assert rest == " it again with compressor build on this machine, from its ONNX file."
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
