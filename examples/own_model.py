"""Your own model, from scratch: a mixture of Gaussians whose component is the label."""

import pyro
import pyro.distributions as dist
import torch

from pyro_ssl import Batch, FitConfig, SSLData, SSLModel, fit, load_model, save_model
from pyro_ssl.models.labels import label_in_guide


class Mixture(SSLModel):
    def __init__(self, input_shape, num_classes):
        super().__init__(input_shape, num_classes)
        self.centres = torch.nn.Parameter(torch.rand(num_classes, *input_shape))
        self.classifier = torch.nn.Linear(*input_shape, num_classes)

    def class_logits(self, xs):
        return self.classifier(xs)

    def model(self, xs, ys=None):
        pyro.module(self._name, self)
        for rows in Batch.of(xs, ys).parts():
            with rows.plate():
                y = pyro.sample("y", dist.Categorical(torch.ones(self.num_classes)), obs=rows.ys)
                pyro.sample("x", dist.Normal(self.centres[y], 0.1).to_event(1), obs=rows.xs)

    def guide(self, xs, ys=None):
        for rows in Batch.of(xs, ys).parts():
            with rows.plate():
                label_in_guide(rows.ys, self.class_logits(rows.xs), alpha=1.0)


def main(path="mixture.pt"):  # how it is trained, saved and loaded
    ys = torch.arange(600) % 2
    xs = (0.3 + 0.4 * ys.unsqueeze(-1) + 0.1 * torch.randn(600, 2)).clamp(0, 1)
    data = SSLData(xs[:10], ys[:10], xs[10:500], 2, xs[500:], ys[500:])
    model = Mixture(input_shape=(2,), num_classes=2)
    fit(model, data, FitConfig(epochs=20, batch_size=49, learning_rate=0.05, binarise=False))
    save_model(model, path)
    return load_model(path, model_class=Mixture).predict_proba(xs[500:]), ys[500:]


if __name__ == "__main__":
    print(main())
