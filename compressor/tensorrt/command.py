"""``compressor build``; heavy imports live inside the functions."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from compressor.either import example, given_options, refuse_options
from compressor.engines import GPU_ENGINES, GpuEngine
from compressor.overrides import near, set_value

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from compressor.tensorrt.settings import BuildSettings
    from compressor.tensorrt.sidecar import Sidecar

BATCH_KEYS = ("min", "opt", "max")
"""In the order of ``--batch``."""


EPILOG = example(
    "compressor build recipe.toml --out runs/demo",
    "compressor build model.onnx --engine tensorrt-rtx --batch 1,8,32",
)


@click.command()
@click.argument("onnx", type=click.Path(path_type=Path))
@click.option(
    "--engine",
    type=click.Choice(GPU_ENGINES),
    default="tensorrt",
    help="Whose plan: tensorrt builds on a GPU and for it, tensorrt-rtx without one, for many.",
)
@click.option("--out", type=click.Path(path_type=Path), help="The plan; FILE.plan by default.")
@click.option(
    "--batch",
    metavar="MIN,BEST,MAX",
    help="Batch sizes, and the one to be fast for; 1,8,32 for a file whose batch is free.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the build, such as optimization_level=5 or gate.precision=fp16; without a "
    "gate, that of the profile which stands in the file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan's sidecar as JSON.")
def build(
    onnx: Path,
    engine: GpuEngine,
    out: Path | None,
    batch: str | None,
    overrides: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Build the file ONNX into a TensorRT plan, and a sidecar that says what it is.

    The plan's precision is that of the file.
    """
    from compressor.tensorrt.build import build_plan
    from compressor.tensorrt.graph import read_graph
    from compressor.tensorrt.module import open_kit
    from compressor.tensorrt.precision import noted_gate
    from compressor.tensorrt.settings import FREE_BATCH

    graph = read_graph(onnx)
    # A number without axes has no batch.
    batches = [sizes[0] for sizes in graph.inputs.values() if sizes]
    is_free = not all(isinstance(size, int) for size in batches)
    default = FREE_BATCH.model_dump() if is_free else None
    settings = _settings(_sizes(batch) if batch is not None else default, overrides)
    if settings.gate is None:
        settings = settings.model_copy(update={"gate": noted_gate(graph)})
    plan = onnx.with_suffix(".plan") if out is None else out
    sidecar = build_plan(open_kit(engine), onnx, plan, settings)
    click.echo(sidecar.model_dump_json(indent=2) if as_json else as_text(plan, sidecar))


HELP = (
    "Of a file (model.onnx), build it into a TensorRT plan of its precision, and a sidecar that "
    "says what it is."
)
OF_BOTH = {"--engine", "--out", "--set", "--json"}
"""What is for recipes and files alike, though it may mean something else."""


class BuildCommand(click.Command):
    """Builds a file into a plan; of a recipe, does what ``of_recipes`` does.

    Args:
        of_recipes: The command of that name which runs recipes.
        check_images: Refuses a file that takes one input and is no network for images.
    """

    def __init__(self, of_recipes: click.Command, check_images: Callable[[Path], object]) -> None:
        of_files = {p.opts[0]: p for p in build.params if isinstance(p, click.Option)}
        ours = [p for p in of_recipes.params if isinstance(p, click.Option)]
        shared = [_of_either(p, of_files[p.opts[0]]) for p in ours if p.opts[0] in OF_BOTH]
        super().__init__(
            of_recipes.name,
            params=[
                click.Argument(["what"], metavar="RECIPE | ONNX"),
                *shared,
                *(p for p in ours if p.opts[0] not in OF_BOTH),
                *(p for name, p in of_files.items() if name not in OF_BOTH),
            ],
            help=f"{of_recipes.help} {HELP}",
            epilog=EPILOG,
        )
        self._of_recipes, self._check_images = of_recipes, check_images

    def invoke(self, ctx: click.Context) -> None:
        """Build a file or run the recipe, by what the argument names."""
        given = given_options(ctx, self.params) - {"what"}
        what, batch = ctx.params.pop("what"), ctx.params.pop("batch")
        if Path(what).suffix == ".onnx":
            refuse_options(given - {p.opts[0] for p in build.params}, "recipes", ctx)
            words = {name: ctx.params[name] for name in ("out", "overrides", "as_json")}
            engine = _checked_engine(build, ctx, "file")
            self._check_input(Path(what))
            ctx.invoke(build, onnx=Path(what), batch=batch, engine=engine, **words)
        else:
            refuse_options(given & {"--batch"}, "files such as model.onnx", ctx)
            ctx.params["recipe"] = what
            ctx.params["engine"] = _checked_engine(self._of_recipes, ctx, "recipe")
            self._of_recipes.invoke(ctx)

    def _check_input(self, onnx: Path) -> None:
        """Refuse what no benchmark of ours could run; files of several inputs are built as asked.

        Raises:
            ModelError: The file cannot be read, holds no weights, or takes no images.
        """
        from compressor.tensorrt.graph import read_graph

        if len(read_graph(onnx).inputs) == 1:
            self._check_images(onnx)


