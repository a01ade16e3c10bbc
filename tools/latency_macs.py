"""Latency against MACs: a network at a quarter of its MACs, its widths rounded in several ways."""

import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from latency_networks import NETWORKS, Dense
from latency_timing import Figures, How, side_by_side
from torch import nn

from compressor.bench.blocks import onnxruntime_block
from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.bench.timer import random_batch, timing_facts
from compressor.export.onnx import ExportSettings, export_onnx
from compressor.strip.alignment import alignment
from compressor.strip.budget import StripSettings, solve
from compressor.strip.target import Multiple, TargetSettings, multiple_for
from compressor.structure import Structure

KEEP_MACS = 0.25
ROUND_TO: tuple[int | Literal["auto"], ...] = ("auto", 8, 1)

DENSE = "dense"


def measured(network: str, num_threads: int, how: How) -> Figures:
    """The dense network and a slim one for each of ``ROUND_TO``, all in turns in ONNX Runtime.

    Args:
        network: Of ``NETWORKS``.
        num_threads: Of the engine.
        how: Rounds and limits.
    """
    image_shape, dense = NETWORKS[network].image_shape, Dense.of(NETWORKS[network])
    auto = multiple_of("auto", num_threads).channels
    models: dict[str, nn.Module] = {DENSE: dense.model}
    cases = {}
    for round_to in ROUND_TO:
        multiple = multiple_of(round_to, num_threads)
        structure = solved(dense, multiple.channels)
        models[str(round_to)] = dense.slim(structure)
        cases[str(round_to)] = {
            "multiple": asdict(multiple),
            "macs": dense.macs(models[str(round_to)]),
            "widths": structure.widths(),
            "alignment": alignment(dense.cost, dense.couplings, structure, auto).to_json(),
        }
    settings = how.timing(num_threads)
    with tempfile.TemporaryDirectory() as folder:
        makers = {}
        for name, model in models.items():
            path = Path(folder) / f"{name}.onnx"
            export_onnx(model, image_shape, path, ExportSettings())
            makers[name] = partial(OnnxRuntimeRunner, path, num_threads)
        latency = side_by_side(makers, DENSE, random_batch(1, image_shape), settings)
    return {
        "keep_macs": KEEP_MACS,
        "image_shape": list(image_shape),
        "macs": dense.macs(dense.model),
        "cases": cases,
        "latency": latency,
        "method": {"clock": settings.clock, "batch": 1, **timing_facts(settings)},
    }


def multiple_of(round_to: int | Literal["auto"], num_threads: int) -> Multiple:
    """What ``round_to`` means for ONNX Runtime here."""
    capability = torch.backends.cpu.get_cpu_capability()
    target = TargetSettings(num_threads=num_threads)
    return multiple_for(round_to, target, onnxruntime_block, capability)


def solved(dense: Dense, multiple: int) -> Structure:
    """What is kept of the network, widths being multiples of ``multiple`` channels."""
    settings = StripSettings(keep_macs=KEEP_MACS, round_to=multiple)
    everything = dense.couplings.everything()
    return solve(dense.couplings, dense.cost, dense.path, everything, settings)
