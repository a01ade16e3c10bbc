import pytest
import torch
from safetensors.torch import save_file

from compressor.errors import StructureError
from compressor.package.pickles import pickles_in
from compressor.structure import Structure
from compressor.train.mask_file import load_masks, save_masks


@pytest.mark.parametrize("granularity", ["weight", "2:4"])
def test_masks_come_back_as_they_were_saved(tmp_path, granularity):
    keep = {"a.weight": torch.rand(4, 8, 3) > 0.5, "b.weight": torch.rand(8, 4).T > 0.5}
    save_masks(tmp_path / "masks.safetensors", Structure(keep, granularity))
    found = load_masks(tmp_path / "masks.safetensors")
    assert found.granularity == granularity
    assert found.keep.keys() == keep.keys()
    assert all(torch.equal(found.keep[name], kept) for name, kept in keep.items())
    assert found.keep["a.weight"].dtype == torch.bool


def test_masks_are_one_byte_a_weight_and_no_pickle(tmp_path):
    path = tmp_path / "masks.safetensors"
    save_masks(path, Structure({"a": torch.ones(1000, 10) > 0}, "weight"))
    assert 10_000 < path.stat().st_size < 10_500
    assert pickles_in(path) == []


@pytest.mark.parametrize("metadata", [None, {}, {"granularity": "rows"}])
def test_a_file_of_another_make_is_refused(tmp_path, metadata):
    path = tmp_path / "masks.safetensors"
    save_file({"a": torch.ones(2) > 0}, path, metadata=metadata)
    with pytest.raises(StructureError, match=r"masks.safetensors: the masks cannot be read"):
        load_masks(path)


def test_a_damaged_file_is_refused_in_one_line(tmp_path):
    path = tmp_path / "masks.safetensors"
    path.write_bytes(b"not masks")
    with pytest.raises(StructureError) as caught:
        load_masks(path)
    assert "\n" not in str(caught.value)
