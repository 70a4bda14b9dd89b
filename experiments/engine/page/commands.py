"""The commands that produced the content of the page."""

SEEDS = "--seeds 0 1 2 3 4"
M2 = f"python -m experiments.mnist_m2 {SEEDS}"
RAO_BLACKWELL = f"python -m experiments.mnist_m2 --num-summed 1 --no-baseline {SEEDS}"
TWO_D = (
    "python -m experiments.mnist_m2 --latent-dim 2 --num-summed 1 --no-baseline --epochs 30 "
    "--tag 2d"
)
M1 = f"python -m experiments.mnist_m1 {SEEDS}"
M1_GAUSSIAN = (
    "python -m experiments.mnist_m1 --likelihood gaussian --epochs 20 --no-two-dimensional "
    "--tag gaussian"
)
M1M2 = f"python -m experiments.mnist_m1m2 {SEEDS}"
MORE_LABELS = f"python -m experiments.mnist_m1m2 --labels 1000 {SEEDS}"
SVM = f"python -m experiments.mnist_m1_svm {SEEDS}"
RECORD = f"python -m experiments.mnist_record {SEEDS}"
RECORDS = [f"python -m experiments.mnist_record --labels {n} {SEEDS}" for n in (20, 50)]
RECORD_HONEST = (
    f"python -m experiments.mnist_record --validation 100 --no-keep-best --tag honest {SEEDS}"
)
UNTAUGHT = [
    f"python -m experiments.mnist_record --labels {n} --teachers 0 --epochs 8 --tag untaught "
    f"{SEEDS}"
    for n in (20, 50, 100)
]
RECORD_1000 = f"python -m experiments.mnist_record --labels 1000 --teachers 0 --epochs 8 {SEEDS}"
UNTAUGHT_HONEST = (
    "python -m experiments.mnist_record --validation 100 --no-keep-best --teachers 0 --epochs 8 "
    "--tag honest-untaught --seeds 0 1 2 3"
)
ADGM = f"python -m experiments.mnist_adgm --schedule reduced {SEEDS}"
CIFAR = "python -m experiments.cifar10_ccvae --folder cifar10-jpeg --channels 16 --epochs 15"
SHAPES = "python -m experiments.shapes_ccvae --seeds 0 1 2"
SHAPES_NARROW = (
    "python -m experiments.shapes_ccvae --model m2 --hidden-dims 256 --seeds 0 1 --tag 256"
)
SHAPES_BATCHES = (
    "python -m experiments.shapes_ccvae --batch-size 100 --epochs 20 --hidden-dims 256 "
    "--latent-dim 16 --style-dim 16 --seeds 0 1 2 --tag batches-of-100"
)
TREATMENTS = f"python -m experiments.mnist_label_treatments --models all {SEEDS}"
SWEEP = "python -m experiments.label_fraction_sweep --proportions .001 .003 .01 .03 .1 .9"
PLANE = f"python -m experiments.gaussians_vae {SEEDS}"
MIXTURE = "python -m experiments.gmm_approximation"
GENERATOR = "python -m experiments.gan_decoder_vae --short --seeds 0 1"
HASHING = "python -m experiments.semantic_hashing --grid paper"
MORE_CODES = [
    f"python -m experiments.semantic_hashing --bits {bits} --seeds 0 1 2" for bits in (16, 32, 64)
]
WORDS = "python -m experiments.semantic_hashing --tokens words --remove --tag words"
ALL_SHAPES = (SHAPES, SHAPES_NARROW, SHAPES_BATCHES)
RECORD_SHORT = (
    "python -m experiments.mnist_record --teachers 0 --epochs 4 --steps-per-epoch 250 "
    "--batch-size 200 --tag short --leave-out alignment augmentation average consistency "
    "generative_model residual sharpening unlabelled_rows"
)
ALL_RECORDS = (
    RECORD,
    *RECORDS,
    RECORD_HONEST,
    RECORD_1000,
    *UNTAUGHT,
    UNTAUGHT_HONEST,
    RECORD_SHORT,
)
ALL_CODES = (HASHING, *MORE_CODES, WORDS)
