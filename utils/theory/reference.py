"""The layers and losses of the course in plain NumPy, to be read rather than to be fast.

Everything is written as its definition says, one window at a time, and keeps the dtype it is
given. Images are ``(n, height, width, channels)``; ``dy`` is the gradient of some loss with
respect to a layer's output ``y``, and a function named ``..._gradient`` takes it back to what
went in. Values and gradients equal those of Keras on TensorFlow.
"""

import numpy as np

from utils.theory.arithmetic import output_size, padding_widths, transposed_output_size

# --- Windows ------------------------------------------------------------------------------


def _windows(size, kernel, stride, padding, dilation):
    """Lay out the windows of a layer over the padded input.

    Returns every window as (output row, output column, input rows, input columns), the size
    of the output, and the widths of the padding on both axes.
    """
    axes, widths = [], []
    for cells, taps in zip(size, kernel, strict=True):
        count = output_size(cells, taps, stride, padding, dilation)
        reach = dilation * (taps - 1) + 1
        starts = range(0, count * stride, stride)
        axes.append([slice(start, start + reach, dilation) for start in starts])
        widths.append(padding_widths(cells, taps, stride, padding, dilation))
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


# --- Convolution --------------------------------------------------------------------------


def conv2d(x, kernel, bias=None, stride=1, padding="valid", dilation=1):
    """Convolve images with kernels (as networks do: without flipping them).

    Parameters
    ----------
    x : ndarray, shape (n, height, width, channels_in)
    kernel : ndarray, shape (kernel_height, kernel_width, channels_in, filters)
    bias : ndarray, shape (filters,), optional
    stride, dilation : int
        The same on both axes.
    padding : {"valid", "same", "full"}, int or (int, int)
        See `utils.arithmetic.padding_widths`; the same on both axes.

    Returns
    -------
    ndarray, shape (n, output_height, output_width, filters)
    """
    kernel = _check("kernel", kernel, *_ANY)
    x = _check("x", x, None, None, None, kernel.shape[2])
    windows, size, widths = _windows(x.shape[1:3], kernel.shape[:2], stride, padding, dilation)
    padded = _pad(x, widths)
    y = np.zeros((len(x), *size, kernel.shape[3]), x.dtype)
    for i, j, rows, columns in windows:
        y[:, i, j] = np.tensordot(padded[:, rows, columns], kernel, axes=3)
    return y if bias is None else y + bias


def conv2d_input_gradient(dy, kernel, size, stride=1, padding="valid", dilation=1):
    """Take a gradient back through `conv2d` to its input of the height and width `size`.

    Each output hands its gradient to the cells of its window, weighted by the kernel.
    """
    kernel = _check("kernel", kernel, *_ANY)
    windows, shape, widths = _windows(size, kernel.shape[:2], stride, padding, dilation)
    dy = _check("dy", dy, None, *shape, kernel.shape[3])
    dx = _pad(np.zeros((len(dy), *size, kernel.shape[2]), dy.dtype), widths)
    for i, j, rows, columns in windows:
        dx[:, rows, columns] += np.tensordot(dy[:, i, j], kernel, axes=(1, 3))
    return _crop(dx, size, widths)


def conv2d_kernel_gradient(dy, x, kernel_size, stride=1, padding="valid", dilation=1):
    """Take a gradient back through `conv2d` to the kernel and the bias.

    Returns
    -------
    dkernel : ndarray, shape (*kernel_size, channels_in, filters)
        Summed over all windows and images, because they share the kernel.
    dbias : ndarray, shape (filters,)
    """
    x = _check("x", x, *_ANY)
    windows, shape, widths = _windows(x.shape[1:3], kernel_size, stride, padding, dilation)
    dy = _check("dy", dy, len(x), *shape, None)
    padded = _pad(x, widths)
    dkernel = np.zeros((*kernel_size, x.shape[3], dy.shape[3]), dy.dtype)
    for i, j, rows, columns in windows:
        dkernel += np.tensordot(padded[:, rows, columns], dy[:, i, j], axes=(0, 0))
    return dkernel, dy.sum(axis=(0, 1, 2))


