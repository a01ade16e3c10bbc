"""CLAIMS: the one list of claims, each with its condition in words and what decides it."""

from claims_judge import (
    Claim,
    judge_descent,
    judge_early_ticket,
    judge_exploration,
    judge_gates,
    judge_growing,
    judge_longer,
    judge_masked,
    judge_path,
    judge_reliability,
    judge_resume,
    judge_sparse_weights,
    judge_supermask,
    judge_ticket,
    judge_transfer,
)

PATH = (
    "digits, convolutions of 16, 32 and 64 filters without norms, PyTorch's initialisation; "
    "DessiLBI on filters (level unit, twin filter), lambda 1 in absolute units, that is lam "
    "sqrt(3) in mean initial norms, nu 5; SGD at .05, momentum .9, batches of 64, 40 epochs"
)
SIGNALS = (
    "MNIST-1D, 8000 and 2000 signals, perceptron 40-256-256-10; SGD with momentum .9 and weight "
    "decay 5e-4 along a cosine from .1, batches of 64, 60 epochs"
)
ITOP = "random growth (SET), Erdos-Renyi densities, half of the kept dropped at first, to the end"

CLAIMS = {
    claim.name: claim
    for claim in (
        Claim(
            "E1",
            "DessiLBI's path goes from simple to complex, and filters stay once they are in",
            PATH,
            "every seed: no filter in after the first epoch, exits at most 2 % of entries, "
            "Spearman of epoch and support at least .99, in the end at least 60 % of the filters",
            "path",
            judge_path,
        ),
        Claim(
            "E2",
            "along the path the weights inside the support become as accurate as all weights",
            PATH,
            "mean final gap of the accuracies of W* and W at most .5 points; before any filter is "
            "in, W* is near chance (at most 20 %)",
            "path",
            judge_sparse_weights,
        ),
        Claim(
            "E3",
            "a ticket of an early stop, rewound and trained alone, is as accurate as the dense "
            "network",
            f"{PATH}; stopped after an epoch, rewound, stripped, trained as the dense network was",
            "stopped at 40 to 60 % of the filters; mean ticket at least mean dense - 1.0 points",
            "tickets",
            judge_ticket,
        ),
        Claim(
            "E3b",
            "at a fifth of the filters the ticket is better than random filters",
            "as E3, stopped at a fifth of the filters; as many random filters of each layer",
            "mean of ticket - random at least 2 points",
            "tickets",
            judge_early_ticket,
            gates=False,
        ),
        Claim(
            "E3c",
            "a ticket trained at full width under masks, as published, is as accurate as stripped",
            "the tickets of E3, rewound; the full network trained with what they leave out held at "
            "zero: the filters, as published, whose biases go on training, or their biases too",
            "mean of masked - stripped within 1 point or two standard errors (at most 1.5 points) "
            "of zero, in both ways; means of all three at least mean dense - 1.0 points",
            "tickets",
            judge_masked,
        ),
        Claim(
            "E4",
            "DessiLBI's augmented loss falls at every step",
            "256 digits at once, tanh perceptron with 32 hidden units in float64, SGD without "
            "momentum, 4000 steps; lambda 1, nu 1 and alpha .05, nu 5 and alpha .1",
            "every step rises by at most 1e-12; squared moves of the last quarter of the steps "
            "below those of the first",
            "descent",
            judge_descent,
        ),
        Claim(
            "E5",
            "OptG is better than magnitude at extreme sparsity",
            f"{SIGNALS}; one ranking over all weights, OptG with beta .5, magnitude on the cubic "
            "schedule and in one shot at the end",
            "at sparsity .9, .95 and .98 mean OptG at least the best magnitude + 2 points",
            "supermask",
            judge_supermask,
        ),
        Claim(
            "E6",
            "accuracy rises with the share of weights explored, at fixed density",
            f"{SIGNALS}; {ITOP}",
            "at density .1 and .05 mean accuracy rises strictly over updates never, every 2500 and "
            "every 500 steps, by at least 2 points in all",
            "exploration",
            judge_exploration,
        ),
        Claim(
            "E6b",
            "exploration has to be reliable: updates in haste do not help",
            f"{SIGNALS}; {ITOP}; updates every 20 and every 100 steps beside those of E6",
            "at density .1 and .05 updates every 20 steps explore most, and are at most 1 point "
            "better than the best of the others",
            "exploration",
            judge_reliability,
        ),
        Claim(
            "E6c",
            "longer training explores more, and is no less accurate",
            f"{SIGNALS}; {ITOP}; 60 and 180 epochs",
            "updates every 500 steps: 3 times the epochs explore more, mean accuracy at least that "
            "of 1 time - .5 points",
            "exploration",
            judge_longer,
        ),
        Claim(
            "E7",
            "SGD alone makes gates exactly zero",
            "digits and network as in E1; independent gates on filters, quasi-norm with p = 1/2, "
            "lambda .01, which the product counts per gate; control: a scale on every channel and "
            "plain L1",
            "every seed has at least 10 % of the gates at 0.0; mean accuracy at least dense - 1 "
            "point; plain L1 and SGD give no zero",
            "gates",
            judge_gates,
        ),
        Claim(
            "E8",
            "a network grown from 4 filters a layer is as accurate as a fixed one, with fewer MACs",
            "digits, 4 filters in each of three layers at first; rounds of 10 epochs with the "
            "product's own nu and lambda; layers with 80 % of their filters in get 2 more, or a "
            "tenth, at most 16, 32, 64; what is new is split off what is there, so that the output "
            "stays as it is; then 40 epochs; fixed: 16, 32, 64, as many epochs in all",
            "every seed ends, with at most the MACs of the fixed network and fewer summed over the "
            "training (the first by construction, as the fixed network is the widest that can "
            "come out: accuracy decides); mean accuracy at least fixed - 1.5 points",
            "grow",
            judge_growing,
        ),
        Claim(
            "E9",
            "a structure found on one task serves another",
            "as E3, with half of the digits and batches of 32; all are trained on 5 to 9 with a "
            "new head",
            "found on digits 0 to 4, trained on 5 to 9, from the same and from a fresh "
            "initialisation: mean at least dense - 1.5 points",
            "transfer",
            judge_transfer,
        ),
        Claim(
            "E11",
            "a run that is resumed is the run that never stopped",
            "every method of the catalog at every level but network-slimming, which needs norms; "
            "digits, convolutions of 4, 6 filters, 5 epochs of 4 steps, stopped inside the third",
            "20 steps, and 10 steps, a checkpoint and 10 steps, are equal to the last bit: "
            "weights, state of the method, structure, random numbers",
            "resume",
            judge_resume,
        ),
    )
}
