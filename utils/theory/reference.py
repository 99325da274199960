"""The layers and losses of the course in plain NumPy, written to be read rather than to be fast.

Everything follows its definition, one window at a time, and keeps the dtype it is given. Images
have the shape ``(n, height, width, channels)``; ``dy`` is the gradient of some loss with respect to
a layer's output ``y``, and a function named ``..._gradient`` backpropagates it to the inputs.
Values and gradients equal those of Keras on TensorFlow.

References
----------
.. [1] V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning",
   arXiv:1603.07285, 2016.
.. [2] I. Goodfellow, Y. Bengio and A. Courville, "Deep Learning", MIT Press, 2016.
.. [3] A. L. Maas, A. Y. Hannun and A. Y. Ng, "Rectifier nonlinearities improve neural network
   acoustic models", ICML Workshop on Deep Learning for Audio, Speech and Language Processing, 2013.
.. [4] N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov, "Dropout: a
   simple way to prevent neural networks from overfitting", Journal of Machine Learning Research 15,
   1929-1958, 2014.
.. [5] S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by reducing
   internal covariate shift", arXiv:1502.03167, 2015.
.. [6] Keras 3, ``keras.losses.CategoricalCrossentropy`` and ``keras.ops.categorical_crossentropy``,
   https://keras.io.
"""

from collections.abc import Sequence
from math import prod
from numbers import Real

import numpy as np

from utils.checked import checked
from utils.theory.arithmetic import (
    _pair,
    _whole,
    output_size,
    padding_widths,
    transposed_output_size,
)

# Along an axis, with padding: one window at a time, more would take for ever, and all memory.
_MOST_CELLS = 10_000

Padding = str | int | tuple[int, int]

# --- Windows ------------------------------------------------------------------------------


def _windows(size, kernel, stride, padding, dilation):
    """Lay out the windows of a layer over the padded input.

    Returns every window as (output row, output column, input rows, input columns), the size
    of the output, and the widths of the padding on both axes.
    """
    axes, widths = [], []
    for cells, taps in zip(size, kernel, strict=True):
        count = output_size(cells, taps, stride, padding, dilation)
        width = padding_widths(cells, taps, stride, padding, dilation)
        if cells + sum(width) > _MOST_CELLS:
            raise ValueError(
                f"size={cells}, kernel={taps}, stride={stride}, padding={padding!r} and "
                f"dilation={dilation} need {cells + sum(width):,} cells along an axis; allowed are "
                f"{_MOST_CELLS:,}"
            )
        effective = dilation * (taps - 1) + 1
        starts = range(0, count * stride, stride)
        axes.append([slice(start, start + effective, dilation) for start in starts])
        widths.append(width)
    rows, columns = axes
    windows = [(i, j, r, c) for i, r in enumerate(rows) for j, c in enumerate(columns)]
    return windows, (len(rows), len(columns)), widths


def _pad(x, widths, value=0):
    return np.pad(x, ((0, 0), *widths, (0, 0)), constant_values=value)


def _crop(padded, size, widths):
    (top, _), (left, _) = widths
    return padded[:, top : top + size[0], left : left + size[1]]


def _check(name, array, *shape):
    """Return a floating-point array of the given lengths, of which None allows any."""
    array = np.asarray(array)
    fits = len(shape) == array.ndim and all(
        want in (None, length) for want, length in zip(shape, array.shape, strict=True)
    )
    if not fits or not np.issubdtype(array.dtype, np.floating):
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(
            f"{name} must be a floating-point array of shape ({wanted}), "
            f"got {array.dtype} of shape {array.shape}"
        )
    return array


_ANY = (None, None, None, None)


def _fitting(least=0, **arrays):
    """Return arrays whose shapes fit together, each with so many axes at least, and with values."""
    arrays = {
        name: value if isinstance(value, Real) else np.asarray(value)
        for name, value in arrays.items()
    }
    shapes = {name: np.shape(value) for name, value in arrays.items()}
    try:
        np.broadcast_shapes(*shapes.values())
    except ValueError:
        raise ValueError(f"{', '.join(shapes)} must have shapes that fit, got {shapes}") from None
    for name, shape in shapes.items():
        if len(shape) < least or (least and not shape[-1]):
            raise ValueError(f"{name} must have a last axis with entries, got the shape {shape}")
        if least and np.asarray(arrays[name]).dtype == bool:
            raise ValueError(f"{name} must hold numbers, got truth values")
    return arrays.values()


