"""The record of a trial as a page."""

from typing import Any

from compressor.report import formats

Record = dict[str, Any]

STEPS = {
    "venv": "a fresh virtual environment",
    "install": "`pip install` of the wheel, packages and all",
    "init": "`compressor init`",
    "run": "`compressor run`, to the report and the package",
}
"""From the wheel to the report; their sum is the user's."""

BESIDE = {
    "wheel": "building the wheel",
    "six lines": "loading the package and one picture, in a script of six lines",
    "dry run": "`compressor run --dry-run`",
}


def as_markdown(record: Record) -> str:
    """The page."""
    summary, seconds, made = record["summary"], record["seconds"], record["folder"]
    dense, slim = summary["dense"], summary["slim"]
    total = sum(seconds[name] for name in STEPS)
    versions, machine = record["machine"]["versions"], record["machine"]
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in made.items() if kind != "pictures")
    fast = [
        (f"{engine}, batch {batch}", ratio)
        for engine, batches in summary["speedup"].items()
        for batch, ratio in batches.items()
    ]
    epochs = record["epochs"]
    lines = [
        "# Your own network, tried as a new user",
        "",
        f"`tools/trial.py --weights mobilenet_v2.pth`, {record['date']}, torch "
        f"{versions['torch']}, ONNX Runtime {versions['onnxruntime']}, {machine['cpu']}, "
        f"{machine['usable_cores']} cores.",
        "",
        f"A folder that nobody prepared: {made['pictures']:,} photographs (CIFAR-10, enlarged to "
        f"odd sizes) in ten unequal classes; of them {kinds}. The network is torchvision's "
        "MobileNetV2 with the weights of the ImageNet, at 96 pixels:",
        "",
        "```sh",
        "compressor init --model torchvision:mobilenet_v2 --weights mobilenet_v2.pth --data photos "
        "--target keep_macs=0.5 --image-size 96 --out mine.toml --yes",
        "compressor run mine.toml --out runs/mine",
        "```",
        "",
        "| step | seconds |",
        "| --- | ---: |",
        *[f"| {told} | {seconds[name]:.0f} |" for name, told in STEPS.items()],
        f"| together, {total / 60:.1f} minutes | {total:.0f} |",
        *[f"| not among them: {told} | {seconds[name]:.0f} |" for name, told in BESIDE.items()],
        "",
        f"`init` forecast {record['forecast_seconds']:.0f} seconds for the run: {epochs['dense']} "
        f"epochs of the dense network and its new head, {epochs['search']} of search, "
        f"{epochs['tune']} of tuning. What it said of the folder and the weights:",
        "",
        *[f"* {notice}" for notice in record["notices"]],
        "",
        "| | dense | slim | |",
        "| --- | ---: | ---: | ---: |",
        f"| accuracy on {summary['test_images']} test images | "
        f"{formats.percent(dense['accuracy'])} | {formats.percent(slim['accuracy'])} | "
        f"{formats.signed_points(slim['accuracy'] - dense['accuracy'])} |",
        f"| MACs | {dense['macs']:,} | {slim['macs']:,} | {_times(dense['macs'], slim['macs'])} |",
        f"| parameters | {dense['params']:,} | {slim['params']:,} | "
        f"{_times(dense['params'], slim['params'])} |",
        f"| ONNX file, bytes | {dense['bytes']:,} | {slim['bytes']:,} | "
        f"{_times(dense['bytes'], slim['bytes'])} |",
        *[
            f"| times as fast, {name} | | | {ratio['median']:.2f} ({ratio['low']:.2f} to "
            f"{ratio['high']:.2f}) |"
            for name, ratio in fast
        ],
        "",
        "Stripped equals masked to "
        f"{summary['certificate']['max_rel_diff_fp32']:.1e} in float32 and "
        f"{summary['certificate']['max_rel_diff_fp64']:.1e} in float64. The six lines, given "
        f"`{record['answer']['picture']}`, printed `{record['answer']['labels']}`.",
    ]
    return "\n".join(lines) + "\n"


def _times(dense: float, slim: float) -> str:
    return f"{dense / slim:.2f}x"
