"""The network as the user gave it: what it gets right before anything is trained."""

from pathlib import Path
from typing import Any

import numpy as np

from compressor.context import Context
from compressor.files import write_json
from compressor.stages.answers import answers_of
from compressor.summary import GIVEN_FILE
from compressor.tasks.model import Start


def measure_given(context: Context, start: Start, folder: Path) -> None:
    """Write the accuracy of the given weights on the test images, or why there is none.

    Nothing is chosen by it, so the test images stay unseen by every decision.
    """
    weights = context.recipe.model.weights
    if weights is None or not context.is_main:
        return
    record: dict[str, Any] = {
        "weights": Path(weights).name,
        "accuracy": None,
        "why_unmeasured": None,
        "test_images": len(context.data.test),
    }
    if start.new_head:
        record["why_unmeasured"] = (
            f"its classes are not the data's {context.data.num_classes}: its head "
            f"({', '.join(start.new_head)}) was made new"
        )
        context.console.say(f"dense: the given network is not measured: {record['why_unmeasured']}")
    else:
        record["accuracy"], _ = answers_of(context, start.model)
        context.console.say(
            f"dense: the given network gets {record['accuracy']:.2%} of "
            f"{record['test_images']} test images right, before any training"
        )
        _warn_of_guessing(context, record["accuracy"])
    write_json(folder / GIVEN_FILE, record)


def _warn_of_guessing(context: Context, accuracy: float) -> None:
    """Say so where always naming the commonest class would do as well."""
    labels = context.data.test.labels
    guessing = np.bincount(labels).max() / len(labels)
    if accuracy <= guessing:
        context.console.warn(
            f"the given network gets {accuracy:.2%} right, no more than naming the commonest class "
            f"always ({guessing:.2%}). Are the classes in the order it was trained with "
            "(data.classes), and data.mean, data.std, data.resize and data.image_size its own?"
        )
