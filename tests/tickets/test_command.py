"""``compressor ticket``."""

import json

from click.testing import CliRunner

from compressor.cli import main
from compressor.tickets.file import read_ticket


def ticket(*arguments):
    return CliRunner().invoke(main, ["ticket", *map(str, arguments)])


def test_the_ticket_lies_in_the_run_unless_a_place_is_given(stripped_copy, tmp_path):
    done = ticket(stripped_copy)
    assert (done.exit_code, done.output) == (0, f"{stripped_copy / 'ticket.safetensors'}\n")
    done = ticket(stripped_copy, "--out", tmp_path / "deep/other.safetensors", "--json")
    said = json.loads(done.output)
    read = read_ticket(tmp_path / "deep/other.safetensors")
    assert said["kept"] == read.structure.num_kept < said["units"]
    assert said["bytes"] == (tmp_path / "deep/other.safetensors").stat().st_size
    assert (said["method"], said["masks"]) == ("dessilbi", None)


def test_what_is_no_run_is_one_line_and_a_status(tmp_path):
    done = ticket(tmp_path)
    assert done.exit_code == 1
    assert done.stderr == (
        f"{tmp_path} is not a run directory. Name one that `compressor run` made.\n"
    )
