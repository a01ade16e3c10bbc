import numpy as np
import torch

from compressor.export.per_class import Noting, count_classes

LABELS = np.array([0, 0, 0, 0, 2, 2])
DENSE = np.array([0, 0, 0, 1, 2, 0])
SLIM = np.array([0, 0, 2, 0, 1, 2])


def test_each_class_counts_its_own_images_and_who_got_them_right():
    cat, dog, hen = count_classes(("cat", "dog", "hen"), LABELS, DENSE, SLIM)

    assert cat == {"name": "cat", "images": 4, "dense_right": 3, "slim_right": 3, "both_right": 2}
    assert hen == {"name": "hen", "images": 2, "dense_right": 1, "slim_right": 1, "both_right": 0}
    assert dog == {"name": "dog", "images": 0, "dense_right": 0, "slim_right": 0, "both_right": 0}


def test_a_guess_of_another_class_counts_for_neither():
    rows = count_classes(("a", "b", "c"), LABELS, np.full(6, 1), np.full(6, 1))

    assert sum(row["dense_right"] + row["slim_right"] for row in rows) == 0


def test_guesses_stand_in_the_order_of_the_images_and_the_logits_pass_through():
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    noting = Noting(lambda inputs: inputs)

    assert torch.equal(noting(logits[:2]), logits[:2])
    noting(logits[2:])

    assert noting.guesses().tolist() == [1, 0, 2]