def conv2d_transpose(
    x, kernel, bias=None, stride=1, padding="valid", dilation=1, output_padding=None
):
    """Apply a transposed convolution: `conv2d`'s input gradient, used as a layer.

    Parameters
    ----------
    x : ndarray, shape (n, height, width, channels_in)
    kernel : ndarray, shape (kernel_height, kernel_width, filters, channels_in)
        In Keras's layout, the last two axes the other way round than for `conv2d`: it is the
        kernel of the convolution that leads from `filters` channels to `channels_in`.
    bias, stride, padding, dilation
        As for `conv2d`.
    output_padding : int, optional
        See `utils.arithmetic.transposed_output_size`.

    Returns
    -------
    ndarray, shape (n, output_height, output_width, filters)
    """
    x, kernel = _check("x", x, *_ANY), _check("kernel", kernel, *_ANY)
    size = [
        transposed_output_size(cells, taps, stride, padding, dilation, output_padding)
        for cells, taps in zip(x.shape[1:3], kernel.shape[:2], strict=True)
    ]
    y = conv2d_input_gradient(x, kernel, size, stride, padding, dilation)
    return y if bias is None else y + bias


def conv_matrix(kernel, size, stride=1, padding="valid", dilation=1):
    """Write a convolution without bias, for one image, as a matrix.

    Its columns are the responses to images with a single 1, which tells all of a linear map.

    Returns
    -------
    ndarray, shape (output cells * filters, height * width * channels_in)
        ``matrix @ x.ravel()`` is `conv2d`, ``matrix.T @ dy.ravel()`` is its input gradient
        and its transposed convolution.
    """
    kernel = _check("kernel", kernel, *_ANY)
    cells = size[0] * size[1] * kernel.shape[2]
    images = np.eye(cells, dtype=kernel.dtype).reshape(cells, *size, kernel.shape[2])
    return conv2d(images, kernel, None, stride, padding, dilation).reshape(cells, -1).T


# --- Pooling ------------------------------------------------------------------------------


def _pool_windows(x, pool, stride, padding):
    if padding not in ("valid", "same"):
        raise ValueError(f'padding must be "valid" or "same" for pooling, got {padding!r}')
    stride = pool if stride is None else stride
    return _windows(x.shape[1:3], (pool, pool), stride, padding, 1)


def max_pool(x, pool=2, stride=None, padding="valid"):
    """Keep the largest value of each window of `pool` by `pool` cells; padding never wins.

    The stride is `pool` unless given. Shapes are those of `conv2d`, channel by channel.
    """
    x = _check("x", x, *_ANY)
    windows, size, widths = _pool_windows(x, pool, stride, padding)
    padded = _pad(x, widths, -np.inf)
    y = np.zeros((len(x), *size, x.shape[3]), x.dtype)
    for i, j, rows, columns in windows:
        y[:, i, j] = padded[:, rows, columns].max(axis=(1, 2))
    return y


def max_pool_gradient(dy, x, pool=2, stride=None, padding="valid"):
    """Take a gradient back through `max_pool`: to the largest cell of each window alone.

    Of equal cells the first takes it all, row by row, as in TensorFlow on a CPU.
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


def average_pool(x, pool=2, stride=None, padding="valid"):
    """Average each window of `pool` by `pool` cells, over its real cells only."""
    x = _check("x", x, *_ANY)
    windows, size, widths = _pool_windows(x, pool, stride, padding)
    padded, real = _pad(x, widths), _pad(np.ones_like(x), widths)
    y = np.zeros((len(x), *size, x.shape[3]), x.dtype)
    for i, j, rows, columns in windows:
        cells = real[:, rows, columns].sum(axis=(1, 2))
        y[:, i, j] = padded[:, rows, columns].sum(axis=(1, 2)) / cells
    return y


def average_pool_gradient(dy, x, pool=2, stride=None, padding="valid"):
    """Take a gradient back through `average_pool`: an equal share to each real cell."""
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


def relu(x, slope=0.0):
    """Keep what is positive and multiply the rest by `slope` (leaky ReLU if not 0)."""
    return np.where(x > 0, x, slope * x)


def relu_gradient(dy, x, slope=0.0):
    """Take a gradient back through `relu`; at exactly 0 it is multiplied by `slope`."""
    return np.where(x > 0, dy, slope * dy)


def dropout_mask(shape, rate, rng):
    """Draw which values stay: True with the probability ``1 - rate``, by a NumPy Generator."""
    return rng.random(shape) >= rate


def dropout(x, rate, mask):
    """Zero what the mask drops, and scale the rest by ``1 / (1 - rate)``.

    The scaling keeps the mean as it was, so that at inference nothing remains to be done.
    Dropout is linear for a given mask: its gradient is ``dropout(dy, rate, mask)``.

    Parameters
    ----------
    x : ndarray
    rate : float
        Probability of being dropped, from 0 up to but not 1.
    mask : ndarray of bool, of the shape of `x`
        True where a value stays; see `dropout_mask`.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be at least 0 and below 1, got {rate!r}")
    return np.where(mask, x / (1 - rate), np.zeros_like(x))


