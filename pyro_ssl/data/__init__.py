"""Data sets, label splits, and your own data."""

from pyro_ssl.data.attribute_images import CELEBA_18, load_attribute_folder, load_celeba
from pyro_ssl.data.augmentation import Augmentation
from pyro_ssl.data.cells import Cells, draw_cells
from pyro_ssl.data.checks import check_inputs
from pyro_ssl.data.class_images import load_cifar10, load_class_folders
from pyro_ssl.data.datasets import DATA_VARIABLE, DATASETS, ImageDataset, data_root, load_dataset
from pyro_ssl.data.label_checks import check_labels
from pyro_ssl.data.newsgroups import Documents, count_words, load_newsgroups
from pyro_ssl.data.shapes import SHAPE_ATTRIBUTES, draw_shapes, shapes_dataset
from pyro_ssl.data.splits import LabelSplit, split_labels
from pyro_ssl.data.ssl_data import SSLData
from pyro_ssl.data.toys import GaussianMixture, four_gaussians, two_gaussians

__all__ = [
    "CELEBA_18",
    "DATASETS",
    "DATA_VARIABLE",
    "SHAPE_ATTRIBUTES",
    "Augmentation",
    "Cells",
    "Documents",
    "GaussianMixture",
    "ImageDataset",
    "LabelSplit",
    "SSLData",
    "check_inputs",
    "check_labels",
    "count_words",
    "data_root",
    "draw_cells",
    "draw_shapes",
    "four_gaussians",
    "load_attribute_folder",
    "load_celeba",
    "load_cifar10",
    "load_class_folders",
    "load_dataset",
    "load_newsgroups",
    "shapes_dataset",
    "split_labels",
    "two_gaussians",
]
