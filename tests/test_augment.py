"""Shifted images, against moving them one by one."""

import numpy as np
import torch
from scipy import ndimage

from mnist_lab.augment import shift


def test_every_image_is_moved_by_one_of_the_moves_each_as_often():
    image = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    image[0, 0, 3:26, 5:27] = torch.arange(1, 23, dtype=torch.uint8)
    image[0, 0, 10] = 99
    torch.manual_seed(0)
    moved = shift(image.repeat(5_000, 1, 1, 1), most=2).numpy()[:, 0]
    assert moved.dtype == np.uint8
    seen = {}
    for picture in moved:
        seen[picture.tobytes()] = seen.get(picture.tobytes(), 0) + 1
    expected = {
        ndimage.shift(image[0, 0].numpy(), (down, right), order=0, cval=0).tobytes()
        for down in range(-2, 3)
        for right in range(-2, 3)
    }
    assert seen.keys() == expected
    counts = np.array(list(seen.values()))  # 200 of each on average, sd 14
    assert len(counts) == 25
    assert ((counts - 200) ** 2 / 200).sum() < 51.2  # chi squared, 24 degrees of freedom, p = 0.001


def test_the_moves_are_those_of_the_seed():
    images = torch.randint(256, (64, 1, 28, 28), dtype=torch.uint8)
    torch.manual_seed(7)
    first, second = shift(images, most=3), shift(images, most=3)
    torch.manual_seed(7)
    assert torch.equal(shift(images, most=3), first)
    assert not torch.equal(first, second)
    assert torch.equal(shift(images, most=0), images)
