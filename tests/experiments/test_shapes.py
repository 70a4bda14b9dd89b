from experiments.shapes import ShapesExperiment
from experiments.shapes_ccvae import Config


def test_the_judge_learns_from_every_label_and_the_others_from_few():
    config = Config(
        train_rows=300, test_rows=30, size=16, labels=20, validation=50, epochs=7, judge_epochs=2
    )
    experiment = ShapesExperiment(config)
    judge, *others = experiment.contenders(experiment.load(), seed=0)
    assert (judge.name, judge.data.num_labelled, judge.fit_config.epochs) == ("judge", 250, 2)
    assert [other.name for other in others] == ["multilabelccvae", "multilabelm2", "mlpclassifier"]
    for other in others:
        assert (other.data.num_labelled, other.fit_config.epochs) == (20, 7)
        assert (other.data.validation_xs == judge.data.validation_xs).all()
