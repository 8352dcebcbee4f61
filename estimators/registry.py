"""One name everywhere: text such as `Subsampled(KSG(k=5), parts=10)` to objects and back.

The text is parsed with `ast` and walked over a whitelist: calls of known names, keyword and positional
arguments, literals. Nothing is ever evaluated.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["parse"]


def parse(text: str, names: Mapping[str, Callable[..., Any]] | None = None) -> Any:
    """Builds the object that `text` names; the inverse of `repr` for every object of the toolkit.

    Arguments:
        text: a call such as `"KSG(k=5)"`, or a bare name such as `"KSG"` for all defaults.
        names: the whitelist of names; by default all public estimators and `Panel`.

    Raises:
        ValueError: if the text is not a call of known names with literal arguments; near matches are listed.
        TypeError: if a name is given a setting that it does not have.

    Example:
        >>> from estimators import parse
        >>> parse("Subsampled(KSG(k=5), parts=10)").inner.k
        5
    """
    if names is None:
        from estimators import ESTIMATORS, Panel

        names = {**ESTIMATORS, "Panel": Panel}
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"cannot read {text!r}: {error.msg}; write a call such as 'KSG(k=5)'") from None
    if isinstance(tree, ast.Name) and tree.id in names:
        return _call(names, tree.id, [], {}, text)
    return _build(tree, names, text)


def _build(node: ast.AST, names: Mapping[str, Callable[..., Any]], text: str) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _build(node.operand, names, text)
        if isinstance(inner, (int, float)):
            return -inner
    if isinstance(node, ast.Tuple):
        return tuple(_build(item, names, text) for item in node.elts)
    if isinstance(node, ast.List):
        return [_build(item, names, text) for item in node.elts]
    if isinstance(node, ast.Dict) and all(key is not None for key in node.keys):
        return {
            _build(key, names, text): _build(value, names, text)
            for key, value in zip(node.keys, node.values, strict=True)
            if key is not None
        }
    if isinstance(node, ast.Name) and node.id in {"inf", "nan"}:
        return float(node.id)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        args = [_build(item, names, text) for item in node.args]
        if any(key.arg is None for key in node.keywords):
            raise ValueError(f"cannot read {text!r}: ** is not allowed")
        kwargs = {str(key.arg): _build(key.value, names, text) for key in node.keywords}
        return _call(names, node.func.id, args, kwargs, text)
    raise ValueError(
        f"cannot read {ast.unparse(node)!r} in {text!r}: only calls of known names and literal values are allowed"
    )


def _call(
    names: Mapping[str, Callable[..., Any]], name: str, args: list[Any], kwargs: dict[str, Any], text: str
) -> Any:
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"known names: {', '.join(sorted(names))}"
        raise ValueError(f"unknown name {name!r} in {text!r}; {hint}")
    try:
        return names[name](*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"cannot build {name} in {text!r}: {error}") from None
