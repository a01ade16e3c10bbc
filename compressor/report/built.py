"""TensorRT plans, as ``build/plans.json`` holds them."""

from pydantic import NonNegativeInt, PositiveInt

from compressor.report.part import Part, Share


class BuiltPlan(Part):
    """One plan: what it was built from and with, its layers, and its accuracy where there is one.

    ``file_products`` are the convolutions and matrix products of the ONNX file at each precision,
    ``plan_products`` those read back from the plan; ``None`` with the reason in ``not_inspected``.
    ``num_reformats`` are the plan's layers that only change a layout or a type, ``sparse`` is what
    became of 2:4 weights and ``sparse_warning`` what is wrong with it. ``unmeasured`` is why it has
    no accuracy; then it was not timed either.
    """

    profile: str
    engine: str
    version: str
    gpu: str | None
    label: str
    file: str
    num_bytes: PositiveInt
    file_products: dict[str, NonNegativeInt]
    plan_products: dict[str, NonNegativeInt] | None
    not_inspected: str | None
    num_reformats: NonNegativeInt | None
    sparse: str | None
    sparse_warning: str | None
    accuracy: Share | None
    float_accuracy: Share | None
    unmeasured: str | None