def _rate(value):
    if not 0 <= value < 1:
        raise ValueError(f"rate must be at least 0 and below 1, got {value!r}")
    return value


# --- Convolution --------------------------------------------------------------------------


@checked
def conv2d(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None = None,
    stride: int = 1,
    padding: Padding = "valid",
    dilation: int = 1,
) -> np.ndarray:
    """Convolve images with kernels, without flipping the kernels, as networks do.

    Parameters
    ----------
    x : ndarray of float, shape (n, height, width, channels_in)
    kernel : ndarray of float, shape (kernel_height, kernel_width, channels_in, filters)
    bias : ndarray of float, shape (filters,), optional
    stride, dilation : int
        At least 1; the same on both axes.
    padding : {"valid", "same", "full"}, int or (int, int)
        See `utils.theory.arithmetic.padding_widths`; the same on both axes.

    Returns
    -------
    ndarray, shape (n, output_height, output_width, filters)

    Raises
    ------
    ValueError
        If an array has another shape or no floating-point type, a setting is out of range, or the
        kernel is larger than the padded input.

    Notes
    -----
    Cross-correlation, section 9.1 of [2]_, summed over the input channels; sizes are those of [1]_.
    """
    kernel = _check("kernel", kernel, *_ANY)
    x = _check("x", x, None, None, None, kernel.shape[2])
    windows, size, widths = _windows(x.shape[1:3], kernel.shape[:2], stride, padding, dilation)
    if bias is not None:
        bias = _check("bias", bias, kernel.shape[3])
    padded = _pad(x, widths)
    y = np.zeros((len(x), *size, kernel.shape[3]), x.dtype)
    for i, j, rows, columns in windows:
        y[:, i, j] = np.tensordot(padded[:, rows, columns], kernel, axes=3)
    return y if bias is None else y + bias


@checked
def conv2d_input_gradient(
    dy: np.ndarray,
    kernel: np.ndarray,
    size: tuple[int, int],
    stride: int = 1,
    padding: Padding = "valid",
    dilation: int = 1,
) -> np.ndarray:
    """Backpropagate a gradient through `conv2d` to its input.

    Each output passes its gradient to the cells of its window, weighted by the kernel.

    Parameters
    ----------
    dy : ndarray of float, shape (n, output_height, output_width, filters)
    kernel : ndarray of float, shape (kernel_height, kernel_width, channels_in, filters)
    size : (int, int)
        Height and width of the input.
    stride, padding, dilation
        As for `conv2d`.

    Returns
    -------
    ndarray, shape (n, height, width, channels_in)

    Raises
    ------
    ValueError
        As for `conv2d`.

    Notes
    -----
    Section 9.5 of [2]_, the gradient with respect to the input of a layer.
    """
    kernel, size = _check("kernel", kernel, *_ANY), _pair("size", size)
    windows, shape, widths = _windows(size, kernel.shape[:2], stride, padding, dilation)
    dy = _check("dy", dy, None, *shape, kernel.shape[3])
    dx = _pad(np.zeros((len(dy), *size, kernel.shape[2]), dy.dtype), widths)
    for i, j, rows, columns in windows:
        dx[:, rows, columns] += np.tensordot(dy[:, i, j], kernel, axes=(1, 3))
    return _crop(dx, size, widths)


