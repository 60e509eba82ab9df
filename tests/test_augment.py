"""Shifted images, against moving them one by one."""

import torch
from scipy import ndimage

from mnist_lab.data.augment import shift


def test_every_image_is_moved_by_its_own_move():
    images = torch.randint(256, (25, 1, 28, 28), dtype=torch.uint8)
    moves = torch.cartesian_prod(torch.arange(-2, 3), torch.arange(-2, 3))  # down, right
    moved = shift(images, moves, most=2)
    assert moved.dtype == torch.uint8
    for image, move, found in zip(images[:, 0], moves.tolist(), moved[:, 0], strict=True):
        assert (found.numpy() == ndimage.shift(image.numpy(), move, order=0, cval=0)).all()
    assert torch.equal(shift(images, 0 * moves, most=0), images)
    assert torch.equal(shift(images, moves, most=14), moved)
