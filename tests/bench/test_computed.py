import json

import onnx
import pytest
from onnx import numpy_helper

from compressor.bench import computed as home
from compressor.bench.computed import computed
from compressor.bench.files import FilesSettings, bench_files
from compressor.bench.subjects import parse_subjects
from compressor.bench.text import as_text
from compressor.console import Console
from compressor.tensorrt.precision import Precisions
from compressor.tensorrt.sidecar import read_sidecar, write_sidecar

QUICK = FilesSettings(rounds=3, settling_runs=0, warmup_rounds=1, warmup_seconds=0)
GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
net (float[batch, 3, 8, 8] images) => (float[batch, 4, 6, 6] logits) {{
    narrow = Cast<to = {number}>(images)
    convolved = Conv(narrow, weight)
    logits = Cast<to = 1>(convolved)
}}
"""


@pytest.fixture
def narrow(net, tmp_path):
    """A file whose one convolution is in the type that ONNX has under a number."""

    def make(number):
        model = onnx.parser.parse_model(GRAPH.format(number=number))
        weight = net[0].weight.detach().numpy()
        model.graph.initializer.append(
            onnx.helper.make_tensor("weight", number, weight.shape, weight.flatten())
            if number != onnx.TensorProto.FLOAT16
            else numpy_helper.from_array(weight.astype("float16"), "weight")
        )
        path = tmp_path / f"narrow{number}.onnx"
        onnx.save(model, path)
        return path

    return make


def of(text):
    (subject,) = parse_subjects([str(text)])
    return computed(subject)


def test_fp16_on_the_cpu_is_computed_in_float32_and_the_record_and_the_page_say_so(
    narrow, onnx_path
):
    subjects = parse_subjects([str(onnx_path), str(narrow(onnx.TensorProto.FLOAT16))])
    record = bench_files(subjects, QUICK, Console(quiet=True))
    plain, half = (row["precision"] for row in record["subjects"])
    assert plain["written"] == plain["computed"] == {"fp32": 1}
    assert plain["why"] is None
    assert (half["written"], half["computed"]) == ({"fp16": 1}, {"fp32": 1})
    assert json.loads(json.dumps(record)) == record
    page = as_text(record, width=300)
    assert "written 1 layer in fp16, computed 1 layer in fp32: ONNX Runtime computes" in page
    assert page.count("computed 1 layer in") == 1


@pytest.mark.parametrize(("has_it", "kind"), [(True, "bf16"), (False, "fp32")])
def test_bfloat16_in_openvino_is_what_the_processor_has(narrow, monkeypatch, has_it, kind):
    monkeypatch.setattr(home, "computes_bf16", lambda: has_it)
    told = of(f"openvino:{narrow(onnx.TensorProto.BFLOAT16)}")
    assert told.computed == {kind: 1}
    assert (told.why is None) is has_it


def test_of_a_plan_it_is_what_was_read_back_or_why_that_was_not(make_plan):
    plan = make_plan("tensorrt")
    told = of(plan)
    assert (told.computed, told.why) == (None, "it is a fake")
    read = Precisions(products={"fp16": 1}, others={}, num_reformats=0)
    known = {"precisions": read, "not_inspected": None}
    write_sidecar(plan, read_sidecar(plan).model_copy(update=known))
    assert of(plan).computed == {"fp16": 1}
