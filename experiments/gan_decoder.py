"""A GAN's generator as the decoder of a VAE, in stages."""

import json
from typing import Any

from experiments.devices import describe_device, keep_freed_memory, launched_by_torchrun
from experiments.experiment import Experiment, Result
from experiments.gan_decoder_vae import Config
from experiments.gan_stages import STAGES, GanStages, make_vae
from experiments.run_folder import RunFolder
from pyro_ssl.data import ImageDataset, load_celeba, load_dataset, shapes_dataset
from pyro_ssl.errors import ConfigError
from pyro_ssl.metrics.frechet import padded

_SHAPES_ROWS = 20_000


class GanDecoderExperiment(Experiment[ImageDataset]):
    """DCGAN, then a VAE on what its generator draws.

    Args:
        config: the options of `gan_decoder_vae`.
    """

    def __init__(self, config: Config) -> None:
        if launched_by_torchrun():
            raise ConfigError("torchrun's processes share no run of this kind: use --jobs instead")
        numbers = ("gan_steps", "encoder_steps", "joint_steps", "compared_rows", "measurements")
        for name in (*numbers, "batch_size"):
            if getattr(config, name) < 2:
                raise ConfigError(f"{name} is {getattr(config, name)}, expected at least 2")
        if config.rows is not None and config.rows < 1:
            raise ConfigError(f"rows is {config.rows}, expected at least 1")
        suffix = "-".join([config.dataset, *(["short"] if config.short else [])])
        super().__init__("gan_decoder_vae", config, ["generatorvae"], suffix)
        self.config = config
        part = 10 if config.short else 1
        self.steps = {s: max(getattr(config, f"{s}_steps") // part, 2) for s in STAGES[:3]}

    def load(self) -> ImageDataset:
        """Return the images, of 32 by 32 pixels, CelebA's of 64 by 64."""
        config = self.config
        if config.dataset == "celeba":
            return load_celeba(config.data_root, 64, rows=config.rows)[0]
        if config.dataset == "shapes":
            rows = _SHAPES_ROWS if config.rows is None else config.rows
            return shapes_dataset(rows, 100, 32)
        found = load_dataset(config.dataset, config.data_root)
        xs, ys = found.train_xs[: config.rows], found.train_ys[: config.rows]
        return ImageDataset(found.name, padded(xs, 32), ys, padded(found.test_xs, 32),
                            found.test_ys, found.num_classes)  # fmt: skip

    def check(self, dataset: ImageDataset) -> None:
        """Raise what is wrong with the options, if anything is."""
        make_vae(self.config, dataset)
        if len(dataset.train_xs) < self.config.batch_size:
            raise ConfigError(
                f"batch_size is {self.config.batch_size}, but there are {len(dataset.train_xs)} "
                "images: use a smaller one"
            )

    def decisive(self, dataset: ImageDataset) -> dict[str, Any]:
        """Return the options that tell configurations apart."""
        found = super().decisive(dataset)
        # Steps run in float32 as they are.
        del found["stage"], found["precision"]
        return found

    def run_seed(self, seed: int, dataset: ImageDataset | None = None) -> None:
        """Run the stages up to the one asked for."""
        keep_freed_memory()
        config, dataset = self.config, dataset or self.load()
        (folder,) = self.folders.values()
        wanted = STAGES if config.stage == "all" else STAGES[: STAGES.index(config.stage) + 1]
        if not folder.begin(seed, self.options.resume):
            print(f"seed {seed} is finished in {folder.path}: kept")
            return
        if not self.options.resume and folder.file(seed, "_gan.pt").exists():
            raise ConfigError(
                f"{folder.file(seed, '_gan.pt')} is an unfinished run: go on with --resume, or "
                "start again with --overwrite"
            )
        stages = GanStages(config, self.steps, folder, seed, dataset, self.device)
        for stage in wanted:
            result = getattr(stages, stage)()
            if stage == "fid":
                self._write_result(folder, seed, dataset, result)

    def print_summary(self) -> None:
        """Print the comparison, where all stages are finished."""
        (folder,) = self.folders.values()
        if all(folder.file(seed, ".json").exists() for seed in self.options.seeds):
            super().print_summary()
        else:
            print(f"{folder.path}: stage {self.config.stage} is done")

    def _write_result(
        self, folder: RunFolder, seed: int, dataset: ImageDataset, result: Result
    ) -> None:
        whole = {
            "experiment": self.name,
            "model": "generatorvae",
            "dataset": dataset.name,
            "seed": seed,
            **result,
            "steps": self.steps,
            "validation_rows": 0,
            "selection": "last step",
            "precision": "float32",
            "device": describe_device(self.device),
            **self.environment,
            "config": folder.config,
        }
        folder.write(seed, ".json", json.dumps(whole, indent=2) + "\n")
