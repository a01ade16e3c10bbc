import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressor.data.source import ImageData, Split
from compressor.tasks import classification
from compressor.tasks.classification import Classification, TaskSettings, flip, shift
from compressor.train.order import generator_for


def split(num_images, classes=3, seed=0):
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 255, (num_images, 2, 16, 8)).astype(np.uint8)
    return Split(images, (np.arange(num_images) % classes).astype(np.int64))


@pytest.fixture
def data():
    names = ("a", "b", "c")
    return ImageData(
        "t", split(30), split(7, seed=1), split(9, seed=2), names, (0.5, 0.2), (0.25, 0.5)
    )


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(data, places=(0, 4, 2), seed=0, **settings):
    return Classification(data, TaskSettings(**settings)).batch(
        torch.tensor(places), generator(seed)
    )


# --- images ---


def test_images_are_normalised_by_channel(data):
    found = batch(data)
    pixels = torch.from_numpy(data.train.images[[0, 4, 2]]).double() / 255
    assert torch.allclose(found.inputs[:, 0].double(), (pixels[:, 0] - 0.5) / 0.25, atol=1e-6)
    assert torch.allclose(found.inputs[:, 1].double(), (pixels[:, 1] - 0.2) / 0.5, atol=1e-6)
    assert found.inputs.dtype == torch.float32


def test_labels_and_places_belong_to_the_images(data):
    found = batch(data)
    assert found.targets.tolist() == [0, 1, 2]
    assert found.places.tolist() == [0, 4, 2]


def test_the_data_is_not_changed(data):
    before = data.train.images.copy()
    batch(data, augment="flip-shift").inputs.zero_()
    assert (data.train.images == before).all()


def test_the_example_is_the_first_validation_images(data):
    task = Classification(data, TaskSettings(augment="flip-shift"))
    assert task.example(2).shape == (2, 2, 16, 8)
    pixel = data.validation.images[1, 0, 3, 4] / 255
    assert task.example(2)[1, 0, 3, 4].item() == pytest.approx((pixel - 0.5) / 0.25, abs=1e-6)
    assert len(task.example(100)) == 7


# --- augmentation ---


def test_without_augmentation_the_generator_is_not_asked(data):
    assert torch.equal(batch(data, seed=0).inputs, batch(data, seed=1).inputs)
    assert not Classification(data, TaskSettings()).augmented


@pytest.mark.parametrize("augment", ["flip", "flip-shift"])
def test_the_generator_decides_the_augmentation(data, augment):
    places = list(range(30))
    first, again, other = (batch(data, places, seed, augment=augment).inputs for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert Classification(data, TaskSettings(augment=augment)).augmented


def test_each_image_is_whole_or_mirrored_about_half_the_time():
    images = torch.arange(400.0 * 6).view(400, 1, 2, 3)
    found = flip(images, generator())
    mirrored = (found == images.flip(-1)).flatten(1).all(dim=1)
    kept = (found == images).flatten(1).all(dim=1)
    assert (mirrored ^ kept).all()
    assert 150 < mirrored.sum() < 250


@given(seed=st.integers(0, 50), pixels=st.integers(0, 3))
def test_a_shifted_image_is_read_at_clamped_places(seed, pixels):
    images = torch.arange(2.0 * 2 * 5 * 4).view(2, 2, 5, 4)
    found = shift(images, pixels, generator(seed))
    moves = torch.randint(0, 2 * pixels + 1, (2, 2, 1), generator=generator(seed)) - pixels
    for image in range(2):
        rows = (torch.arange(5) + moves[0, image]).clamp(0, 4)
        columns = (torch.arange(4) + moves[1, image]).clamp(0, 3)
        assert torch.equal(found[image], images[image][:, rows][:, :, columns])


def test_shifts_reach_their_bounds_in_all_directions():
    image = torch.zeros(300, 1, 5, 5)
    image[:, :, 2, 2] = 1
    found = shift(image, 2, generator())
    assert (found.sum(dim=(0, 1)) > 0).all()
    assert found.sum(dim=(1, 2, 3)).min() >= 1


def test_flip_shift_moves_by_an_eighth_of_the_height(data):
    places = [3] * 200
    found = batch(data, places, augment="flip-shift").inputs
    plain = batch(data, [3]).inputs[0]
    rows = {
        int(offset)
        for image in found
        for offset in range(-4, 5)
        if torch.equal(image[:, 4:12, 2:6], plain[:, 4 + offset : 12 + offset, 2:6])
    }
    assert rows == {-2, -1, 0, 1, 2}


# --- loss and accuracy ---


def test_the_loss_is_the_mean_negative_log_likelihood(data):
    task, found = Classification(data, TaskSettings()), batch(data)
    logits = torch.randn(3, 3, generator=generator())
    expected = -logits.log_softmax(dim=1)[range(3), found.targets].mean()
    assert torch.allclose(task.loss(logits, found), expected)


def test_label_smoothing_spreads_a_share_over_all_classes(data):
    task, found = Classification(data, TaskSettings(label_smoothing=0.3)), batch(data)
    logits = torch.randn(3, 3, generator=generator())
    targets = torch.full((3, 3), 0.1)
    targets[range(3), found.targets] += 0.7
    expected = -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
    assert torch.allclose(task.loss(logits, found), expected)


def test_outputs_of_half_precision_are_compared_in_float32(data):
    task, found = Classification(data, TaskSettings()), batch(data)
    assert task.loss(torch.zeros(3, 3, dtype=torch.bfloat16), found).dtype == torch.float32
    assert task.loss(torch.zeros(3, 3), found).item() == pytest.approx(math.log(3))


@pytest.mark.parametrize("held", ["validation", "test"])
@pytest.mark.parametrize("at_once", [1, 4, 500])
def test_accuracy_is_the_share_counted_one_by_one(data, held, at_once, monkeypatch):
    monkeypatch.setattr(classification, "EVALUATION_BATCH", at_once)
    task = Classification(data, TaskSettings())

    def predict(inputs):
        return inputs.flatten(1)[:, [0, 70, 140]]

    images = getattr(data, held)
    right = 0
    for pixels, label in zip(images.images, images.labels, strict=True):
        scaled = torch.from_numpy(pixels).float() / 255
        normal = (scaled - torch.tensor([[[0.5]], [[0.2]]])) / torch.tensor([[[0.25]], [[0.5]]])
        right += int(predict(normal.unsqueeze(0)).argmax()) == label
    assert 0 < right < len(images)
    assert task.accuracy(predict, held) == right / len(images)


def test_training_images_do_not_decide_the_accuracy(data):
    seen = []

    def predict(inputs):
        seen.append(len(inputs))
        return torch.zeros(len(inputs), 3)

    task = Classification(data, TaskSettings(augment="flip-shift"))
    assert task.accuracy(predict, "validation") == 3 / 7
    assert task.accuracy(predict, "test") == 3 / 9
    assert seen == [7, 9]


def test_a_batch_of_the_loop_can_be_made_again(data):
    task = Classification(data, TaskSettings(augment="flip-shift"))
    places = torch.arange(6)
    first, again = (task.batch(places, generator_for(0, "batch", 3, 1)).inputs for _ in range(2))
    assert torch.equal(first, again)
