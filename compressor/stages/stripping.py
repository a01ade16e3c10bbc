"""Stages of the couplings: what can be removed, and its removal with the proof of it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from compressor.context import Context
from compressor.count import count, layer_macs
from compressor.couplings.coupling import Couplings
from compressor.errors import RunError
from compressor.export.onnx import export_onnx
from compressor.files import read_json, write_json
from compressor.strip.apply import apply
from compressor.strip.budget import Cost, explain, solve
from compressor.strip.certificate import certify
from compressor.strip.plan import make_plan
from compressor.structure import Path as UnitsPath
from compressor.structure import Structure
from compressor.train.checkpoint import save_weights

CERTIFICATE_IMAGES = 64
"""Real images in the certificate, beside as many random ones and some of another size."""


def inspect(context: Context, folder: Path) -> None:
    """Couplings and size of the dense network, and its export, before anything is trained."""
    couplings, model = context.couplings, context.fresh_model()
    context.check_output(model)
    if not couplings.free:
        reasons = "; ".join(f"{frozen.name}: {frozen.reason}" for frozen in couplings.frozen)
        raise RunError(f"No unit of {context.recipe.model.factory} can be removed: {reasons}.")
    export_onnx(model, context.data.image_shape, folder / "preflight.onnx", context.recipe.export)
    (folder / "preflight.onnx").unlink()
    write_json(
        folder / "couplings.json",
        {
            "free": [
                {"name": c.name, "units": c.num_units, "tensors": [m.tensor for m in c.members]}
                for c in couplings.free
            ],
            "frozen": [asdict(frozen) for frozen in couplings.frozen],
            "branches": [
                {"name": branch.name, "couplings": list(branch.couplings)}
                for branch in couplings.branches
            ],
            "counts": asdict(count(model, context.example)),
        },
    )
    context.console.say(
        f"inspect: {couplings.num_units} units in {len(couplings.free)} couplings can be removed, "
        f"{len(couplings.frozen)} couplings are kept whole"
    )


def strip(context: Context, folder: Path) -> None:
    """The budget solved along the path, the units outside removed, and the proof of it."""
    recipe, run, couplings = context.recipe, context.run, context.couplings
    model = context.searched_model()
    path = UnitsPath.from_json(read_json(run.path("train", "path.json")))
    support = Structure.from_json(read_json(run.path("train", "structure.json")))
    cost = Cost.of(model, couplings, layer_macs(model, context.example))
    structure = solve(couplings, cost, path, support, recipe.strip)
    if notice := explain(couplings, cost, path, structure, recipe.strip):
        context.console.warn(notice)
    images = context.task.example(CERTIFICATE_IMAGES)
    certificate = certify(model, couplings, structure, [images], seed=recipe.seed)
    certificate.check()
    plan = make_plan(model, couplings, structure)
    slim = apply(plan, model)
    dense_counts, counts = count(model, context.example), count(slim, context.example)
    write_json(folder / "plan.json", plan.to_json())
    write_json(folder / "structure.json", structure.to_json())
    write_json(folder / "certificate.json", certificate.to_json())
    write_json(folder / "counts.json", {"dense": asdict(dense_counts), "slim": asdict(counts)})
    write_json(folder / "widths.json", _widths(couplings, cost, structure))
    save_weights(folder / "weights.safetensors", slim)
    blocks = f", removed as blocks: {', '.join(certificate.branches)}" if plan.branches else ""
    context.console.say(
        f"strip: {structure.num_kept} of {structure.num_units} units kept, "
        f"{counts.macs / dense_counts.macs:.1%} of the MACs, "
        f"{counts.params / dense_counts.params:.1%} of the parameters, "
        f"stripped equals masked to {certificate.max_rel_diff_fp32:.1e}{blocks}"
    )


def _widths(couplings: Couplings, cost: Cost, structure: Structure) -> list[dict[str, Any]]:
    whole = cost.macs({})
    return [
        {
            "coupling": c.name,
            "units": c.num_units,
            "kept": int(structure.keep[c.name].sum()),
            "share_of_macs": 1 - cost.macs({c.name: c.num_units}) / whole,
        }
        for c in couplings.free
    ]
