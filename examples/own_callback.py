"""Your own callbacks: one records every step, the other stops the run at a good accuracy."""

import torch
from sklearn.datasets import load_digits

from pyro_ssl.data import SSLData
from pyro_ssl.infer import FitConfig, fit
from pyro_ssl.models import M2


def stop_when_good(progress):
    if progress.rows[-1]["validation_accuracy"] > 0.8:
        progress.stop()


def main(epochs=100):
    digits, steps = load_digits(), []
    xs, ys = torch.tensor(digits.images).float() / 16, torch.tensor(digits.target)
    data = SSLData(xs[:200], ys[:200], xs[200:1500], 10, xs[1500:], ys[1500:])
    model = M2((8, 8), 10, latent_dim=5, hidden_dims=(64,), alpha=10.0, input_dropout=0.0)

    def count(progress):
        steps.append(progress.step)

    config = FitConfig(epochs=epochs, batch_size=100)
    return fit(model, data, config, on_epoch=stop_when_good, on_step=count), steps


if __name__ == "__main__":
    print(main()[0].termination)
