"""What model cards say of data and of kinds of models: what they are for, and what not.

Written once for each data set and kind of model, since no result says it.
"""

from dataclasses import dataclass

from experiments.engine.results import display_name
from pyro_ssl.errors import ResultsError


@dataclass(frozen=True)
class About:
    """What a card says of a data set or a kind of model.

    Attributes:
        text: what it is; of a model, what it may be used for.
        never: what it must not be used for, an entry each, and why.
    """

    text: str
    never: tuple[str, ...]


_MADE_UP = About(
    "Points drawn from a known mixture of Gaussians in the plane "
    "(`pyro_ssl.data.GaussianMixture`), so that true densities are known. They are of nothing "
    "and of nobody.",
    ("Any data but these points: the model shows an effect, and nothing else.",),
)

DATA = {
    "mnist": About(
        "MNIST (LeCun, Bottou, Bengio and Haffner 1998): 60,000 training and 10,000 test images "
        "of handwritten digits, 28x28 grey pixels, each digit scaled to one size and centred. "
        "They were written by employees of the US Census Bureau and by high-school students in "
        "the USA; the writers of the test images are others than those of the training images.",
        (
            "Digits as they come from a camera or a scanner, several in an image, letters, other "
            "scripts: none were seen in training, and hardly any digits as other countries write "
            "them (a 1 with a serif, a crossed 7).",
            "Reading postcodes, cheques, forms or anything else by which a person is dealt with.",
        ),
    ),
    "fashion-mnist": About(
        "Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): 60,000 training and 10,000 test pictures"
        " of clothes in ten classes, 28x28 grey pixels, from photographs of one shop's "
        "catalogue.",
        ("Photographs as they come, worn clothes, or another shop's: none were seen in training.",),
    ),
    "digits": About(
        "scikit-learn's digits: 1,797 images of handwritten digits, 8x8 grey pixels, the test "
        "part of the Optical Recognition of Handwritten Digits set of the UCI repository "
        "(Alpaydin and Kaynak 1998), which 13 people wrote. 397 of them, drawn at random, are "
        "the test set here, so that its writers are those of the training images, too.",
        (
            "Digits of any other writer, or from a camera or a scanner: test accuracy is of the "
            "same 13 writers, and says nothing of others.",
            "Comparison with published figures: the images are easy, and the test set is small.",
        ),
    ),
    "cifar10-jpeg": About(
        "A copy of CIFAR-10 (Krizhevsky 2009) as JPEG files, which are lossy: 32x32 colour "
        "photographs of ten kinds of animals and vehicles, collected on the web.",
        (
            "Telling what is in a photograph: see the accuracy.",
            "Comparison with published figures of CIFAR-10: the pixels are not the original ones.",
        ),
    ),
    "shapes": About(
        "Pictures drawn by `pyro_ssl.data.draw_shapes`: one square on 64x64 pixels, with six "
        "binary attributes that are known exactly. They are of nobody.",
        ("Any pictures but these: photographs, say, or other shapes.",),
    ),
    "20newsgroups": About(
        "20 Newsgroups: English posts to twenty Usenet groups of the 1990s, without headers, as "
        "counts of the most frequent words, without their order. Names and addresses of people "
        "who wrote them occur in the texts.",
        (
            "Finding out about the people who wrote the posts.",
            "Other languages, later texts, or texts of other subjects: their words are not among "
            "those that are counted.",
        ),
    ),
    "two-gaussians": _MADE_UP,
    "four-gaussians": _MADE_UP,
}  # fmt: skip

_NO_DECISIONS = (
    "Decisions about people, or others that nobody looks at again: it is an example of a method, "
    "tested on one data set."
)
_NO_NOVELTY = (
    "Inputs that may be of none of its classes: it has a class for every input, noise included, "
    "often with confidence. Novelty is not flagged."
)
_CONFIDENCE = (
    "Trust in the confidence of a single row, or on other data: the calibration error (ECE, 15 "
    "bins) is a mean over the rows of this test set."
)
_CLASSIFIES = (_NO_DECISIONS, _NO_NOVELTY, _CONFIDENCE)
_UNIFORM = (
    "Classes that are not about equally frequent: its prior p(y) is uniform, and labelled rows are "
    "drawn evenly over the classes, so that its probabilities are off where frequencies differ."
)
_NO_DATA = (
    "Making data for others to learn from: what it draws are means of p(x|.), smoother than any "
    "input, and of no more kinds than it was trained on."
)
_NO_OUTLIERS = (
    "Telling unfamiliar inputs by a low bound: generative models can give other data a higher "
    "likelihood than their own (Nalisnick et al. 2019, arXiv:1810.09136)."
)

