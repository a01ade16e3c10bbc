"""A dry run: all checks of a recipe, each one after those that it builds on."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from compressor.context import Context
from compressor.data.catalog import data_root
from compressor.dry_run.checks import Checks
from compressor.dry_run.faults import Told, budget_key, data_key, model_key, placed
from compressor.dry_run.findings import Finding, Findings
from compressor.errors import CompressorError
from compressor.pipeline import STAGES, Where
from compressor.recipe import Recipe
from compressor.run import Run


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        work: What is done.
        key: Which key of the recipe a fault is about that names none; empty for the machine.
        builds_on: Checks without which it cannot be made.
    """

    work: Callable[[Checks], Iterator[str]]
    key: Callable[[Recipe, str], str] = lambda _recipe, _fault: ""
    builds_on: tuple[str, ...] = ()


CHECKS: Mapping[str, Check] = {
    "recipe": Check(Checks.recipe),
    "data": Check(Checks.data, data_key),
    "network": Check(Checks.network, model_key, ("data",)),
    "budget": Check(Checks.budget, budget_key, ("network",)),
    "export": Check(Checks.export, builds_on=("network",)),
    "engines": Check(Checks.engines),
}
"""By name, in their order."""


def dry_run(recipe: Recipe, where: Where, told: Told = str) -> Findings:
    """Check all of ``recipe`` that can be checked before training; nothing is written.

    Args:
        recipe: What would be run.
        where: Where and how; ``out`` is not touched, and only engines that the stages up to
            ``until`` need are looked for.
        told: Says where in the recipe's file a fault lies.

    Returns:
        What each check found; a fault does not keep those from running that do not build on it.
    """
    names = [stage.name for stage in STAGES]
    stages = tuple(names if where.until is None else names[: names.index(where.until) + 1])
    found: dict[str, Finding] = {}
    with tempfile.TemporaryDirectory() as folder:
        checks = Checks(_context(recipe, where, Path(folder)), stages)
        for name, check in CHECKS.items():
            missing = [other for other in check.builds_on if found[other].state != "holds"]
            if missing:
                why = f"builds on the check of {missing[0]}, which does not hold"
                found[name] = Finding(name, "skipped", (why,))
            else:
                where.console.say(f"dry run: {name}")
                found[name] = _found(name, checks, recipe, told)
    return Findings(recipe.name, tuple(found.values()))


def _found(name: str, checks: Checks, recipe: Recipe, told: Told) -> Finding:
    check = CHECKS[name]
    try:
        return Finding(name, "holds", tuple(check.work(checks)))
    except CompressorError as failure:
        lines = str(failure).splitlines()
        keys = [check.key(recipe, line) for line in lines]
        places = [placed(line, key, told) for line, key in zip(lines, keys, strict=True)]
        return Finding(name, "fault", tuple(places), of_recipe=any(keys))


def _context(recipe: Recipe, where: Where, folder: Path) -> Context:
    return Context(
        recipe=recipe,
        run=Run(folder / "run"),
        console=where.console,
        device=where.device,
        data_root=data_root(),
        model_folders=where.model_folders,
        resume=False,
        is_main=True,
        shared=where.shared,
    )