def _of_either(of_recipes: click.Option, of_files: click.Option) -> click.Option:
    """One option that takes what either of the two takes, and explains both."""
    kinds = [option.type for option in (of_files, of_recipes)]
    choices = [word for kind in kinds if isinstance(kind, click.Choice) for word in kind.choices]
    return click.Option(
        [*of_recipes.opts, of_recipes.name or ""],
        type=click.Choice(choices) if choices else of_recipes.type,
        multiple=of_recipes.multiple,
        is_flag=of_recipes.is_flag,
        metavar=of_recipes.metavar,
        help=f"Of a recipe: {of_recipes.help} Of a file: {of_files.help}",
    )


def _checked_engine(command: click.Command, ctx: click.Context, kind: str) -> str | None:
    """The engine that was given, if ``command`` knows it; its own default if none was."""
    option = next(p for p in command.params if p.name == "engine")
    engine: str | None = ctx.params["engine"]
    assert isinstance(option.type, click.Choice), "an engine is one of a few"
    if engine is not None and engine not in option.type.choices:
        told = f"--engine {engine}: of a {kind}, give {' or '.join(option.type.choices)}."
        if engine in GPU_ENGINES:
            told += f" The engine of its plans is a setting: --set tensorrt.engine={engine}."
        raise click.UsageError(told, ctx)
    default: str | None = option.default if isinstance(option.default, str) else None
    return default if engine is None else engine


def _sizes(text: str) -> dict[str, int]:
    words = text.split(",")
    if len(words) != len(BATCH_KEYS) or not all(word.strip().isdecimal() for word in words):
        raise click.UsageError(f"--batch {text}: write three whole numbers, such as 1,8,32.")
    return dict(zip(BATCH_KEYS, map(int, words), strict=True))


def _settings(batch: dict[str, int] | None, overrides: Sequence[str]) -> "BuildSettings":
    from pydantic import ValidationError

    from compressor.tensorrt.settings import BuildSettings

    values: dict[str, Any] = {}
    if batch is not None:
        values["batch"] = batch
    for override in overrides:
        if wrong := set_value(values, override, "gate.precision=fp16"):
            raise click.UsageError(wrong)
    if isinstance(words := values.get("compute_capabilities"), str):
        values["compute_capabilities"] = words.split(",")
    try:
        return BuildSettings.model_validate(values, strict=False)
    except ValidationError as failure:
        # A misspelt name explains why another is missing.
        fault = min(failure.errors(), key=lambda error: error["type"] != "extra_forbidden")
        raise click.UsageError(_fault(fault)) from failure


def _fault(error: "ErrorDetails") -> str:
    """One line: which setting, what is wrong with its value, what to do."""
    names = [str(name) for name in error["loc"] if isinstance(name, str)]
    where = ".".join(names)
    match error["type"]:
        case "extra_forbidden":
            return f"{where}: there is no such setting. {near(names[-1], _known(names[:-1]))}"
        case "missing":
            return f"{where}: the setting is missing. Give it with --set too."
        case "model_type":
            keys = ", ".join(f"{where}.{name}" for name in _known(names))
            return f"{where} = {error['input']}: it has settings of its own. Set {keys}."
        case "value_error":
            return f"{where}: {error['msg'].removeprefix('Value error, ')}."
        case _:
            return f"{where} = {error['input']}: {error['msg'][:1].lower()}{error['msg'][1:]}."


def _known(section: Sequence[str]) -> list[str]:
    """Names of the settings in a section; of the build itself if it is empty."""
    from compressor.tensorrt.settings import BuildSettings

    model: Any = BuildSettings
    for name in section:
        kinds = get_args(model.model_fields[name].annotation)
        model = next(kind for kind in kinds if hasattr(kind, "model_fields"))
    return list(model.model_fields)


def as_text(plan: Path, sidecar: "Sidecar") -> str:
    """What was built, for people."""
    built, shapes = sidecar.built_with, sidecar.shapes.values()
    batches = ", ".join(f"{s.min[0]} to {s.max[0]}, best {s.opt[0]}" for s in shapes if s.min)
    file = _counted(sidecar.onnx_precisions)
    lines = [
        f"{plan}: {plan.stat().st_size:,d} bytes, {built.flavour} {built.version}",
        f"batch {batches}",
        f"products in the file: {file}",
    ]
    if (gate := sidecar.settings.gate) is not None:
        lines.append(f"gate: {gate.precision} in a share of at least {gate.min_share:.2f} of them")
    else:
        lines.append("no gate: the file does not say its profile, and none was given")
    if sidecar.precisions is not None:
        lines.append(f"products in the plan: {_counted(sidecar.precisions.products)}")
        lines.append(f"changes of layout or type in it: {sidecar.precisions.num_reformats}")
    else:
        lines.append(f"the plan was not read back: {sidecar.not_inspected}")
    warnings = list(sidecar.warnings)
    if sidecar.sparse is not None:
        lines.append(str(sidecar.sparse))
        warnings += filter(None, [sidecar.sparse.warning()])
    return "\n".join([*lines, *(f"warning: {warning}" for warning in warnings)])


def _counted(products: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in products.items())
