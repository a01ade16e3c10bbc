import onnx
import onnxruntime
import pytest

from compressor.bench import environment
from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner, session_options
from compressor.bench.openvino_runner import OpenVinoRunner
from compressor.errors import ModelError
from compressor.file_profile import FileProfile, note_profile_


@pytest.mark.parametrize("runner", [OnnxRuntimeRunner, OpenVinoRunner])
def test_a_file_made_for_another_engine_is_refused(runner, onnx_path):
    if runner is OpenVinoRunner:
        pytest.importorskip("openvino", reason="OpenVINO is an extra that is not installed")
    proto = onnx.load(str(onnx_path))
    note_profile_(proto, FileProfile("int8-tensorrt", ("tensorrt",)))
    onnx.save(proto, str(onnx_path))

    with pytest.raises(ModelError, match="made for tensorrt, not for"):
        runner(onnx_path, 1)


@pytest.mark.parametrize(
    ("flags", "exact"),
    [("avx2 fma", True), ("avx2 avx_vnni", False), ("avx512f avx2 avx512_vnni", False)],
)
def test_the_exact_kernel_is_asked_for_where_sums_would_saturate(
    monkeypatch, tmp_path, flags, exact
):
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")

    options = session_options(onnxruntime, 1)

    assert environment.without_vnni() is exact
    if exact:
        assert options.get_session_config_entry("session.x64quantprecision") == "1"
