"""Networks that split, shuffle, gate and mix channels, and those with inputs of other kinds."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .topology import DOES_NOT_COME_BACK, HEAD, OUTPUT, Between, Topology, Unit, pooled


def shuffled(groups: int) -> Callable[[Tensor], Tensor]:
    """A channel shuffle, whose reshape holds the number of channels."""

    def shuffle(x: Tensor) -> Tensor:
        split = x.view(len(x), groups, 8 // groups, 8, 8)
        return split.transpose(1, 2).reshape(len(x), 8, 8, 8)

    return shuffle


def swapped(x: Tensor) -> Tensor:
    """Three parts in another order."""
    first, second, third = x.split([2, 3, 1], dim=1)
    return torch.cat([third, first, second], dim=1)


def gated(x: Tensor) -> Tensor:
    value, gate = x.chunk(2, dim=1)
    return value * torch.sigmoid(gate)


class TwoParts(nn.Module):
    """Parts that go different ways: ``split`` says how the channels are parted."""

    def __init__(self, split: Callable[[Tensor], Sequence[Tensor]], left: int, right: int) -> None:
        super().__init__()
        self.split = split
        self.stem, self.left, self.right = Unit(3, 8), Unit(left, 5), Unit(right, 5)
        self.head = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.split(self.stem(x))
        return self.head(pooled(torch.cat([self.left(left), self.right(right)], dim=1)))


class SplitAttention(nn.Module):
    """As in ResNeSt: two branches of one grouped convolution, weighed against each other."""

    def __init__(self) -> None:
        super().__init__()
        self.radix = nn.Conv2d(6, 12, 3, padding=1, groups=2)
        self.squeeze, self.excite = nn.Conv2d(6, 4, 1), nn.Conv2d(4, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.radix(x)
        branches = x.view(len(x), 2, x.shape[1] // 2, *x.shape[2:])
        gap = branches.sum(dim=1).mean(dim=(2, 3), keepdim=True)
        logits = self.excite(functional.relu(self.squeeze(gap)))
        weights = logits.view(len(x), 2, -1, 1, 1).softmax(dim=1)
        return (branches * weights).sum(dim=1)


class Mixer(nn.Module):
    """A perceptron over tokens, then one over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 4, stride=4)
        self.token_in, self.token_out = nn.Linear(4, 5), nn.Linear(5, 4)
        self.channel_in, self.channel_out = nn.Linear(6, 7), nn.Linear(7, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2)
        x = x + self.token_out(functional.gelu(self.token_in(x)))
        x = x.transpose(1, 2)
        x = x + self.channel_out(functional.gelu(self.channel_in(x)))
        return self.head(x.mean(dim=1))


class ChannelsGone(nn.Module):
    """What reads the channels is no layer, and takes all of them together."""

    def __init__(self, reads: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.reads = reads
        self.stem, self.head = Unit(3, 6), nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.reads(self.stem(x)).flatten(1))


class TwoInputs(nn.Module):
    """Two images, each with layers of its own, added."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = Unit(3, 6), Unit(2, 6), nn.Linear(6, 4)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head(pooled(self.left(left) + self.right(right)))


class Named(nn.Module):
    """A dict in and a dict out; one of the outputs is a feature map."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = Unit(3, 6), Unit(2, 6)
        self.deep, self.head = Unit(6, 5), nn.Linear(6, 4)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        x = self.left(inputs["left"]) * self.right(inputs["right"])
        return {"map": self.deep(x), "logits": self.head(pooled(x))}


