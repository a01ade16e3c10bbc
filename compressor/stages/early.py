"""What can be said of a budget before anything is trained."""

import torch
from torch import nn

from compressor.context import Context
from compressor.count import layer_macs
from compressor.couplings.coupling import Couplings
from compressor.stages.in_time import Problem
from compressor.stages.widths import multiple_of
from compressor.strip.budget import Budget, Cost, StripSettings, solve
from compressor.structure import Path as UnitsPath


def unranked(
    model: nn.Module, couplings: Couplings, cost: Cost, settings: StripSettings
) -> Problem:
    """A budget with no unit worth more than another.

    Whether widths can meet it is the same then as after a search.

    Args:
        model: The network.
        couplings: Those of it.
        cost: What its units cost.
        settings: What is asked for, ``round_to`` a number.
    """
    ones = {coupling.name: torch.ones(coupling.num_units) for coupling in couplings.free}
    return Problem(model, couplings, cost, UnitsPath.of_scores("none", ones), settings)


def asked_of(context: Context, model: nn.Module) -> Problem:
    """The budget of the recipe, before a search."""
    cost = Cost.of(model, context.couplings, layer_macs(model, context.example))
    settings = context.recipe.strip.model_copy(update={"round_to": multiple_of(context).channels})
    return unranked(model, context.couplings, cost, settings)


def check_budget(context: Context, model: nn.Module) -> None:
    """Refuse a budget that no search can meet, before it costs a search.

    One of time has to be measured; that is left to the dry run and to stripping. A run that ends
    before it is stripped needs none.

    Raises:
        BudgetError: The floors alone are above it.
    """
    if context.recipe.strip.in_time or "strip" not in context.ahead:
        return
    problem = asked_of(context, model)
    couplings, cost, settings = problem.couplings, problem.cost, problem.settings
    if (budget := Budget.of(couplings, cost, settings)) is not None:
        solve(couplings, cost, problem.path, couplings.everything(), settings, budget)
