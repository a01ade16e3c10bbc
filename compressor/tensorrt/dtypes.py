"""The engine's types as torch's: the module's own table lacks bfloat16 and fp8."""

from typing import Any

import torch

from compressor.errors import ModelError

DTYPES = {
    "FLOAT": torch.float32,
    "HALF": torch.float16,
    "BF16": torch.bfloat16,
    "INT8": torch.int8,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "BOOL": torch.bool,
    "UINT8": torch.uint8,
    "FP8": torch.float8_e4m3fn,
}


def torch_dtype(kind: Any, tensor: str) -> torch.dtype:
    """Torch's type for the engine's ``kind``.

    Args:
        kind: Member of the module's ``DataType``.
        tensor: Name of the tensor that has it.

    Raises:
        ModelError: Torch has no such type.
    """
    if kind.name not in DTYPES:
        raise ModelError(
            f"{tensor} is of the type {kind.name}, which torch has not. Keep inputs and outputs of "
            "the network in float32 or float16 when it is exported."
        )
    return DTYPES[kind.name]
