import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import torch

from pyro_ssl.infer import FitConfig, fit
from tests.infer.problems import blobs, small_m2

CONFIG = FitConfig(epochs=2, batch_size=36, keep_best=False)


def test_rows_of_a_file_train_like_rows_in_memory(tmp_path):
    data = blobs()
    grey = (data.unlabelled_xs * 200).byte()
    np.save(tmp_path / "rows.npy", grey.numpy())
    in_memory, streamed = small_m2(), small_m2()
    fit(in_memory, replace(data, unlabelled_xs=grey.float() / 255), CONFIG)
    fit(streamed, data.with_unlabelled_file(tmp_path / "rows.npy"), CONFIG)
    for ours, theirs in zip(streamed.parameters(), in_memory.parameters(), strict=True):
        assert torch.equal(ours, theirs)


# Trains on a file of 60 MB, read as a whole over an epoch, and prints by how many MB the
# memory grew that is no copy of a file's pages, which the system can take back.
PROGRAM = """
import sys, torch
from pathlib import Path
from pyro_ssl.data import SSLData
from pyro_ssl.infer import FitConfig, fit
from pyro_ssl.models import VAE

def own_megabytes():
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024

def train(data):
    model = VAE((1, 64, 64), hidden_dims=(4,), latent_dim=2)
    fit(model, data, FitConfig(epochs=1, batch_size=500, binarise=False))

data = SSLData.unlabelled(torch.rand(600, 1, 64, 64))
train(data.with_unlabelled_file(sys.argv[2]))
before = own_megabytes()
train(data.with_unlabelled_file(sys.argv[1]))
print(own_megabytes() - before)
"""


def test_memory_stays_bounded_when_the_data_does_not(tmp_path):
    for name, rows in (("large.npy", 15_000), ("small.npy", 1000)):
        np.lib.format.open_memmap(tmp_path / name, "w+", np.uint8, (rows, 1, 64, 64)).flush()
    files = [str(tmp_path / name) for name in ("large.npy", "small.npy")]
    run = [sys.executable, "-c", PROGRAM, *files]
    # What is freed goes back to the system at once, and the figure holds still.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    grown = float(subprocess.run(run, check=True, capture_output=True, text=True, env=env).stdout)
    assert grown < 50
