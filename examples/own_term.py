"""Your own term: a factor of the guide that is reported, annealed and scaled by its name."""

import torch
from sklearn.datasets import load_digits

from pyro_ssl.data import SSLData
from pyro_ssl.infer import Anneal, FitConfig, fit
from pyro_ssl.models import M2
from pyro_ssl.models.terms import add_term


class ConfidentM2(M2):
    def _label_in_guide(self, rows, scores):
        if rows.ys is None:
            log_q = scores.log_softmax(-1)
            add_term("entropy", -(log_q.exp() * log_q).sum(-1), weight=2.0)
        return super()._label_in_guide(rows, scores)


def main(epochs=20):
    digits = load_digits()
    xs, ys = torch.tensor(digits.images).float() / 16, torch.tensor(digits.target)
    data = SSLData(xs[:100], ys[:100], xs[100:1500], 10, xs[1500:], ys[1500:])
    model = ConfidentM2((8, 8), 10, latent_dim=5, hidden_dims=(64,))
    weights = {"anneal": {"entropy": Anneal(0.0, 1.0, steps=100)}, "term_weights": {"kl_z": 0.5}}
    return fit(model, data, FitConfig(epochs=epochs, batch_size=100, **weights)).to_frame()


if __name__ == "__main__":
    print(main()[["unlabelled_elbo", "entropy", "validation_accuracy"]])
