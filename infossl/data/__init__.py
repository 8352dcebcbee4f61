"""Data sets with their views and probe sets; nothing is downloaded."""

from __future__ import annotations

from infossl.data.cifar import cifar10, cifar100
from infossl.data.cluttered_digits import Clutter, Style, cluttered_digits
from infossl.data.digits import digits
from infossl.data.folder import ImageFolder, folder
from infossl.data.image_data import ImageData
from infossl.data.in_memory import arrays, from_arrays, from_dataset
from infossl.data.loader import Batch, Loader
from infossl.data.names import DATA, DATA_SETS, data_named
from infossl.data.sample_generator import SampleGenerator
from infossl.data.seeds import derived_seed, generator
from infossl.data.stl10 import stl10
from infossl.data.view_presets import VIEW_PRESETS, MultiCrop, ViewSettings, multi_crop, views_named

__all__ = [
    "DATA",
    "DATA_SETS",
    "VIEW_PRESETS",
    "Batch",
    "Clutter",
    "ImageData",
    "ImageFolder",
    "Loader",
    "MultiCrop",
    "SampleGenerator",
    "Style",
    "ViewSettings",
    "arrays",
    "cifar10",
    "cifar100",
    "cluttered_digits",
    "data_named",
    "derived_seed",
    "digits",
    "folder",
    "from_arrays",
    "from_dataset",
    "generator",
    "multi_crop",
    "stl10",
    "views_named",
]