SEMI_SUPERVISED = About(
    "Comparing what methods make of unlabelled rows, repeating the papers, drawing figures, and "
    "as a start for code of one's own: it classifies inputs like those of the training part, and"
    " draws inputs of a class that is given.",
    (*_CLASSIFIES, _UNIFORM, _NO_DATA, _NO_OUTLIERS),
)
ATTRIBUTES = About(
    "Comparing how well models recognise attributes, and how well they change one of them and "
    "leave the others as they are.",
    (_NO_DECISIONS, _CONFIDENCE, _NO_DATA,
     "Attributes that are known for some kinds of rows alone: those that are labelled were "
     "drawn at random."),
)  # fmt: skip
CLASSIFIER = About(
    "As the yardstick of models that see the unlabelled rows, too: it learns from the labelled "
    "rows alone.",
    _CLASSIFIES,
)
# By the class of a model, or by the name that its folder begins with.
KINDS = {
    **dict.fromkeys(
        (
            "M2", "RaoBlackwellM2", "ApproxM2", "LeaveOneOutM2", "GumbelSoftmaxM2",
            "LogisticNormalM2", "LogisticNormal", "LogGamma", "M1M2", "ADGM", "SDGM", "CCVAE",
            "record", *(f"without_{x}" for x in "augmentation consistency sharpening".split()),
            *(f"without_{x}" for x in "alignment average generative_model residual".split()),
        ),
        SEMI_SUPERVISED,
    ),
    **dict.fromkeys(("MultiLabelM2", "MultiLabelCCVAE"), ATTRIBUTES),
    **dict.fromkeys(("MLPClassifier", "without_unlabelled_rows"), CLASSIFIER),
    "judge": About(
        "Judging this experiment's pictures: a classifier that knows all training rows' labels.",
        (_NO_DECISIONS, "Comparison with models of few labels: it knows all."),
    ),
    **dict.fromkeys(
        ("linear_svm", "rbf_svm", "self_training_svm"),
        About(
            "Comparing what M1's latents are good for: a support vector machine on their means.",
            (_NO_DECISIONS, _NO_NOVELTY, "Probabilities: it gives none."),
        ),
    ),
    "VAE": About(
        "Features for a classifier, pictures of latents, and bounds of log p(x), to be compared "
        "with bounds of other models of the same rows.",
        (
            _NO_DECISIONS,
            _NO_OUTLIERS,
            _NO_DATA,
            "Comparison with bounds of other pixels: of drawn ones with those of grey ones, say.",
        ),
    ),
    "Autoencoder": About(
        "Showing, beside a VAE, what the KL divergence is for.",
        (_NO_DECISIONS, "Drawing new inputs: nothing makes its codes follow a distribution."),
    ),
    "BernoulliVAE": About(
        "Comparing estimators and networks by how well bits stand for documents, and retrieval by "
        "codes.",
        (
            _NO_DECISIONS,
            "Search where each miss matters: of the nearest documents only a part is of the same "
            "group, see precision.",
        ),
    ),
    "BitMixture": About(
        "Showing where joint training of encoder and decoder gives up evidence for its bound.",
        ("Clustering: it is begun at the true centres.",),
    ),
    "GeneratorVAE": About(
        "Showing what joint training does to a GAN's generator as decoder.",
        (_NO_DATA, _NO_OUTLIERS),
    ),
}  # fmt: skip


def title_of(model: str) -> str:
    """Return what a model is called, given its folder's first word."""
    return (
        f"BitMixture, {model} encoder" if class_of(model) == "BitMixture" else display_name(model)
    )


def class_of(model: str) -> str:
    """Return the class of a model, or what else `KINDS` calls it, by its folder's first word."""
    if model in KINDS:
        return model
    if model in ("factorised", "full"):
        return "BitMixture"
    name = display_name(model).partition(",")[0]
    return "Autoencoder" if name == "autoencoder" else name


def about(texts: dict[str, About], name: str, what: str) -> About:
    """Return what is said of a data set or a kind of model.

    Raises:
        ResultsError: if nothing is.
    """
    if name not in texts:
        raise ResultsError(
            f"no model card can be written of the {what} {name}: say in "
            "experiments/engine/cards/texts.py what it must not be used for"
        )
    return texts[name]
