import pytest
import torch
from torch.nn import functional as F

from pyro_ssl.models import MLPClassifier
from tests import oracle


@pytest.mark.parametrize("ys", [[0, 3, 1, 1], [0, -1, 2, -1]])
def test_loss_and_gradient_are_the_cross_entropy_of_known_labels(ys):
    model = MLPClassifier((1, 2, 3), 4, hidden_dims=(5,), **oracle.UNREGULARISED).double()
    xs, ys = torch.rand(4, 1, 2, 3).double(), torch.tensor(ys)
    loss = model.make_elbo().differentiable_loss(model.model, model.guide, xs, ys)
    by_hand = F.cross_entropy(model.classifier(xs.flatten(1)), ys, ignore_index=-1, reduction="sum")
    torch.testing.assert_close(loss, by_hand)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(by_hand, model))


def test_loss_of_attributes_is_the_binary_cross_entropy_of_known_ones():
    options = oracle.UNREGULARISED | {"multi_label": True, "channels": 4}
    model = MLPClassifier((1, 4, 4), 2, hidden_dims=(5,), **options).double()
    xs, ys = torch.rand(4, 1, 4, 4).double(), torch.tensor([[0, 1], [-1, -1], [1, -1], [-1, 0]])
    loss = model.make_elbo().differentiable_loss(model.model, model.guide, xs, ys)
    odds = model.classifier(model.image_encoder(xs))
    known = [(0, 0, 0), (0, 1, 1), (2, 0, 1), (3, 1, 0)]
    by_hand = -sum(F.logsigmoid(odds[i, a] if value else -odds[i, a]) for i, a, value in known)
    torch.testing.assert_close(loss, by_hand)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(by_hand, model))
    torch.testing.assert_close(model.predict_proba(xs), odds.detach().sigmoid())
