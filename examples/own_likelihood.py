"""Your own likelihood, for exponential waiting times, which models take like any other."""

import pyro.distributions as dist
import torch

from pyro_ssl import M2, FitConfig, Likelihood, SSLData, fit


class Exponential(Likelihood):  # with options of its own: a frozen dataclass
    support = "times of at least 0"

    def values(self, outputs, input_shape, shared=None):
        return dist.Exponential(outputs.exp(), validate_args=False)

    def inside(self, xs):
        return xs >= 0


torch.manual_seed(0)
ys = torch.arange(400) % 2
xs = dist.Exponential(torch.tensor([[0.2, 3.0, 1.0], [3.0, 0.2, 1.0]])[ys]).sample()
data = SSLData.from_arrays(xs, ys.where(torch.arange(400) < 40, -1), real_valued=True)
model = M2((3,), 2, latent_dim=2, hidden_dims=(32,), likelihood=Exponential())
fit(model, data, FitConfig(epochs=20, batch_size=40, binarise=False))
print(f"accuracy {(model.predict_proba(xs).argmax(-1) == ys).float().mean():.3f}")
