"""One plan on one stream: buffers that are torch tensors, their addresses, and the launch.

A wrong address is no error to the engine but undefined behaviour, so each tensor is checked before
its address is given away.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compressor.errors import ModelError
from compressor.tensorrt.dtypes import torch_dtype
from compressor.tensorrt.load import OpenPlan
from compressor.tensorrt.module import Kit

PROFILE = 0  # the builder adds one profile


@dataclass(frozen=True)
class Buffers:
    """Tensors of one shape of input: those whose addresses the engine holds, or their like.

    Attributes:
        images: The input; shape ``(batch, *image_shape)``.
        outputs: Output -> its tensor.
    """

    images: Tensor
    outputs: dict[str, Tensor]


class Session:
    """A plan with one input, ready to run on a stream of its own.

    Args:
        kit: The engine.
        plan: The plan, opened.
        name: What to call it in an error.

    Raises:
        ModelError: It has several inputs, or a type that torch has not.
    """

    def __init__(self, kit: Kit, plan: OpenPlan, name: str) -> None:
        self._kit, self._plan, self._name = kit, plan, name
        self._engine = plan.engine
        self._context = plan.engine.create_execution_context()
        if self._context is None:
            raise ModelError(f"{name}: there is no memory left to run it. Free some of the GPU's.")
        self.stream = kit.cuda.new_stream()
        inputs = self._names(kit.trt.TensorIOMode.INPUT)
        if len(inputs) != 1:
            raise ModelError(f"{name} has the inputs {inputs}; a plan with one input is needed.")
        self.input_name = inputs[0]
        self.output_names = self._names(kit.trt.TensorIOMode.OUTPUT)
        self.buffers: Buffers | None = None
        self._host: Buffers | None = None

    def _names(self, mode: Any) -> list[str]:
        """Inputs or outputs, in the plan's order."""
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        return [name for name in names if self._engine.get_tensor_mode(name) == mode]

    def dtype(self, tensor: str) -> torch.dtype:
        """Torch's type of an input or output."""
        return torch_dtype(self._engine.get_tensor_dtype(tensor), f"{self._name}: {tensor}")

    def reshape(self, shape: tuple[int, ...]) -> None:
        """Make new buffers for an input of ``shape`` and give their addresses to the engine.

        Raises:
            ModelError: The plan does not take that shape.
        """
        self._check_range(shape)
        # What the old buffers' addresses are still used for must end before they are freed.
        self.stream.synchronize()
        self.buffers = self._host = None
        if not self._context.set_input_shape(self.input_name, shape):
            raise ModelError(f"{self._name} does not take inputs of {list(shape)}. Build it so.")
        if missing := self._context.infer_shapes():
            raise ModelError(
                f"{self._name}: the sizes of {', '.join(missing)} do not follow from the input. "
                "Export the network with fixed sizes but the batch."
            )
        images = self._empty(self.input_name, shape)
        outputs = {name: self._empty(name, self._output_shape(name)) for name in self.output_names}
        for name, tensor in ((self.input_name, images), *outputs.items()):
            self._give_address(name, tensor)
        self.buffers = Buffers(images, outputs)

    def _check_range(self, shape: tuple[int, ...]) -> None:
        """Refuse a shape outside of the plan's profile; the engine's own refusal gives no range."""
        smallest, _, largest = (
            tuple(sizes)
            for sizes in self._engine.get_tensor_profile_shape(self.input_name, PROFILE)
        )
        fits = len(shape) == len(smallest) and all(
            low <= size <= high for low, size, high in zip(smallest, shape, largest, strict=True)
        )
        if not fits:
            raise ModelError(
                f"{self._name} takes inputs from {list(smallest)} to {list(largest)}, it was given "
                f"{list(shape)}. Give another batch, or build it with another range."
            )

    def _output_shape(self, name: str) -> tuple[int, ...]:
        """Shape of an output for the shape of input that was set."""
        shape = tuple(self._context.get_tensor_shape(name))
        if any(size < 0 for size in shape):
            raise ModelError(
                f"{self._name}: the shape {list(shape)} of {name} depends on the values of the "
                "input, and its buffer cannot be made. Export the network up to that operation."
            )
        return shape

    def _empty(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """A tensor for an input or output."""
        return torch.empty(shape, dtype=self.dtype(name), device=self._kit.cuda.device())

    def _give_address(self, name: str, tensor: Tensor) -> None:
        """Let the engine read or write ``tensor``."""
        check_tensor(f"{self._name}: {name}", tensor, self.dtype(name), self._kit.cuda.device())
        if not self._context.set_tensor_address(name, tensor.data_ptr()):
            raise ModelError(f"{self._name}: the engine does not take a buffer for {name}.")

    def fill(self, batch: Tensor) -> None:
        """Copy ``batch``, of the buffer's shape and type, wherever it lies, into the input buffer.

        Raises:
            ModelError: It is of another type.
        """
        assert self.buffers is not None, "reshape comes before fill"
        images = self.buffers.images
        if batch.dtype != images.dtype:
            raise ModelError(
                f"{self._name} takes {images.dtype}, it was given {batch.dtype}. Convert the "
                "batch, or export the network with float32 inputs."
            )
        # What made the batch may still be running on the caller's stream.
        self.stream.wait_stream(self._kit.cuda.current_stream())
        with self._kit.cuda.on(self.stream):
            images.copy_(batch)
        self.stream.synchronize()
        self._host = None

    def copy_in(self) -> None:
        """Launch a copy of the batch from page-locked memory; returns before it is done."""
        device, host = self._both_sides()
        with self._kit.cuda.on(self.stream):
            device.images.copy_(host.images, non_blocking=True)

    def copy_out(self) -> None:
        """Launch a copy of all outputs to page-locked memory; returns before it is done."""
        device, host = self._both_sides()
        with self._kit.cuda.on(self.stream):
            for name, output in device.outputs.items():
                host.outputs[name].copy_(output, non_blocking=True)

    def _both_sides(self) -> tuple[Buffers, Buffers]:
        """The buffers on the GPU and their like on the machine, made when first asked for."""
        assert self.buffers is not None, "reshape comes before copies"
        if self._host is None:
            pinned = self._kit.cuda.pinned
            outputs = {name: pinned(output) for name, output in self.buffers.outputs.items()}
            self._host = Buffers(pinned(self.buffers.images), outputs)
            # The batch itself, so that copying it in changes nothing.
            self._host.images.copy_(self.buffers.images)
        return self.buffers, self._host

    def enqueue(self) -> None:
        """Launch one run on the stream; returns before it is done.

        Raises:
            RuntimeError: The engine refuses; while a graph is captured, this is what it means for
                the plan to hold work that cannot be captured.
        """
        if not self._context.execute_async_v3(self.stream.cuda_stream):
            raise RuntimeError("the engine does not take the run")

    def close(self) -> None:
        """Wait for the stream, then drop context, buffers and engine, in this order."""
        self.stream.synchronize()
        del self._context
        self.buffers = self._host = None
        del self._engine, self._plan


def check_tensor(name: str, tensor: Tensor, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse a tensor whose address the engine would misread.

    Args:
        name: What to call it.
        tensor: The tensor.
        dtype: The type that the plan has there.
        device: Where the plan runs.

    Raises:
        ModelError: It is of another type, on another device, or not contiguous.
    """
    if tensor.dtype != dtype:
        raise ModelError(f"{name} is {dtype}, the tensor is {tensor.dtype}. Convert it first.")
    if tensor.device != device:
        raise ModelError(f"{name} lies on {device}, the tensor on {tensor.device}. Move it first.")
    if not tensor.is_contiguous():
        raise ModelError(
            f"{name}: the tensor of shape {list(tensor.shape)} is not contiguous. "
            "Call contiguous() on it."
        )
