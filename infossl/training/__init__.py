"""One loop, its schedule, checkpoints with exact resume, and recipes."""

from __future__ import annotations

from infossl.training.config import FitConfig
from infossl.training.loop import FitResult, Method, Monitor, fit
from infossl.training.recipes import RECIPES, Recipe, recipe
from infossl.training.schedule import warmup_cosine

__all__ = [
    "RECIPES",
    "FitConfig",
    "FitResult",
    "Method",
    "Monitor",
    "Recipe",
    "fit",
    "recipe",
    "warmup_cosine",
]
