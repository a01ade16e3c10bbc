"""What was checked, in a line each, with the figures that it rests on."""

from collections.abc import Iterator

from compressor.report import formats
from compressor.report.built import BuiltPlan
from compressor.report.converted import Converted
from compressor.report.headline import engine_name
from compressor.report.page import Badge, State
from compressor.report.run_files import RunRecord


def badges(run: RunRecord) -> tuple[Badge, ...]:
    """The certificate, each exported file, each precision and each plan."""
    files = run.settings.get("precision", {}).get("gate", {}).get("max_accuracy_drop")
    plans = run.settings.get("tensorrt", {}).get("max_accuracy_drop")
    return (
        *_certificate(run),
        *_exports(run),
        *(_precision(converted, files) for converted in run.converted),
        *(_plan(plan, plans) for plan in run.plans),
    )


def _certificate(run: RunRecord) -> Iterator[Badge]:
    figures = run.summary.certificate
    for name, figure, bound in (
        ("float32", figures.max_rel_diff_fp32, run.certificate.get("bound_fp32")),
        ("float64", figures.max_rel_diff_fp64, run.certificate.get("bound_fp64")),
    ):
        told = f"stripped against masked in {name}: {_against(figure, bound)}"
        yield Badge("Certificate", told, _state(figure, bound), "certificate")


def _exports(run: RunRecord) -> Iterator[Badge]:
    for exported in run.summary.verify:
        if exported.bound is not None:
            told = (
                f"{exported.file} against PyTorch: "
                f"{_against(exported.max_rel_diff, exported.bound)}"
            )
            state = _state(exported.max_rel_diff, exported.bound)
            yield Badge("Export", told, state, "certificate")


def _against(figure: float, bound: float | None) -> str:
    allowed = "" if bound is None else f", {formats.difference(bound)} allowed"
    return f"{formats.difference(figure)}{allowed}"


def _state(figure: float, bound: float | None) -> State:
    if bound is None:
        return "told"
    return "holds" if figure <= bound else "broken"


def _precision(converted: Converted, allowed: float | None) -> Badge:
    told, state = _gated(converted.search.accuracy - converted.float_accuracy, allowed)
    kept = len(converted.search.kept)
    layers = f"{kept or 'no'} layer{'s' * (kept != 1)} in float32"
    return Badge("Precision", f"{converted.profile}: {told}, {layers}", state, "precisions")


def _plan(plan: BuiltPlan, allowed: float | None) -> Badge:
    name = f"{plan.file} ({engine_name(plan.engine)})"
    if plan.accuracy is None or plan.float_accuracy is None:
        return Badge("Plan", f"{name}: unmeasured, {plan.unmeasured}", "told", "plans")
    told, state = _gated(plan.accuracy - plan.float_accuracy, allowed)
    return Badge("Plan", f"{name}: {told}", state, "plans")


def _gated(change: float, allowed: float | None) -> tuple[str, State]:
    """A change of accuracy beside the loss that the recipe allows, and whether it is within it."""
    told = f"{formats.signed_points(change)} to float32"
    if allowed is None:
        return told, "told"
    # A drop of exactly what is allowed is no more than that, whatever the last bit says.
    state: State = "holds" if -change <= allowed + 1e-9 else "broken"
    return f"{told}, {100 * allowed:.3g} points of loss allowed", state