@checked
def conv2d_kernel_gradient(
    dy: np.ndarray,
    x: np.ndarray,
    kernel_size: tuple[int, int],
    stride: int = 1,
    padding: Padding = "valid",
    dilation: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Backpropagate a gradient through `conv2d` to the kernel and the bias.

    Parameters
    ----------
    dy : ndarray of float, shape (n, output_height, output_width, filters)
    x : ndarray of float, shape (n, height, width, channels_in)
        The input of `conv2d`.
    kernel_size : (int, int)
        Height and width of the kernel.
    stride, padding, dilation
        As for `conv2d`.

    Returns
    -------
    dkernel : ndarray, shape (kernel_height, kernel_width, channels_in, filters)
        Summed over all windows and images, because they share the kernel.
    dbias : ndarray, shape (filters,)

    Raises
    ------
    ValueError
        As for `conv2d`.

    Notes
    -----
    Section 9.5 of [2]_, the gradient with respect to the kernel.
    """
    x, kernel_size = _check("x", x, *_ANY), _pair("kernel_size", kernel_size)
    windows, shape, widths = _windows(x.shape[1:3], kernel_size, stride, padding, dilation)
    dy = _check("dy", dy, len(x), *shape, None)
    padded = _pad(x, widths)
    dkernel = np.zeros((*kernel_size, x.shape[3], dy.shape[3]), dy.dtype)
    for i, j, rows, columns in windows:
        dkernel += np.tensordot(padded[:, rows, columns], dy[:, i, j], axes=(0, 0))
    return dkernel, dy.sum(axis=(0, 1, 2))


@checked
def conv2d_transpose(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None = None,
    stride: int = 1,
    padding: Padding = "valid",
    dilation: int = 1,
    output_padding: int | None = None,
) -> np.ndarray:
    """Apply a transposed convolution: `conv2d`'s input gradient, used as a layer.

    Parameters
    ----------
    x : ndarray of float, shape (n, height, width, channels_in)
    kernel : ndarray of float, shape (kernel_height, kernel_width, filters, channels_in)
        In Keras's layout, with the last two axes swapped relative to `conv2d`: it is the kernel of
        the convolution from `filters` channels to `channels_in`.
    bias, stride, padding, dilation
        As for `conv2d`.
    output_padding : int, optional
        See `utils.theory.arithmetic.transposed_output_size`.

    Returns
    -------
    ndarray, shape (n, output_height, output_width, filters)

    Raises
    ------
    ValueError
        As for `conv2d`, or if no output size fits the settings.

    Notes
    -----
    Section 4 of [1]_.
    """
    x, kernel = _check("x", x, *_ANY), _check("kernel", kernel, *_ANY)
    if bias is not None:
        bias = _check("bias", bias, kernel.shape[2])
    size = [
        transposed_output_size(cells, taps, stride, padding, dilation, output_padding)
        for cells, taps in zip(x.shape[1:3], kernel.shape[:2], strict=True)
    ]
    y = conv2d_input_gradient(x, kernel, size, stride, padding, dilation)
    return y if bias is None else y + bias


@checked
def conv_matrix(
    kernel: np.ndarray,
    size: tuple[int, int],
    stride: int = 1,
    padding: Padding = "valid",
    dilation: int = 1,
) -> np.ndarray:
    """Write a convolution of one image, without bias, as a matrix.

    Its columns are the responses to images with a single 1, which define a linear function.

    Parameters
    ----------
    kernel : ndarray of float, shape (kernel_height, kernel_width, channels_in, filters)
    size : (int, int)
        Height and width of the image.
    stride, padding, dilation
        As for `conv2d`.

    Returns
    -------
    ndarray, shape (output cells * filters, height * width * channels_in)
        ``matrix @ x.ravel()`` is `conv2d`, ``matrix.T @ dy.ravel()`` is its input gradient
        and its transposed convolution.

    Raises
    ------
    ValueError
        As for `conv2d`.

    Notes
    -----
    Section 4.1 of [1]_.
    """
    kernel, size = _check("kernel", kernel, *_ANY), _pair("size", size)
    cells = size[0] * size[1] * kernel.shape[2]
    images = np.eye(cells, dtype=kernel.dtype).reshape(cells, *size, kernel.shape[2])
    return conv2d(images, kernel, None, stride, padding, dilation).reshape(cells, -1).T


# --- Pooling ------------------------------------------------------------------------------


def _pool_windows(x, pool, stride, padding):
    if padding not in ("valid", "same"):
        raise ValueError(f'padding must be "valid" or "same" for pooling, got {padding!r}')
    pool = _whole("pool", pool)
    stride = pool if stride is None else stride
    return _windows(x.shape[1:3], (pool, pool), stride, padding, 1)


@checked
def max_pool(
    x: np.ndarray, pool: int = 2, stride: int | None = None, padding: str = "valid"
) -> np.ndarray:
    """Keep the largest value of each window of `pool` by `pool` cells; padding never counts.

    Parameters
    ----------
    x : ndarray of float, shape (n, height, width, channels)
    pool : int
        Height and width of a window, at least 1.
    stride : int, optional
        At least 1; `pool` unless given.
    padding : {"valid", "same"}
        See `utils.theory.arithmetic.padding_widths`.

    Returns
    -------
    ndarray, shape (n, output_height, output_width, channels)

    Raises
    ------
    ValueError
        If `x` has another shape or no floating-point type, a setting is out of range, or the window
        is larger than the padded input.

    Notes
    -----
    Section 9.3 of [2]_; Keras pads with minus infinity.
    """
    x = _check("x", x, *_ANY)
    windows, size, widths = _pool_windows(x, pool, stride, padding)
    padded = _pad(x, widths, -np.inf)
    y = np.zeros((len(x), *size, x.shape[3]), x.dtype)
    for i, j, rows, columns in windows:
        y[:, i, j] = padded[:, rows, columns].max(axis=(1, 2))
    return y


@checked
def max_pool_gradient(
    dy: np.ndarray, x: np.ndarray, pool: int = 2, stride: int | None = None, padding: str = "valid"
) -> np.ndarray:
    """Backpropagate a gradient through `max_pool`, to the largest cell of each window alone.

    Among equal cells, the first in row order receives it all.

    Parameters
    ----------
    dy : ndarray of float, shape (n, output_height, output_width, channels)
    x : ndarray of float, shape (n, height, width, channels)
        The input of the pooling.
    pool, stride, padding
        As for `max_pool`.

    Returns
    -------
    ndarray, shape (n, height, width, channels)

    Raises
    ------
    ValueError
        As for `max_pool`, or if `dy` has another shape.

    Notes
    -----
    The subgradient that TensorFlow chooses on a CPU.
    """
    x = _check("x", x, *_ANY)
    windows, shape, widths = _pool_windows(x, pool, stride, padding)
    dy = _check("dy", dy, len(x), *shape, x.shape[3])
    padded = _pad(x, widths, -np.inf)
    dx = np.zeros(padded.shape, x.dtype)
    image, channel = np.ogrid[: len(x), : x.shape[3]]
    for i, j, rows, columns in windows:
        cells = padded[:, rows, columns].reshape(len(x), -1, x.shape[3])
        row, column = np.divmod(cells.argmax(axis=1), pool)
        dx[image, rows.start + row, columns.start + column, channel] += dy[:, i, j]
    return _crop(dx, x.shape[1:3], widths)


@checked
def average_pool(
    x: np.ndarray, pool: int = 2, stride: int | None = None, padding: str = "valid"
) -> np.ndarray:
    """Average each window of `pool` by `pool` cells, leaving out the padding.

    Parameters
    ----------
    x, pool, stride, padding
        As for `max_pool`.

    Returns
    -------
    ndarray, shape (n, output_height, output_width, channels)

    Raises
    ------
    ValueError
        As for `max_pool`.

    Notes
    -----
    Section 9.3 of [2]_; leaving out the padding is TensorFlow's choice, and so Keras's.
    """
    x = _check("x", x, *_ANY)
    windows, size, widths = _pool_windows(x, pool, stride, padding)
    padded, real = _pad(x, widths), _pad(np.ones_like(x), widths)
    y = np.zeros((len(x), *size, x.shape[3]), x.dtype)
    for i, j, rows, columns in windows:
        cells = real[:, rows, columns].sum(axis=(1, 2))
        y[:, i, j] = padded[:, rows, columns].sum(axis=(1, 2)) / cells
    return y


@checked
def average_pool_gradient(
    dy: np.ndarray, x: np.ndarray, pool: int = 2, stride: int | None = None, padding: str = "valid"
) -> np.ndarray:
    """Backpropagate a gradient through `average_pool`, in equal shares to the real cells.

    Parameters
    ----------
    dy, x, pool, stride, padding
        As for `max_pool_gradient`.

    Returns
    -------
    ndarray, shape (n, height, width, channels)

    Raises
    ------
    ValueError
        As for `max_pool_gradient`.

    Notes
    -----
    The derivative of the mean over the real cells.
    """
    x = _check("x", x, *_ANY)
    windows, shape, widths = _pool_windows(x, pool, stride, padding)
    dy = _check("dy", dy, len(x), *shape, x.shape[3])
    real = _pad(np.ones_like(x), widths)
    dx = np.zeros_like(real)
    for i, j, rows, columns in windows:
        cells = real[:, rows, columns].sum(axis=(1, 2))
        dx[:, rows, columns] += (dy[:, i, j] / cells)[:, None, None]
    return _crop(dx, x.shape[1:3], widths)


# --- Activation, dropout, batch normalisation ---------------------------------------------


@checked
def relu(x: np.ndarray, slope: float = 0.0) -> np.ndarray:
    """Keep what is positive and multiply the rest by `slope` (leaky ReLU if not 0).

    Parameters
    ----------
    x : ndarray of float
        Of any shape.
    slope : float
        Usually at least 0 and below 1.

    Returns
    -------
    ndarray, of the shape of `x`

    Notes
    -----
    Section 6.3.1 of [2]_; leaky ReLU is that of [3]_.
    """
    (x,) = _fitting(x=x)
    return np.where(x > 0, x, slope * x)


@checked
def relu_gradient(dy: np.ndarray, x: np.ndarray, slope: float = 0.0) -> np.ndarray:
    """Backpropagate a gradient through `relu`; at exactly 0 it is multiplied by `slope`.

    Parameters
    ----------
    dy : ndarray of float, of the shape of `x`
    x : ndarray of float
        The input of `relu`.
    slope : float
        As for `relu`.

    Returns
    -------
    ndarray, of the shape of `x`

    Notes
    -----
    At 0, where there is no derivative, the left one is used, as section 6.3 of [2]_ discusses.
    """
    dy, x = _fitting(dy=dy, x=x)
    return np.where(x > 0, dy, slope * dy)


@checked
def dropout_mask(shape: int | Sequence[int], rate: float, rng: np.random.Generator) -> np.ndarray:
    """Draw which values stay: True with the probability ``1 - rate``.

    Parameters
    ----------
    shape : int or sequence of int
        Shape of the mask.
    rate : float
        Probability of being dropped, at least 0 and below 1.
    rng : numpy.random.Generator
        Source of the random numbers.

    Returns
    -------
    ndarray of bool, shape `shape`

    Notes
    -----
    Section 4 of [4]_, where the probability of staying is called p.
    """
    sides = [_whole("shape", side, 0) for side in ([shape] if np.ndim(shape) == 0 else shape)]
    if prod(sides) > _MOST_CELLS**2:
        raise ValueError(f"shape must have a product of at most {_MOST_CELLS**2:,}, got {shape!r}")
    return rng.random(sides) >= _rate(rate)


@checked
def dropout(x: np.ndarray, rate: float, mask: np.ndarray) -> np.ndarray:
    """Zero what the mask drops, and scale the rest by ``1 / (1 - rate)``.

    The scaling preserves the expected value, so that nothing remains to be done at inference.
    Dropout is linear for a given mask: its gradient is ``dropout(dy, rate, mask)``.

    Parameters
    ----------
    x : ndarray of float
        Of any shape.
    rate : float
        Probability of being dropped, at least 0 and below 1.
    mask : ndarray of bool, of the shape of `x`
        True where a value stays; see `dropout_mask`.

    Returns
    -------
    ndarray, of the shape of `x`

    Raises
    ------
    ValueError
        If `rate` is out of range.

    Notes
    -----
    Section 4 of [4]_, which scales the weights at inference instead; the expected values agree.
    """
    x, mask = _fitting(x=x, mask=mask)
    return np.where(mask, x / (1 - _rate(rate)), np.zeros_like(x))


@checked
def batch_norm(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    epsilon: float = 1e-3,
) -> np.ndarray:
    """Normalise each channel (the last axis) by a given mean and variance, as at inference.

    In training, both are those of the batch: ``batch_norm(x, gamma, beta, *batch_moments(x))``.

    Parameters
    ----------
    x : ndarray of float, shape (..., channels)
    gamma, beta : ndarray of float, shape (channels,)
        Scale and shift.
    mean, variance : ndarray of float, shape (channels,)
        The variance is at least 0.
    epsilon : float
        Above 0; keeps the division from failing where the variance is 0. The default is Keras's.

    Returns
    -------
    ndarray, of the shape of `x`

    Notes
    -----
    Algorithm 1 of [5]_; for convolutions, its section 3.2.
    """
    x, gamma, beta, mean, variance = _fitting(
        x=x, gamma=gamma, beta=beta, mean=mean, variance=variance
    )
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


@checked
def batch_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute each channel's mean and variance (dividing by N, not N - 1) over all other axes.

    Parameters
    ----------
    x : ndarray of float, shape (..., channels)

    Returns
    -------
    mean, variance : ndarray, shape (channels,)

    Notes
    -----
    Algorithm 1 of [5]_.
    """
    (x,) = _fitting(1, x=x)
    axes = tuple(range(np.ndim(x) - 1))
    return x.mean(axis=axes), x.var(axis=axes)


@checked
def moving_average(
    moving: np.ndarray | float, batch: np.ndarray | float, momentum: float = 0.99
) -> np.ndarray | float:
    """Update a moving mean or variance by that of a batch.

    Parameters
    ----------
    moving, batch : ndarray of float, shape (channels,), or float
        The average so far, and the value of the batch.
    momentum : float
        Weight of the average so far, from 0 to 1. The default is Keras's.

    Returns
    -------
    ndarray, shape (channels,), or float

    Notes
    -----
    Keras's update: no bias correction, and a variance divided by N. Section 3.1 of [5]_ also
    averages, but over variances divided by N - 1.
    """
    moving, batch = _fitting(moving=moving, batch=batch)
    return momentum * moving + (1 - momentum) * batch


@checked
def batch_norm_gradient(
    dy: np.ndarray, x: np.ndarray, gamma: np.ndarray, epsilon: float = 1e-3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Backpropagate a gradient through batch normalisation in training.

    Parameters
    ----------
    dy, x : ndarray of float, shape (..., channels)
        The gradient of the output, and the input.
    gamma : ndarray of float, shape (channels,)
        Scale.
    epsilon : float
        As for `batch_norm`.

    Returns
    -------
    dx : ndarray, of the shape of `x`
        `x` also changes the batch's mean and variance, hence the two subtracted means.
    dgamma, dbeta : ndarray, shape (channels,)

    Notes
    -----
    The chain rule of section 3 of [5]_, gathered into one line.
    """
    dy, x = _fitting(1, dy=dy, x=x)
    if dy.shape != x.shape:
        raise ValueError(f"dy must have the shape of x, {x.shape}, got {dy.shape}")
    gamma, _ = _fitting(gamma=gamma, x=x)
    axes = tuple(range(np.ndim(x) - 1))
    mean, variance = batch_moments(x)
    deviation = np.sqrt(variance + epsilon)
    normal = (x - mean) / deviation
    shares = dy - dy.mean(axis=axes) - normal * (dy * normal).mean(axis=axes)
    return gamma / deviation * shares, (dy * normal).sum(axis=axes), dy.sum(axis=axes)


# --- Softmax and losses, one value for each sample ----------------------------------------


@checked
def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits into probabilities along the last axis.

    Parameters
    ----------
    logits : ndarray of float, shape (..., classes)

    Returns
    -------
    ndarray, shape (..., classes)
        From 0 to 1, summing to 1.

    Notes
    -----
    Section 6.2.2.3 of [2]_; the largest logit is subtracted first, so that nothing overflows.
    """
    (logits,) = _fitting(1, logits=logits)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@checked
def softmax_gradient(dp: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Backpropagate a gradient from softmax's probabilities to the logits.

    Parameters
    ----------
    dp, probabilities : ndarray of float, shape (..., classes)
        The gradient, and the output of `softmax`.

    Returns
    -------
    ndarray, shape (..., classes)

    Notes
    -----
    From ``dp_i / dz_j = p_i ((i == j) - p_j)``, the derivative of `softmax`.
    """
    dp, probabilities = _fitting(1, dp=dp, probabilities=probabilities)
    return probabilities * (dp - (dp * probabilities).sum(axis=-1, keepdims=True))


@checked
def cross_entropy(
    target: np.ndarray, probabilities: np.ndarray, epsilon: float = 1e-7
) -> np.ndarray:
    """Compute the cross-entropy of probabilities as Keras does when it has no logits.

    Keras first divides by the sum, then clips to ``[epsilon, 1 - epsilon]``: no loss exceeds
    ``-log(epsilon)``, about 16.1.

    Parameters
    ----------
    target : ndarray of float, shape (..., classes)
        One-hot, or probabilities that sum to 1.
    probabilities : ndarray of float, shape (..., classes)
        At least 0; they need not sum to 1.
    epsilon : float
        Above 0 and below 0.5. The default is Keras's.

    Returns
    -------
    ndarray, shape (...)
        One value for each sample, from 0 to ``-log(epsilon)``.

    Notes
    -----
    Section 3.13 of [2]_, for discrete distributions; the clipping is that of [6]_.
    """
    target, probabilities = _fitting(1, target=target, probabilities=probabilities)
    shares = probabilities / probabilities.sum(axis=-1, keepdims=True)
    return -(target * np.log(np.clip(shares, epsilon, 1 - epsilon))).sum(axis=-1)


@checked
def cross_entropy_gradient(
    target: np.ndarray, probabilities: np.ndarray, epsilon: float = 1e-7
) -> np.ndarray:
    """Compute the gradient of `cross_entropy` with respect to the probabilities.

    A clipped probability has gradient 0. If the class of a one-hot target is clipped, the gradient
    is therefore exactly 0 for every class: such a sample teaches nothing.

    Parameters
    ----------
    target, probabilities, epsilon
        As for `cross_entropy`.

    Returns
    -------
    ndarray, shape (..., classes)

    Notes
    -----
    The chain rule through the logarithm, the clipping and the division by the sum of [6]_.
    """
    target, probabilities = _fitting(1, target=target, probabilities=probabilities)
    total = probabilities.sum(axis=-1, keepdims=True)
    shares = probabilities / total
    inside = (shares >= epsilon) & (shares <= 1 - epsilon)
    slope = np.where(inside, -target / np.where(inside, shares, 1), 0)
    return (slope - (slope * shares).sum(axis=-1, keepdims=True)) / total


@checked
def cross_entropy_from_logits(target: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Compute the cross-entropy of ``softmax(logits)``, exact however large the logits are.

    Parameters
    ----------
    target : ndarray of float, shape (..., classes)
        One-hot, or probabilities; they must sum to 1.
    logits : ndarray of float, shape (..., classes)

    Returns
    -------
    ndarray, shape (...)
        One value for each sample, at least 0.

    Notes
    -----
    Section 6.2.2.3 of [2]_, where the logarithm undoes the exponential.
    """
    target, logits = _fitting(1, target=target, logits=logits)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return -(target * log_probabilities).sum(axis=-1)


@checked
def cross_entropy_from_logits_gradient(target: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Compute the gradient of `cross_entropy_from_logits`: prediction minus target.

    Parameters
    ----------
    target, logits : ndarray of float, shape (..., classes)
        As for `cross_entropy_from_logits`.

    Returns
    -------
    ndarray, shape (..., classes)

    Notes
    -----
    The derivative of `cross_entropy_from_logits`, where a target sums to 1.
    """
    target, logits = _fitting(1, target=target, logits=logits)
    return softmax(logits) - target


@checked
def squared_error(target: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Average the squared differences over the last axis, as Keras does.

    Parameters
    ----------
    target, output : ndarray of float, shape (..., outputs)

    Returns
    -------
    ndarray, shape (...)
        One value for each sample, at least 0.

    Notes
    -----
    The mean squared error of section 5.1.4 of [2]_, for a single sample.
    """
    target, output = _fitting(1, target=target, output=output)
    return ((output - target) ** 2).mean(axis=-1)


@checked
def squared_error_gradient(target: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Compute the gradient of `squared_error` with respect to the output.

    After a softmax, ``softmax_gradient(squared_error_gradient(target, p), p)`` leads on to the
    logits; it vanishes where a probability is confidently right *or* confidently wrong.

    Parameters
    ----------
    target, output : ndarray of float, shape (..., outputs)
        As for `squared_error`.

    Returns
    -------
    ndarray, shape (..., outputs)

    Notes
    -----
    The derivative of `squared_error`.
    """
    target, output = _fitting(1, target=target, output=output)
    return 2 * (output - target) / output.shape[-1]
