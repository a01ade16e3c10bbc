"""The section on how to make the run again: the recipe and the commands."""

import re
import shlex
from collections.abc import Iterator

from compressor.report.page import Listing, Section
from compressor.report.run_files import RunRecord
from compressor.report.toml_text import as_toml

UNSAFE = re.compile(r"[^\w.-]+")


def repeat_section(run: RunRecord) -> Section:
    """Commands that repeat the run, and the full recipe that they need."""
    name = UNSAFE.sub("-", run.summary.recipe).strip("-.") or "recipe"
    told = f"Recipe {run.summary.recipe}, seed {run.summary.seed}."
    text = (told, *_cautions(run), f"Save the recipe below as {name}.toml, then:")
    listings = (
        Listing("Commands", "\n".join(_commands(run, name)), "sh", folded=False),
        Listing("The recipe with every setting", as_toml(run.settings), "toml"),
    )
    return Section("repeat", "Repeat it", text, listings=listings)


def _commands(run: RunRecord, name: str) -> Iterator[str]:
    version = run.environment.get("versions", {}).get("compressor")
    yield f"pip install compressor{f'=={version}' if version else ''}"
    threads = run.environment.get("omp_num_threads")
    before = f"OMP_NUM_THREADS={shlex.quote(str(threads))} " if threads else ""
    device = "" if run.environment.get("gpu") or run.environment.get("gpus") else " --device cpu"
    out = shlex.quote(f"{name}-again")
    yield f"{before}compressor run {shlex.quote(name)}.toml --out {out}{device}"
    yield f"compressor verify {out}/package"
    if run.family is not None:
        sizes = ",".join(f"{member.share:g}" for member in run.family.members)
        tune = run.family.tune_epochs
        yield f"{before}compressor family {out} --sizes {sizes} --tune {tune}{device}"


def _cautions(run: RunRecord) -> Iterator[str]:
    folders = run.model_folders
    model, data = run.settings.get("model", {}), run.settings.get("data", {})
    named = {
        "model.factory": model.get("factory"),
        "model.weights": model.get("weights"),
        "data.path": data.get("path"),
    }
    files = [f"{key} ({value})" for key, value in named.items() if _is_path(value)]
    if files:
        places = f", of the network relative to {' or '.join(folders)}" if folders else ""
        yield f"It needs the files that the recipe names: {', '.join(files)}{places}."
    if not run.train_history:
        yield (
            "This run searched nothing itself: its structure came from another run or a ticket. "
            "The commands search anew."
        )
    yield (
        "On the same versions and kind of processor, with as many threads, a CPU gives the same "
        "weights again, bit for bit; latencies are as good as the machine is idle."
    )


def _is_path(value: object) -> bool:
    return isinstance(value, str) and not value.startswith(("torchvision:", "timm:"))
