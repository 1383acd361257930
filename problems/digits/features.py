"""Columns of the request to columns of the model: the one feature code of training and serving. Numpy only.

The models see the image alone. The other numbers describe it for people: the monitor watches them
(`monitor.statistics`), so that a drift has a name, such as slant.
"""

import numpy as np

from core.columns import Columns

SIDE, WHITE = 28, 255.0  # pixels; the brightest grey level
NO_INK = 1e-6  # keeps an empty image from a division by zero


def features(columns: Columns) -> Columns:
    """Add `image`, shape (n, 784) from 0 to 1, and the statistics, shape (n,) each, to the request's columns."""
    image = np.clip(columns["pixels"] / WHITE, 0, 1).astype(np.float32)
    return columns | {"prediction_time": columns["arrived_at"], "image": image} | statistics(image)


def statistics(image: np.ndarray) -> Columns:
    """What can be said of an image, shape (n, 784), in a few numbers.

    ink, contrast: mean and standard deviation of the pixels. centre_x, centre_y: the ink's centre of mass, pixels to
    the right of and below the middle. spread: root mean square distance of the ink from its centre, pixels. slant: how
    many pixels to the right the ink moves for each pixel upwards.
    """
    mass = image.sum(axis=1) + NO_INK
    row, column = (place.ravel() - (SIDE - 1) / 2 for place in np.indices((SIDE, SIDE)))
    x, y = image @ column / mass, image @ row / mass
    xx, yy = image @ column**2 / mass - x**2, image @ row**2 / mass - y**2
    xy = image @ (row * column) / mass - x * y
    return {
        "ink": image.mean(axis=1),
        "contrast": image.std(axis=1),
        "centre_x": x,
        "centre_y": y,
        "spread": np.sqrt(np.maximum(xx + yy, 0)),
        "slant": -xy / np.maximum(yy, NO_INK),
    }
