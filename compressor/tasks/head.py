"""The head of a network: the tensors that follow the number of classes."""

from collections.abc import Collection, Mapping

from torch import Tensor, nn

State = Mapping[str, Tensor]


def followers(model: nn.Module, larger: nn.Module) -> tuple[str, ...]:
    """Tensors of ``model`` that have another shape in ``larger``, built for more classes."""
    others = larger.state_dict()
    return tuple(
        name
        for name, value in model.state_dict().items()
        if name in others and others[name].shape != value.shape
    )


def only_head_differs(wanted: State, given: State, head: Collection[str]) -> bool:
    """Whether ``given`` has ``wanted``'s tensors, of other shapes at the ``head`` alone.

    All of the head must differ, and in the number of classes only, the first axis.
    """
    differing = {n for n in wanted if n in given and given[n].shape != wanted[n].shape}
    return differing == set(head) and all(
        given[name].dim() == wanted[name].dim() and given[name].shape[1:] == wanted[name].shape[1:]
        for name in differing
    )
