"""The dense network's side of a run's results, done once for all runs that share a search.

Members of a family differ in their slim networks alone. What one of them found of the dense one,
the next finds in ``Context.shared`` by a key of all that it depends on.
"""

from collections.abc import Callable
from pathlib import Path

from compressor.context import Context, DenseAnswers
from compressor.export.onnx import Exported, export_onnx
from compressor.files import fingerprint, sha256, share_file
from compressor.stages.keys import inputs_of

DENSE_FILE = "dense.onnx"


def dense_key(context: Context) -> str:
    """Fingerprint of the trained dense network, its data and how it is exported."""
    recipe = context.recipe
    sections = {"seed", "model", "data", "task", "export"}
    return fingerprint(
        [
            recipe.model_dump(mode="json", include=sections),
            inputs_of(recipe, context.model_folders),
            sha256(context.run.path("dense", "weights.safetensors")),
        ]
    )


def export_dense(context: Context, path: Path) -> Exported:
    """Write the dense network to ``path``, or make it the file that another run has written."""
    key, known = dense_key(context), context.shared.dense_files
    if (before := known.get(key)) is not None and _is_as_written(before[0], before[1]):
        share_file(before[0], path)
        return before[2]
    return export_onnx(context.dense_model(), context.data.image_shape, path, context.recipe.export)


def note_dense(context: Context, path: Path, how: Exported) -> None:
    """Let other runs know of the finished file at ``path``, in the unfinished folder of export."""
    place = context.run.folder / "export" / path.name
    context.shared.dense_files[dense_key(context)] = (place, sha256(path), how)


def dense_answers(context: Context, file: Path, ask: Callable[[], DenseAnswers]) -> DenseAnswers:
    """What the dense network and its ONNX file answer on the test images; asked once a file."""
    key = fingerprint([dense_key(context), sha256(file)])
    known = context.shared.dense_answers
    if key not in known:
        known[key] = ask()
    return known[key]


def _is_as_written(path: Path, content: str) -> bool:
    return path.is_file() and sha256(path) == content
