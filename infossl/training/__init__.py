"""One loop, its optimizers and schedules, checkpoints with exact resume, recipes, and collapse by name."""

from __future__ import annotations

from infossl.training.collapse import Collapse, collapse_at, collapses
from infossl.training.config import FitConfig
from infossl.training.families import ALL_OBJECTIVES, METHODS
from infossl.training.loop import FitResult, Method, Monitor, fit
from infossl.training.optimizers import OPTIMIZERS
from infossl.training.recipes import RECIPES, Recipe, recipe
from infossl.training.schedule import cosine, warmup_cosine

__all__ = [
    "ALL_OBJECTIVES",
    "METHODS",
    "OPTIMIZERS",
    "RECIPES",
    "Collapse",
    "FitConfig",
    "FitResult",
    "Method",
    "Monitor",
    "Recipe",
    "collapse_at",
    "collapses",
    "cosine",
    "fit",
    "recipe",
    "warmup_cosine",
]
