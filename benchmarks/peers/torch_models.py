"""VAEs of pythae and pyroVED, and pyroVED's semi-supervised VAE."""

from contextlib import redirect_stdout
from io import StringIO

import torch
from torch.nn.functional import one_hot
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.peers.problem import (
    ALPHA,
    CLASSES,
    HIDDEN,
    LATENT,
    LEARNING_RATE,
    Epoch,
    Passed,
    Problem,
)


def pythae_vae(problem: Problem) -> Epoch:
    """Return an epoch of pythae's VAE, in a plain loop, not by its trainer."""
    from pythae.models import VAE, VAEConfig

    torch.manual_seed(0)
    with redirect_stdout(StringIO()):
        model = VAE(VAEConfig((1, 28, 28), LATENT, reconstruction_loss="bce"))
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    rows = TensorDataset(problem.xs.view(-1, 1, 28, 28))
    loader = DataLoader(rows, problem.batch_size, shuffle=True, drop_last=True)

    def epoch() -> Passed:
        model.train()
        total = 0.0
        for (xs,) in loader:
            optimiser.zero_grad()
            loss = model({"data": xs}).loss
            loss.backward()
            optimiser.step()
            total += loss.item()
        return Passed(total / problem.steps)

    return epoch


def pyroved_vae(problem: Problem) -> Epoch:
    """Return an epoch of pyroVED's VAE, without invariances, by its `SVItrainer`."""
    import pyroved

    sizes = {"hidden_dim_e": [HIDDEN], "hidden_dim_d": [HIDDEN], "activation": "relu"}
    model = pyroved.models.iVAE((28, 28), LATENT, None, **sizes, device="cpu")
    trainer = pyroved.trainers.SVItrainer(model, lr=LEARNING_RATE, device="cpu")
    images = problem.xs.view(-1, 28, 28)
    loader = pyroved.utils.init_dataloader(images, batch_size=problem.batch_size)

    def epoch() -> Passed:
        trainer.step(loader)
        return Passed(float(trainer.loss_history["training_loss"][-1]))

    return epoch


def pyroved_ssvae(problem: Problem) -> Epoch:
    """Return an epoch of pyroVED's semi-supervised VAE by its `auxSVItrainer`.

    It makes a step on labelled rows only once an epoch for these sizes, not with every batch.
    """
    import pyroved

    sizes = {"hidden_dim_e": [HIDDEN], "hidden_dim_d": [HIDDEN], "hidden_dim_cls": [HIDDEN]}
    model = pyroved.models.ssiVAE(
        (28, 28), LATENT, CLASSES, None, **sizes, activation="relu", device="cpu"
    )
    trainer = pyroved.trainers.auxSVItrainer(model, lr=LEARNING_RATE, device="cpu")
    size = {"batch_size": problem.batch_size}
    labels = one_hot(problem.known_ys, CLASSES).float()
    rows = pyroved.utils.init_dataloader(problem.xs, **size)
    known = pyroved.utils.init_dataloader(problem.known_xs, labels, **size)

    def epoch() -> Passed:
        trainer.step(rows, known, aux_loss_multiplier=ALPHA)
        return Passed(float(trainer.history["training_loss"][-1]))

    return epoch
