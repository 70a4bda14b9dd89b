"""Your own network, a classifier that pools over an image, instead of M2's."""

import torch
from torch import nn

from pyro_ssl import M2, FitConfig, SSLData, fit


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3))

    def forward(self, images):  # [N, 1, 8, 8], to scores [N, 2]
        return self.layers(images).amax((-1, -2))


torch.manual_seed(0)
ys, places = torch.arange(400) % 2, torch.randint(8, (400, 1))
bars = (torch.arange(8) == places).float().view(-1, 1, 1, 8).expand(-1, 1, 8, 8)
xs = torch.where(ys.view(-1, 1, 1, 1) == 1, bars.mT, bars)  # upright, or lying
data = SSLData.from_arrays(xs, ys.where(torch.arange(400) < 40, -1))
model = M2((1, 8, 8), 2, latent_dim=2, hidden_dims=(32,), classifier=Pooled())
fit(model, data, FitConfig(epochs=20, batch_size=40))
print(f"accuracy {(model.predict_proba(xs).argmax(-1) == ys).float().mean():.3f}")
