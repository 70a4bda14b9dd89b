import pytest
import torch

from pyro_ssl.metrics import accuracy, expected_calibration_error, predict_in_chunks
from pyro_ssl.models import MLPClassifier


def test_accuracy_counts_likeliest_classes():
    probabilities = torch.tensor([[0.6, 0.4], [0.2, 0.8], [0.9, 0.1], [0.3, 0.7]])
    assert accuracy(probabilities, torch.tensor([0, 1, 1, 1])) == 0.75


def test_calibration_error_by_hand():
    # Two bins are used: confidence 0.9 four times, right three times; 0.6 twice, right once.
    confident, unsure = [0.9, 0.05, 0.05], [0.6, 0.2, 0.2]
    probabilities = torch.tensor([confident] * 4 + [unsure] * 2)
    ys = torch.tensor([0, 0, 0, 1, 0, 2])
    by_hand = 4 / 6 * abs(0.75 - 0.9) + 2 / 6 * abs(0.5 - 0.6)
    assert expected_calibration_error(probabilities, ys) == pytest.approx(by_hand, abs=1e-6)


def test_chunks_give_the_same_as_one_call():
    model = MLPClassifier((1, 2, 2), 3, hidden_dims=(4,), batch_norm=True)
    xs = torch.rand(23, 1, 2, 2)
    torch.testing.assert_close(predict_in_chunks(model, xs, rows=5), model.predict_proba(xs))
