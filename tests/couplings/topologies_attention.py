"""Networks with attention: how heads and their entries get coupled."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .topology import DOES_NOT_COME_BACK, Topology

WIDTH, HEADS, ENTRIES = 6, 4, 3


class Tokens(nn.Module):
    """Patches, position embedding, an attention that is added, classifier."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.stem, self.attention = nn.Conv2d(3, WIDTH, 2, stride=2), attention
        self.positions = nn.Parameter(0.1 * torch.randn(1, 16, WIDTH))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2) + self.positions
        x = x + self.attention(self.norm(x))
        return self.head(x.mean(dim=1))


class ClassToken(nn.Module):
    """One more token, which is what the classifier reads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.token = nn.Conv2d(3, WIDTH, 2, 2), nn.Parameter(torch.randn(1, 1, WIDTH))
        self.positions = nn.Parameter(0.1 * torch.randn(1, 17, WIDTH))
        self.attention, self.norm = FusedProjection(), nn.LayerNorm(WIDTH)
        self.wide, self.narrow = nn.Linear(WIDTH, 8), nn.Linear(8, WIDTH)
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.positions
        x = x + self.attention(x)
        x = x + self.narrow(functional.gelu(self.wide(x)))
        return self.head(self.norm(x)[:, 0])


class FusedProjection(nn.Module):
    """Queries, keys and values from one layer, torch's fused attention."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * HEADS * ENTRIES)
        self.project = nn.Linear(HEADS * ENTRIES, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, HEADS, ENTRIES).permute(2, 0, 3, 1, 4)
        x = functional.scaled_dot_product_attention(*qkv.unbind(0))
        return self.project(x.transpose(1, 2).reshape(batch, tokens, HEADS * ENTRIES))