def batch_norm(x, gamma, beta, mean, variance, epsilon=1e-3):
    """Normalise each channel (the last axis) by a given mean and variance, as at inference.

    In training they are those of the batch: ``batch_norm(x, gamma, beta, *batch_moments(x))``.
    """
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def batch_moments(x):
    """Give each channel's mean and variance (divided by N, not N - 1) over all other axes."""
    axes = tuple(range(np.ndim(x) - 1))
    return x.mean(axis=axes), x.var(axis=axes)


def moving_average(moving, batch, momentum=0.99):
    """Update a moving mean or variance by that of a batch."""
    return momentum * moving + (1 - momentum) * batch


def batch_norm_gradient(dy, x, gamma, epsilon=1e-3):
    """Take a gradient back through batch normalisation in training.

    Returns
    -------
    dx : ndarray, of the shape of `x`
        `x` also moves the batch's mean and variance; the two subtracted means say how.
    dgamma, dbeta : ndarray, shape (channels,)
    """
    axes = tuple(range(np.ndim(x) - 1))
    mean, variance = batch_moments(x)
    deviation = np.sqrt(variance + epsilon)
    normal = (x - mean) / deviation
    shares = dy - dy.mean(axis=axes) - normal * (dy * normal).mean(axis=axes)
    return gamma / deviation * shares, (dy * normal).sum(axis=axes), dy.sum(axis=axes)


# --- Softmax and losses, one value for each sample ----------------------------------------


def softmax(logits):
    """Turn logits into probabilities along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def softmax_gradient(dp, probabilities):
    """Take a gradient with respect to softmax's probabilities back to the logits."""
    return probabilities * (dp - (dp * probabilities).sum(axis=-1, keepdims=True))


def cross_entropy(target, probabilities, epsilon=1e-7):
    """Give the cross-entropy of probabilities as Keras does when it sees no logits.

    Keras first divides by the sum, then clips to ``[epsilon, 1 - epsilon]``: no loss passes
    ``-log(epsilon)``, about 16.1.

    Parameters
    ----------
    target, probabilities : ndarray, shape (..., classes)

    Returns
    -------
    ndarray, shape (...)
    """
    shares = probabilities / probabilities.sum(axis=-1, keepdims=True)
    return -(target * np.log(np.clip(shares, epsilon, 1 - epsilon))).sum(axis=-1)


def cross_entropy_gradient(target, probabilities, epsilon=1e-7):
    """Give `cross_entropy`'s gradient with respect to the probabilities.

    A clipped share has no slope. With a one-hot target whose class is clipped, the gradient
    is therefore exactly 0 for every class: such a sample teaches nothing.
    """
    total = probabilities.sum(axis=-1, keepdims=True)
    shares = probabilities / total
    inside = (shares >= epsilon) & (shares <= 1 - epsilon)
    slope = np.where(inside, -target / np.where(inside, shares, 1), 0)
    return (slope - (slope * shares).sum(axis=-1, keepdims=True)) / total


def cross_entropy_from_logits(target, logits):
    """Give the cross-entropy of ``softmax(logits)``, exact however large the logits are.

    Each target must sum to 1.
    """
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return -(target * log_probabilities).sum(axis=-1)


def cross_entropy_from_logits_gradient(target, logits):
    """Give `cross_entropy_from_logits`'s gradient: what was predicted less what was wanted."""
    return softmax(logits) - target


def squared_error(target, output):
    """Average the squared differences over the last axis, as Keras does."""
    return ((output - target) ** 2).mean(axis=-1)


def squared_error_gradient(target, output):
    """Give `squared_error`'s gradient with respect to the output.

    Behind a softmax, ``softmax_gradient(squared_error_gradient(target, p), p)`` leads on to
    the logits; it vanishes where a probability is confidently right *or* confidently wrong.
    """
    return 2 * (output - target) / output.shape[-1]