class Words(nn.Module):
    """Embeddings of whole numbers, tied to the layer that gives the scores of all words."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.hidden = nn.Embedding(9, 6), nn.Linear(6, 5)
        self.back, self.head = nn.Linear(5, 6), nn.Linear(6, 9, bias=False)
        self.head.weight = self.words.weight

    def forward(self, numbers: Tensor) -> Tensor:
        x = self.words(numbers)
        return self.head(x + self.back(functional.relu(self.hidden(x))))


def as_words(images: Tensor) -> tuple[Tensor, ...]:
    return ((images.abs() * 10).long() % 9,)


MOVEMENT: dict[str, Topology] = {
    "shuffle 2": Topology(
        lambda: Between(shuffled(2), 8),
        {"stem.0": 4, "body.0": 5},
        form="graph",
        second_engine="refuted",
        why="it does not follow channels through a transposition",
    ),
    "shuffle module": Topology(
        lambda: Between(nn.ChannelShuffle(2), 8),
        {"stem.0": 4, "body.0": 5},
        second_engine="refuted",
        why="it takes the shuffle for an operator on each channel by itself",
    ),
    "parts in another order": Topology(
        lambda: Between(swapped, 6),
        {"stem.0": 5, "body.0": 5},
        {"stem.0#2": "the only one", **HEAD},
        form="graph",
    ),
    "gated": Topology(lambda: Between(gated, 8, 4), {"stem.0": 4, "body.0": 5}),
    "glu": Topology(lambda: Between(nn.GLU(dim=1), 8, 4), {"stem.0": 4, "body.0": 5}),
    "halves apart": Topology(
        lambda: TwoParts(lambda x: x.chunk(2, dim=1), 4, 4),
        {"stem.0": 4, "left.0": 5, "right.0": 5},
    ),
    "slices apart": Topology(
        lambda: TwoParts(lambda x: (x[:, :3], x[:, 3:]), 3, 5),
        {"stem.0": 3, "stem.0#2": 5, "left.0": 5, "right.0": 5},
        form="graph",
    ),
    "pixel shuffle": Topology(
        lambda: Between(nn.PixelShuffle(2), 24, 6), {"stem.0": 6, "body.0": 5}
    ),
    "split attention": Topology(
        lambda: Between(SplitAttention(), 6, 6),
        {"stem.0": 3, "between.radix": 6, "between.squeeze": 4, "body.0": 5},
    ),
    "token mixer": Topology(
        Mixer,
        {"stem": 6, "token_in": 5, "channel_in": 7},
        {"token_out": "keep their width", **HEAD},
        cost="upper bound",
    ),
    "mean over channels": Topology(
        lambda: ChannelsGone(lambda x: x.mean(dim=1)), {}, {"stem.0": "runs over them", **HEAD}
    ),
    "sum over channels": Topology(
        lambda: ChannelsGone(lambda x: x.sum(dim=1)),
        {"stem.0": 6},
        second_engine="refuted",
        why="it takes the inputs of the classifier for channels of the stem",
    ),
    "one channel read": Topology(
        lambda: Between(lambda x: x * x[:, 2:3]),
        {"stem.0": 5, "body.0": 5},
        {"stem.0#2": "the only one", **HEAD},
        form="graph",
        second_engine="no answer",
        why=DOES_NOT_COME_BACK,
    ),
    "softmax over channels": Topology(
        lambda: Between(nn.Softmax(dim=1)), {"body.0": 5}, {"stem.0": "runs over them", **HEAD}
    ),
    "perceptron": Topology(
        lambda: nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 7),
            nn.BatchNorm1d(7),
            nn.ReLU(),
            nn.Linear(7, 6),
            nn.Dropout(),
            nn.Tanh(),
            nn.Linear(6, 3),
        ),
        {"1": 7, "4": 6},
        {"7": OUTPUT},
        (1, 8, 8),
    ),
    "two inputs": Topology(
        TwoInputs,
        {"left.0": 6},
        shape=(5, 8, 8),
        arguments=lambda x: (x[:, :3], x[:, 3:]),
        second_engine="no answer",
        why="takes one tensor, the network 2 inputs",
    ),
    "dict in and out": Topology(
        Named,
        {"left.0": 6},
        {"deep.0": OUTPUT, **HEAD},
        shape=(5, 8, 8),
        arguments=lambda x: ({"left": x[:, :3], "right": x[:, 3:]},),
        second_engine="no answer",
        why="takes one tensor",
    ),
    "tied words": Topology(
        Words,
        {"words#2": 6, "hidden": 5},
        {"words": "computes"},
        shape=(7,),
        arguments=as_words,
    ),
}