class SeparateProjections(nn.Module):
    """Queries, keys and values from layers of their own; the number of heads is an attribute."""

    def __init__(self) -> None:
        super().__init__()
        inner, self.heads = HEADS * ENTRIES, HEADS
        self.query, self.key = nn.Linear(WIDTH, inner), nn.Linear(WIDTH, inner)
        self.value, self.project = nn.Linear(WIDTH, inner), nn.Linear(inner, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        weights = (query @ key.transpose(-1, -2) * ENTRIES**-0.5).softmax(dim=-1)
        return self.project((weights @ value).transpose(1, 2).flatten(2))


class GroupedQueries(nn.Module):
    """Two heads of keys and values for four of queries."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.project = nn.Linear(WIDTH, 12), nn.Linear(12, WIDTH)
        self.key, self.value = nn.Linear(WIDTH, 6), nn.Linear(WIDTH, 6)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            layer(x).unflatten(-1, (-1, ENTRIES)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        x = functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)
        return self.project(x.transpose(1, 2).flatten(2))


class Einsum(nn.Module):
    """Attention written as einsums over bare parameters."""

    def __init__(self) -> None:
        super().__init__()
        shape = (HEADS, WIDTH, ENTRIES)
        self.query, self.key = nn.Parameter(torch.randn(shape)), nn.Parameter(torch.randn(shape))
        self.value = nn.Parameter(torch.randn(shape))
        self.project = nn.Parameter(torch.randn(HEADS, ENTRIES, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            torch.einsum("bnc,hcd->bhnd", x, weight)
            for weight in (self.query, self.key, self.value)
        )
        weights = (torch.einsum("bhnd,bhmd->bhnm", query, key) / ENTRIES).softmax(dim=-1)
        x = torch.einsum("bhnm,bhmd->bhnd", weights, value)
        return torch.einsum("bhnd,hdc->bnc", x, self.project)


class TorchAttention(nn.Module):
    """Torch's own module; its forward checks the width that it was built with."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(WIDTH, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x, need_weights=False)[0]


class Windows(nn.Module):
    """As in Swin: attention in windows of 2 by 2, shifted by one, with a bias for each offset."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.project = nn.Linear(WIDTH, 36), nn.Linear(12, WIDTH)
        self.offsets = nn.Parameter(torch.randn(9, HEADS))
        places = torch.stack(torch.meshgrid(*2 * [torch.arange(2)], indexing="ij")).flatten(1)
        offset = (places[:, :, None] - places[:, None]) + 1
        self.register_buffer("offset", offset[0] * 3 + offset[1], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, channels = x.shape
        x = x.view(batch, 4, 4, channels).roll((-1, -1), dims=(1, 2))
        x = x.view(batch, 2, 2, 2, 2, channels).transpose(2, 3).reshape(batch * 4, 4, channels)
        qkv = self.qkv(x).reshape(batch * 4, 4, 3, HEADS, ENTRIES).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0] * ENTRIES**-0.5, qkv[1], qkv[2]
        bias = self.offsets[self.offset.flatten()].view(4, 4, HEADS).permute(2, 0, 1)
        weights = (query @ key.transpose(-2, -1) + bias.unsqueeze(0)).softmax(dim=-1)
        x = self.project((weights @ value).transpose(1, 2).reshape(batch * 4, 4, 12))
        x = x.view(batch, 2, 2, 2, 2, channels).transpose(2, 3).reshape(batch, 4, 4, channels)
        return x.roll((1, 1), dims=(1, 2)).reshape(batch, 16, channels)


HEADS_FREE = {"stem": WIDTH, "attention.qkv": HEADS}
ENTRIES_FREE = {"stem": WIDTH, "attention.qkv": ENTRIES}

ATTENTION: dict[str, Topology] = {
    "fused qkv": Topology(lambda: Tokens(FusedProjection()), HEADS_FREE, form="graph"),
    "class token": Topology(ClassToken, {**HEADS_FREE, "wide": 8}, form="graph"),
    "separate q, k, v": Topology(
        lambda: Tokens(SeparateProjections()),
        {"stem": WIDTH, "attention.query": HEADS},
        form="mended",
        second_engine="refuted",
        why="it takes entries of a head for channels of their own",
    ),
    "grouped-query attention": Topology(
        lambda: Tokens(GroupedQueries()), {"stem": WIDTH, "attention.query": 2}
    ),
    "einsum attention": Topology(
        lambda: Tokens(Einsum()),
        {"stem": WIDTH, "attention": HEADS, "attention#2": ENTRIES, "attention#3": ENTRIES},
        cost="upper bound",
        second_engine="no answer",
        why=DOES_NOT_COME_BACK,
    ),
    "nn.MultiheadAttention": Topology(
        lambda: Tokens(TorchAttention()), {"stem": WIDTH, "attention.inner": 3}, form="graph"
    ),
    "shifted windows": Topology(lambda: Tokens(Windows()), HEADS_FREE, form="graph"),
    "fused qkv, entries": Topology(
        lambda: Tokens(FusedProjection()), ENTRIES_FREE, form="graph", heads="dimensions"
    ),
    "separate q, k, v, entries": Topology(
        lambda: Tokens(SeparateProjections()),
        {"stem": WIDTH, "attention.query": ENTRIES, "attention.value": ENTRIES},
        heads="dimensions",
        cost="upper bound",
        second_engine="refuted",
        why="it takes entries of a head for channels of their own",
    ),
    "grouped-query attention, entries": Topology(
        lambda: Tokens(GroupedQueries()),
        {"stem": WIDTH, "attention.query": ENTRIES, "attention.value": ENTRIES},
        form="graph",
        heads="dimensions",
        cost="upper bound",
    ),
    "nn.MultiheadAttention, entries": Topology(
        lambda: Tokens(TorchAttention()),
        {"stem": WIDTH, "attention.inner": 2},
        form="graph",
        heads="dimensions",
    ),
    "shifted windows, entries": Topology(
        lambda: Tokens(Windows()), ENTRIES_FREE, form="graph", heads="dimensions"
    ),
}
