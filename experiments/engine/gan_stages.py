"""The stages in which a GAN's generator becomes the decoder of a VAE."""

from typing import Any

import numpy as np
import pandas as pd
import pyro
import torch
from torch import Tensor
from torch.optim import Adam

from experiments.engine.runner import SeedRun
from experiments.engine.stages import run_stage
from pyro_ssl.data import LabelSplit, SSLData
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import FitConfig, fit, load_model, save_model
from pyro_ssl.infer.checkpoint import own_random_state
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.metrics.frechet import ClassifierFeatures, FrechetDistance, inception_weights
from pyro_ssl.models import GeneratorVAE, MLPClassifier
from pyro_ssl.nets.dcgan import Discriminator, Generator, discriminator_loss, generator_loss
from pyro_ssl.nets.modes import evaluating
from pyro_ssl.results import run_csv

_CLASSIFIER_STEPS = 1_000
_CLASSIFIER_ROWS = 20_000
# Number of images whose ELBO is computed at each measurement.
_BOUNDED = 2_000
_SHOWN = 100
_AT_ONCE = 500


class GanStages:
    """The stages of one seed, each a method; call them in their order.

    Args:
        run: the seed's run.
        name: name of the model.
        steps: number of steps of each stage.
        source: VAE whose decoder becomes the generator and then stays fixed; it draws the images of
            all stages after the first.
        vae: VAE whose decoder starts as the generator, and is trained with its encoder.
    """

    def __init__(
        self,
        run: SeedRun,
        name: str,
        steps: dict[str, int],
        source: GeneratorVAE,
        vae: GeneratorVAE,
    ) -> None:
        self.run, self.name, self.steps = run, name, steps
        self.config, self.seed, self.dataset = run.config, run.seed, run.dataset
        self.device, self.source, self.vae = run.device, source, vae
        self.rows: list[dict[str, Any]] = []
        self.seconds: dict[str, float] = {}
        self.pictures: dict[str, Tensor] = {}

    def gan(self) -> None:
        """Train generator and discriminator on images."""
        config, dataset = self.config, self.dataset
        generator = Generator(dataset.input_shape, config.latent_dim, config.channels)
        discriminator = Discriminator(dataset.input_shape, config.channels)
        generator, discriminator = generator.to(self.device), discriminator.to(self.device)
        how: dict[str, Any] = {"lr": config.gan_learning_rate, "betas": (0.5, 0.999)}
        of_generator = Adam(generator.parameters(), **how)
        of_discriminator = Adam(discriminator.parameters(), **how)
        images = dataset.train_xs.to(self.device)

        def step() -> Tensor:
            chosen = torch.randint(len(images), (config.batch_size,), device=self.device)
            real = images[chosen]
            real = real.float() / 255 if real.dtype == torch.uint8 else real
            fake = generator(torch.randn(config.batch_size, config.latent_dim, device=self.device))
            loss = discriminator_loss(discriminator, real, fake)
            of_discriminator.zero_grad()
            loss.backward()
            of_discriminator.step()
            of_generator.zero_grad()
            generator_loss(discriminator, fake).backward()
            of_generator.step()
            return loss.detach()

        parts: dict[str, Any] = {"generator": generator, "discriminator": discriminator}
        parts |= {"of_generator": of_generator, "of_d": of_discriminator}
        zs = self._shown_zs()
        rows: list[dict[str, Any]] = []
        self._stage("gan", parts, step, rows, lambda _: {"images": _images(generator, zs)})
        self.pictures["generator_over_time"] = torch.cat([row["images"] for row in rows])
        for vae in (self.source, self.vae):
            vae.generator.load_state_dict(generator.state_dict())

    def encoder(self) -> None:
        """Fit the encoder to images drawn by the generator, by log q(z|x)."""
        encoder = torch.nn.ModuleList([self.vae.image_encoder, self.vae.encoder])
        adam = Adam(encoder.parameters(), self.config.encoder_learning_rate)

        def step() -> Tensor:
            xs, zs = self.source.sample(self.config.batch_size)
            loss = -self.vae.code_log_prob(xs, zs).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            return loss.detach()

        self._stage("encoder", {"encoder": encoder, "adam": adam}, step)
        self.pictures["reconstructions"] = self._reconstructions()

    def joint(self) -> None:
        """Train encoder and generator by the ELBO of images drawn by the fixed generator."""
        vae, config = self.vae, self.config
        adam, elbo = Adam(vae.parameters(), config.joint_learning_rate), vae.make_elbo()
        features = self._features()
        self.features = "inception" if features is None else "classifier"
        zs = self._shown_zs()

        def measure(step: int) -> dict[str, Any]:
            images = _images(vae.generator, zs)
            return {"step": step, **self._measure(), "features": self.features, "images": images}

        # Fixed for all measurements: the reference set, and other images to encode.
        with own_random_state(self.seed + 1, self.device):
            self.distance = FrechetDistance(
                draw_images(self.source, config.compared_rows), features
            )
            self.noisy = draw_images(self.source, config.compared_rows, noise=True)

        def step() -> Tensor:
            xs, _ = self.source.sample(config.batch_size)
            loss = elbo.differentiable_loss(vae.model, vae.guide, xs) / len(xs)
            adam.zero_grad()
            loss.backward()
            adam.step()
            return loss.detach()

        self._stage("joint", {"vae": vae, "adam": adam}, step, self.rows, measure)
        self.pictures["joint_over_time"] = torch.cat([row.pop("images") for row in self.rows])
        frame = pd.DataFrame(self.rows)
        if frame["features"].nunique() > 1:
            raise ConfigError(
                f"the distances in {self.run.file(self.name, '_joint.pt')} are partly of "
                "Inception's features and partly of a classifier's: use --overwrite to repeat all"
            )
        dataset = self.dataset.name
        csv = run_csv(frame, model=self.name, dataset=dataset, labels=None, seed=self.seed)
        self.run.folders[self.name].write(self.seed, ".csv", csv)

    def _stage(
        self, name: str, parts: Any, step: Any, rows: Any = None, measure: Any = None
    ) -> None:
        with pyro.get_param_store().scope(), pyro.validation_enabled(False):
            self.seconds[name] = run_stage(
                self.run.file(self.name, f"_{name}.pt"),
                parts,
                self.steps[name],
                step,
                self.seed + 10 * list(self.steps).index(name),
                self.config.quiet,
                rows,
                measure,
                self.config.measurements,
                self.dataset.digest,
            )

    def _measure(self) -> dict[str, Any]:
        """Return ELBO and distances of the present models."""
        # The same noise each time, independent of the training's random numbers.
        with own_random_state(self.seed + 3, self.device):
            bounds = importance_weighted_bound(self.vae, self.noisy[:_BOUNDED], at_once=_AT_ONCE)
            samples = draw_images(self.vae, self.config.compared_rows)
            return {
                "elbo": bounds.mean().item(),
                "frechet": self.distance(samples),
                "frechet_reconstructions": self.distance(self._reconstruct(self.noisy)),
            }

    def _shown_zs(self) -> Tensor:
        """Return the latents whose images are drawn at each measurement."""
        with own_random_state(self.seed + 5, self.device):
            return torch.randn(10, self.config.latent_dim, device=self.device)

    def _reconstruct(self, xs: Tensor) -> Tensor:
        """Return the means of p(x|z), with z drawn from q(z|x)."""
        found = []
        for part in xs.split(_AT_ONCE):
            loc, scale = self.vae.encode(part)
            found.append(self.vae.decode(loc + scale * torch.randn_like(scale)))
        return torch.cat(found)

    def _reconstructions(self) -> Tensor:
        """Return some reconstructions to show, below the rows of their originals."""
        with own_random_state(self.seed + 4, self.device):
            xs, _ = self.source.sample(_SHOWN // 2)
            rows = zip(xs.split(10), self._reconstruct(xs).split(10), strict=True)
            return torch.cat([part for pair in rows for part in pair]).cpu()

    def _features(self) -> ClassifierFeatures | None:
        """Return None for Inception's features, or a classifier's, trained once per seed."""
        file, dataset = self.run.file(self.name, "_features.pt"), self.dataset
        if file.exists():
            classifier = load_model(file).to(self.device)
            assert isinstance(classifier, MLPClassifier)
            return ClassifierFeatures(classifier)
        if inception_weights() is not None:
            return None
        nothing, rows = np.arange(0), min(len(dataset.train_xs), _CLASSIFIER_ROWS)
        split = LabelSplit(np.arange(rows), nothing, nothing)
        data = SSLData.from_split(dataset, split).to(self.device)
        with own_random_state(self.seed, self.device):
            classifier = MLPClassifier(
                dataset.input_shape,
                dataset.num_classes,
                hidden_dims=(128,),
                batch_norm=False,
                input_dropout=0.0,
                channels=16,
                multi_label=dataset.multi_label,
            ).to(self.device)
        how = FitConfig(
            epochs=1,
            steps_per_epoch=_CLASSIFIER_STEPS,
            batch_size=64,
            learning_rate=1e-3,
            binarise=False,
            seed=self.seed,
        )
        fit(classifier, data, how)
        save_model(classifier, file)
        return ClassifierFeatures(classifier)


def _images(generator: Generator, zs: Tensor) -> Tensor:
    """Return the generator's images of these latents, in evaluation mode, on the CPU."""
    with evaluating(generator), torch.no_grad():
        return generator(zs).cpu()


def draw_images(vae: GeneratorVAE, number: int, noise: bool = False) -> Tensor:
    """Return `number` images drawn from the model."""
    sizes = [min(_AT_ONCE, number - start) for start in range(0, number, _AT_ONCE)]
    return torch.cat([vae.sample(size, noise)[0] for size in sizes])
