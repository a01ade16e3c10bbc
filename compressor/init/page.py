"""A draft as the text of a recipe, every choice explained."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

from compressor.init.draft import AUGMENT, Draft
from compressor.init.expected import forecast_lines
from compressor.init.rates import SGD_LR_OF, rate_part
from compressor.init.toml_text import Choice, Section, Value, as_toml
from compressor.report.formats import milliseconds, size
from compressor.strip.settings import StripSettings

TRAINED_LAM = 1.0
LAM = (
    "How much larger than usual a filter must grow to enter without gradients. Under 1 nearly all "
    "filters of a trained network enter by size alone; at 2 few enter and most are only ranked, "
    "which was better at a quarter of the MACs and no better at half (docs/given-photos.md)."
)

STATISTICS = (
    "The certificate compares masked and stripped with norms drawn at random: after a short search "
    "the masked network, its norms not yet estimated anew, may answer the same to every picture."
)

UNEVEN = 3.0
"""From so many times as many pictures in one class as in another on, it is worth a line."""


def recipe_text(draft: Draft) -> str:
    """The recipe as commented TOML."""
    sections = (
        _head(draft), _model(draft), _data(draft), _task(), _sparsity(draft),
        _train(draft), _strip(draft), _ticket(draft), _tune(draft), _dense(draft), _target(draft),
    )  # fmt: skip
    return as_toml(tuple(section for section in sections if section is not None))


def _head(draft: Draft) -> Section:
    asked = draft.asked
    weights = ("--weights", str(asked.weights)) if asked.weights else ()
    words = ["compressor", "init", "--model", asked.model, *weights, "--data", str(asked.data)]
    found = "\n".join(forecast_lines(draft))
    why = (
        f"Written by: {shlex.join(words)} ...\n"
        "Run it with `compressor run THIS_FILE --out runs/NAME`, where this was called, or give "
        "the paths below in full. Every value may be changed; `compressor show THIS_FILE` prints "
        f"those that are not written here.\n\n{found}\n"
    )
    name = Choice("name", _name(draft), "Of folders and reports.")
    return Section("", why, (name,))


def _name(draft: Draft) -> str:
    network = Path(draft.asked.model.rpartition(":")[2]).name
    text = f"{network}-{draft.asked.data.resolve().name}".lower()
    return re.sub(r"[^a-z0-9._-]+", "-", text).strip("-._") or "mine"


def _model(draft: Draft) -> Section:
    network, cutting = draft.network, draft.cutting
    free, frozen = len(cutting.couplings.free), len(cutting.couplings.frozen)
    whole = f"{frozen} {'coupling is' if frozen == 1 else 'couplings are'}"
    choices = [
        Choice("factory", draft.asked.model, "The number of classes is filled in from the data.")
    ]
    if network.settings.weights is not None:
        told = " ".join(network.start.notices)
        fits = "They are the dense network and the teacher; their accuracy is measured first."
        new = "So the dense network is trained from them too, and as given it is not measured."
        choices.append(
            Choice("weights", network.settings.weights, f"{told} {fits if network.fits else new}")
        )
    why = (
        f"The network. {cutting.couplings.num_units} units in {free} couplings can be removed, "
        f"{whole} kept whole; `compressor inspect {draft.asked.model}` lists them."
    )
    return Section("model", why, tuple(choices))


def _data(draft: Draft) -> Section:
    (settings, data), found = draft.data, draft.survey
    side, why_side = draft.side
    choices = [
        Choice("source", "image-folder", "Labels are the names of the folders, sorted."),
        Choice("path", str(draft.asked.data), "May be relative to where the command is called."),
        Choice("image_size", side, f"In pixels: {why_side}."),
        Choice(
            "resize", settings.resize,
            f"`stretch` keeps all of a picture, `crop` its proportions; {found.shapes} of "
            f"{found.sampled} pictures that were looked at are not square.",
        ),
        Choice("broken", settings.broken, _broken(data.notices)),
    ]  # fmt: skip
    why_norm = f"What inputs are normalised with: {draft.preprocessing.why}."
    also = ["`validation_share` (0.1) of the training pictures is held out to choose by."]
    if settings.mean is not None and settings.std is not None:
        choices += [
            Choice("mean", _plain(settings.mean), why_norm),
            Choice("std", _plain(settings.std), "Along with it."),
        ]
    else:
        also.append(f"Without `mean` and `std` those of the training pictures are used. {why_norm}")
    if draft.network.fits:
        also.append(
            "If the network numbers its classes otherwise than by sorted names, write them in its "
            'order: classes = ["first", "second"].'
        )
    counts = ", ".join(f"{name} {number}" for name, number in found.counts.items())
    uneven = "" if found.uneven < UNEVEN else (
        f" The largest class has {found.uneven:.1f} times the pictures of the smallest: accuracy "
        "is the share of all pictures, so look at the classes one by one."
    )  # fmt: skip
    test = found.listing.test_folder
    whose = "A fifth of each class is" if test is None else f"Those of the folder {test} are"
    why = f"{found.num_pictures} pictures: {counts}. {whose} the test set.{uneven}"
    return Section("data", why, tuple(choices), tuple(also))


def _broken(notices: tuple[str, ...]) -> str:
    told = " ".join(notices) or "All files can be read."
    return f'Files that cannot be read are named and left out; "refuse" would end the run. {told}'


def _plain(numbers: tuple[float, ...]) -> Value:
    return tuple(round(number, 6) for number in numbers)


def _task() -> Section:
    why = (
        "Mirror images, which suit photographs. Write none where left and right differ (letters, "
        "digits, signs), flip-shift for more variety."
    )
    return Section("task", "How training pictures are shown.", (Choice("augment", AUGMENT, why),))


def _sparsity(draft: Draft) -> Section:
    why = (
        "DessiLBI: the order in which units enter ranks them, so that any other size is a slice of "
        "the same search. `compressor list methods` has others."
    )
    choices = [Choice("method", "dessilbi", why)]
    if draft.network.is_trained:
        choices.append(Choice("lam", TRAINED_LAM, LAM))
    return Section("sparsity", "The method of the search.", tuple(choices))


def _training(draft: Draft, lr: float, why_lr: str) -> tuple[Choice, ...]:
    """What is the same in every stage of training, but for its rate."""
    rates = draft.rates
    return (
        Choice("batch_size", rates.batch_size, ""),
        Choice("optimizer", rates.optimizer, ""),
        Choice("weight_decay", rates.weight_decay, ""),
        Choice("lr", lr, why_lr),
    )


def _explained(draft: Draft, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    """The same where it is seen first, with the reasons."""
    rates, num_train = draft.rates, len(draft.data[1].train)
    little = "Little, for weights that are trained already."
    whys = {
        "batch_size": f"{num_train // rates.batch_size} steps an epoch of {num_train} training "
        f"pictures; a step takes about {size(rates.memory)} of memory (an estimate).",
        "optimizer": "sgd for networks with batch norm, adamw for others.",
        "weight_decay": little if draft.network.is_trained else "The usual one.",
    }
    return tuple(replace(choice, why=whys.get(choice.key, choice.why)) for choice in choices)


def _train(draft: Draft) -> Section:
    rates, network = draft.rates, draft.network
    per = f"; {SGD_LR_OF} images a step would take {1 / rate_part(rates.batch_size):.3g} times it"
    why_lr = (
        "A rate for fine-tuning, a tenth of that from scratch: trained weights move and are not "
        "lost"
        if network.is_trained
        else "The usual rate from scratch"
    ) + (per if rates.optimizer == "sgd" and rates.batch_size != SGD_LR_OF else "")
    epochs = Choice(
        "epochs", draft.epochs.search,
        "As fit into the time (--minutes), a third of those of tuning. More make a finer path.",
    )  # fmt: skip
    schedule = Choice("schedule", "constant", "A falling rate would stop the clock of the path.")
    why = "The search, from the given weights." if network.is_trained else "The search."
    return Section(
        "train",
        why,
        (epochs, *_explained(draft, _training(draft, rates.search, f"{why_lr}.")), schedule),
    )


def _strip(draft: Draft) -> Section:
    target, *others = draft.asked.targets
    told = {
        "keep_macs": "Share of the multiply-accumulates that stays.",
        "keep_params": "Share of the parameters that stays.",
        "keep_latency": "Share of the dense network's time on the target that stays.",
        "latency_ms": "Milliseconds a batch may take on the target, one picture on one thread.",
    }[target.key]
    if target.key == "latency_ms":
        told += f" The dense network takes {milliseconds(draft.export.dense_ms)} in ONNX Runtime."
    also = tuple(
        "The other size that was asked for is a slice of the same search: "
        f"compressor slice RUN {other.option} --tune {draft.epochs.tune}"
        for other in others
    )
    usual = StripSettings()
    choices = (
        Choice(target.key, target.value, told),
        Choice("round_to", "auto", "Widths are multiples of what the engine handles at once."),
        Choice("floor_share", usual.floor_share, "No coupling keeps less than this share."),
        Choice("statistics", "random", STATISTICS),
    )
    return Section("strip", "What the slim network may cost.", choices, also)


def _ticket(draft: Draft) -> Section | None:
    if not draft.network.is_trained:
        return None
    weights, whose = (
        ("dense", "the dense network") if draft.epochs.dense else ("rewind", "the given network")
    )
    why = (
        f"`{weights}` takes the units from the search and the weights of {whose}: few epochs of "
        "search cost a trained network more than they bring. `keep` takes the search's weights."
    )
    choice = Choice("weights", weights, why)
    return Section("ticket", "Which weights the slim network is tuned from.", (choice,))


def _tune(draft: Draft) -> Section:
    share = draft.asked.targets[0]
    known = share.key == "keep_macs"
    timed = f"{draft.share:.3g}" + ("" if known else " (a guess, for this budget)")
    choices = (
        Choice("epochs", draft.epochs.tune, f"As fit into the time; timed at {timed} of the MACs."),
        *_training(draft, draft.rates.tune, _against_search(draft)),
        Choice("schedule", "cosine", "The rate falls to zero."),
        Choice("warmup_epochs", 0.5, "A cut network starts gently."),
        Choice("teacher_weight", 0.5, "Half of the loss is the answer of the dense network."),
    )
    return Section("tune", "Fine-tuning of the slim network, taught by the dense one.", choices)


def _against_search(draft: Draft) -> str:
    times = draft.rates.tune / draft.rates.search
    return "That of the search." if times == 1 else f"{times:.3g} times that of the search."


def _dense(draft: Draft) -> Section | None:
    if not draft.epochs.dense:
        return None
    from_what = "from the given weights, its new head with it" if draft.network.is_trained else ""
    choices = (
        Choice("epochs", draft.epochs.dense, "As many as search and tuning have together."),
        *_training(draft, draft.rates.dense, "As in the search."),
        Choice("schedule", "cosine", "The rate falls to zero."),
        Choice("warmup_epochs", 0.5, "A new head has large gradients at first."),
    )
    why = f"The dense reference and teacher, trained without sparsity {from_what}".strip()
    return Section("dense", f"{why}.", choices)


def _target(draft: Draft) -> Section:
    engines = [target.engine for target in draft.asked.targets if target.engine is not None]
    engine = engines[0] if engines else "onnxruntime"
    why = "As asked for by --target." if engines else "On a CPU; `compressor list engines`."
    choice = Choice("engine", engine, why)
    return Section("target", "What widths are rounded and timed for.", (choice,))
