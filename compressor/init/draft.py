"""From what was asked to what was found: every look at data and network, and the choices."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor.console import Console
from compressor.data.catalog import DataSettings, data_root, load_data
from compressor.data.source import ImageData
from compressor.init.asked import Asked
from compressor.init.forecast import (
    MOST_SCRATCH,
    MOST_TUNE,
    Epochs,
    Forecast,
    choose_epochs,
    forecast,
    seconds_besides,
)
from compressor.init.network import SEED, Network, build, check_runs, choose_side
from compressor.init.preprocessing import Preprocessing, choose_preprocessing
from compressor.init.rates import Rates, choose_rates
from compressor.init.survey import Survey, survey
from compressor.init.trial import (
    Cutting,
    Export,
    Left,
    Speed,
    find_cutting,
    time_steps,
    try_export,
)
from compressor.tasks.classification import Augment

AUGMENT: Augment = "flip"
"""Of photographs; the recipe says when it is wrong."""

SHARES = (0.5, 0.25)
"""What the forecast tells of: 2x and 4x fewer MACs."""

UNKNOWN_SHARE = 0.5
"""Share of the MACs for which tuning is timed where the budget is not one of MACs, or the nearest
that widths allow: nobody asked for it."""


@dataclass(frozen=True)
class Draft:
    """All that a recipe is written from.

    Attributes:
        asked: What was asked for.
        survey: The folder.
        network: The network.
        side: Of the squares, and why it was chosen.
        preprocessing: How pictures are fed.
        data: The settings of the data, and the data.
        rates: How weights move.
        cutting: What can be cut.
        export: The trial export.
        share: Share of the MACs that the slim network of the trial has.
        speed: Of training steps.
        epochs: Of each stage.
        forecast: Seconds.
    """

    asked: Asked
    survey: Survey
    network: Network
    side: tuple[int, str]
    preprocessing: Preprocessing
    data: tuple[DataSettings, ImageData]
    rates: Rates
    cutting: Cutting
    export: Export
    share: float
    speed: Speed
    epochs: Epochs
    forecast: Forecast

    def left(self) -> tuple[Left, ...]:
        """What 2x and 4x fewer MACs leave."""
        return tuple(self.cutting.left(share) for share in SHARES)

    def to_json(self, recipe: Path) -> dict[str, Any]:
        """What was found, chosen and forecast, as JSON."""
        cost, rates = self.cutting.cost, dataclasses.asdict(self.rates)
        return {
            "recipe": str(recipe),
            "classes": self.survey.counts,
            "notices": [
                *self.network.start.notices,
                *self.preprocessing.notices,
                *self.data[1].notices,
            ],
            "new_head": list(self.network.start.new_head),
            "image_size": self.side[0],
            "rates": rates,
            "epochs": dataclasses.asdict(self.epochs),
            "macs": cost.macs({}),
            "params": cost.params({}),
            "left_estimated": [dataclasses.asdict(left) for left in self.left()],
            "onnx": dataclasses.asdict(self.export),
            "seconds_per_image": dataclasses.asdict(self.speed),
            "forecast_seconds": dataclasses.asdict(self.forecast) | {"total": self.forecast.total},
        }


def make_draft(asked: Asked, console: Console) -> Draft:
    """Look at everything, try everything once, and choose.

    Raises:
        CompressorError: Something of the data or the network would end a run.
    """
    found = survey(asked.data)
    classes = len(found.listing.classes)
    console.say(f"init: {found.num_pictures} pictures of {classes} classes in {asked.data}")
    network = build(asked.model, asked.weights, classes)
    for notice in network.start.notices:
        console.warn(notice)
    side = _side(asked, network, found)
    preprocessing = choose_preprocessing(network, found.listing.train, side[0])
    for notice in preprocessing.notices:
        console.warn(notice)
    console.say(f"init: reading the pictures at {side[0]} x {side[0]}")
    settings = _data_settings(asked, side[0], preprocessing)
    data = load_data(settings, data_root(), SEED)
    for notice in data.notices:
        console.warn(notice)
    rates = choose_rates(network, side[0], len(data.train))
    console.say("init: finding what can be cut, and trying to cut it")
    cutting = find_cutting(network.model, data)
    console.say("init: trying the ONNX export")
    export = try_export(network.model, data.image_shape)
    console.say("init: timing training steps of the search, of the dense and of a slim network")
    share = _share(asked, cutting)
    speed = time_steps(network.model, data, cutting, rates, share, AUGMENT)
    rest = seconds_besides(cutting.seconds, export)
    epochs = choose_epochs(
        speed,
        len(data.train),
        60 * asked.minutes - rest,
        most_tune=MOST_TUNE if network.is_trained else MOST_SCRATCH,
        trains_dense=not network.fits,
    )
    return Draft(
        asked=asked,
        survey=found,
        network=network,
        side=side,
        preprocessing=preprocessing,
        data=(settings, data),
        rates=rates,
        cutting=cutting,
        export=export,
        share=share,
        speed=speed,
        epochs=epochs,
        forecast=forecast(speed, len(data.train), epochs, rest),
    )


def _side(asked: Asked, network: Network, found: Survey) -> tuple[int, str]:
    classes = len(found.listing.classes)
    if asked.image_size is not None:
        check_runs(network.model, asked.image_size, classes)
        return asked.image_size, "as asked for by --image-size"
    return choose_side(network, found.shorter_side, classes)


def _data_settings(asked: Asked, side: int, preprocessing: Preprocessing) -> DataSettings:
    return DataSettings(
        source="image-folder",
        path=str(asked.data),
        image_size=side,
        resize=preprocessing.resize,
        broken="leave-out",
        mean=preprocessing.mean,
        std=preprocessing.std,
    )


def _share(asked: Asked, cutting: Cutting) -> float:
    """Share of the MACs that the slim network of the trial has."""
    target = asked.targets[0]
    return target.value if target.key == "keep_macs" else cutting.nearest(UNKNOWN_SHARE)
