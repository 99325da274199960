"""Networks that more than one chapter uses; a chapter's own networks stand in its cells."""

from utils.quiet import quiet_native_stderr

with quiet_native_stderr():
    import keras
    from keras import layers


def net_single() -> keras.Sequential:
    """Build net-single: one convolution before each of three poolings.

    Returns
    -------
    keras.Sequential
        Not compiled; input (28, 28, 1), ten probabilities out, 93,322 parameters.

    Notes
    -----
    The first network of source S0 (see the ledger).
    """
    net = keras.Sequential([keras.Input((28, 28, 1))])
    for filters in (32, 64, 64):
        net.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        net.add(layers.MaxPooling2D(2))
        net.add(layers.Dropout(0.25))
    return _with_head(net, 64)


def net_stacked() -> keras.Sequential:
    """Build net-stacked: two convolutions before each of two poolings.

    Returns
    -------
    keras.Sequential
        Not compiled; input (28, 28, 1), ten probabilities out, 887,530 parameters.

    Notes
    -----
    The second network of source S0 (see the ledger).
    """
    net = keras.Sequential([keras.Input((28, 28, 1))])
    for filters, kernel in ((32, 5), (64, 3)):
        for _ in range(2):
            net.add(layers.Conv2D(filters, kernel, padding="same", activation="relu"))
        net.add(layers.MaxPooling2D(2))
        net.add(layers.Dropout(0.25))
    return _with_head(net, 256)


def _with_head(net: keras.Sequential, units: int) -> keras.Sequential:
    net.add(layers.Flatten())
    net.add(layers.Dense(units, activation="relu"))
    net.add(layers.Dropout(0.5))
    net.add(layers.Dense(10, activation="softmax"))
    return net
