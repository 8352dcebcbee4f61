"""Input checks: every message names the argument, its shape and the mend."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from estimators._samples import as_labels, as_numpy, as_samples, drop_constant_columns, paired, standardised


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
def test_a_float_vector_is_one_column_in_float64(make):
    x = as_samples(make(np.arange(5, dtype=np.float32)))
    assert tuple(x.shape) == (5, 1)
    assert str(x.dtype).endswith("float64")


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.array([[1.0], [np.nan]]), ValueError, r"x of shape \(2, 1\) has NaN or inf in 1 of its rows"),
        (np.array([[1.0], [np.inf]]), ValueError, "NaN or inf"),
        (np.zeros((2, 2, 2)), ValueError, r"must have shape \(n, d\).*\(2, 2, 2\)"),
        (np.zeros((3, 0)), ValueError, "d >= 1"),
        (np.zeros((1, 2)), ValueError, "at least n = 2"),
        (np.arange(4), TypeError, "discrete variable"),
        (np.zeros((3, 2), complex), TypeError, "real numbers"),
    ],
)
def test_bad_samples(make, x, error, message):
    with pytest.raises(error, match=message):
        as_samples(make(x))


def test_a_list_is_refused_with_the_mend():
    with pytest.raises(TypeError, match=r"numpy.asarray\(x\)"):
        as_samples([[1.0], [2.0]])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ma.masked_less(np.ones((3, 2)), 0), "masked array"),
        (pd.DataFrame({"a": [1.0, 2.0]}), r"got DataFrame; convert it with numpy.asarray\(x\)"),
        (np.array([[{}], [{}]], dtype=object), "real numbers"),
        (3.0, "got float"),
    ],
)
def test_what_is_no_array_of_numbers_names_the_mend(x, message):
    with pytest.raises(TypeError, match=message):
        as_samples(x)


def test_bfloat16_is_measured_in_float64():
    x = torch.randn(5, 2).bfloat16()
    np.testing.assert_array_equal(as_numpy(x), x.double().numpy())


def test_numpy_and_torch_are_not_mixed():
    with pytest.raises(TypeError, match="both as numpy arrays or both as torch tensors"):
        paired(np.zeros((3, 1)), torch.zeros(3, 1))
    paired(np.zeros((3, 1)), torch.zeros(3, dtype=torch.int64))  # labels may come from anywhere


class _OnAnotherDevice(torch.Tensor):
    """A stand-in for a CUDA tensor on machines without one: only its device differs."""

    @property
    def device(self):  # type: ignore[override]
        return torch.device("cuda:0")


def test_a_cuda_tensor_is_not_moved_silently():
    x = torch.zeros(4, 2).as_subclass(_OnAnotherDevice)
    with pytest.raises(TypeError, match=r"x of shape \(4, 2\) is on device 'cuda:0'.*x\.cpu\(\)"):
        as_numpy(x)
    with pytest.raises(TypeError, match=r"y\.cpu\(\)"):
        as_labels(torch.zeros(4, dtype=torch.int64).as_subclass(_OnAnotherDevice))


def test_labels_become_codes():
    assert as_labels(np.array([7, 3, 7, 9])).tolist() == [1, 0, 1, 2]
    assert as_labels(torch.tensor([True, False])).tolist() == [1, 0]
    with pytest.raises(TypeError, match="integer vector"):
        as_labels(np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="1 distinct"):
        as_labels(np.array([4, 4]))


def test_unequal_n():
    with pytest.raises(ValueError, match=r"\(3, 1\).*\(4, 1\)"):
        paired(np.zeros((3, 1)), np.zeros((4, 1)))


@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_constant_columns_are_dropped_at_any_scale(scale, rng):
    x = rng.standard_normal((50, 2)) * scale
    kept, dropped = drop_constant_columns(np.column_stack([x, np.full(50, 3.0 * scale)]))
    assert dropped == 1
    np.testing.assert_array_equal(kept, x)
    with pytest.raises(ValueError, match="all columns are constant"):
        drop_constant_columns(np.full((5, 2), scale))


@pytest.mark.parametrize("scale", [1e-200, 1e-6, 1.0, 1e6, 1e200])
def test_standardised_at_any_scale(scale, rng):
    x = rng.standard_normal((100, 3))
    z = standardised(x * scale)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-14)
    np.testing.assert_allclose(z.std(0), 1, rtol=1e-12)
    np.testing.assert_allclose(z, standardised(x), rtol=1e-9)


def test_input_is_read_only_safe(rng):
    x = rng.standard_normal((20, 2))
    x.setflags(write=False)
    before = x.copy()
    standardised(drop_constant_columns(as_numpy(x))[0])
    np.testing.assert_array_equal(x, before)


def test_tensors_on_two_devices_are_named():
    x = torch.zeros(5, 2)
    with pytest.raises(TypeError, match=r"x is on device 'cpu' and y on 'meta'.*y\.to\(x\.device\)"):
        paired(x, x.to("meta"))


def test_tensors_without_values_are_refused():
    with pytest.raises(TypeError, match=r"y of shape \(5, 2\) is on device 'meta', which holds no values"):
        as_samples(torch.zeros(5, 2, device="meta"), "y")
