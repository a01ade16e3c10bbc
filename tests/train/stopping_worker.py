"""One of several processes that train until a rule stops them, each with an opinion of its own."""

import json
import os
import runpy
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from compressor.train.checkpoint import save_state
from compressor.train.loop import Surroundings

BESIDE = runpy.run_path(str(Path(__file__).with_name("worker.py")))


@dataclass(frozen=True)
class EndsAfter:
    """Ends after an epoch; looks at the masked network as only the first process may."""

    epoch: int

    def figures(self, look):
        return {"masked_accuracy": look.masked_accuracy(2), "rank": int(os.environ["RANK"])}

    def why(self, records):
        return f"after {self.epoch}" if len(records) >= self.epoch else None


def main(order):
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    job = replace(BESIDE["make_job"](norm=True), stop=EndsAfter(order["epochs"][rank]))
    found = BESIDE["result"](job, Surroundings(device="cpu"))
    save_state(Path(order["out"]) / str(rank), found)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
