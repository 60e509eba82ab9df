"""Softmax regression."""

from typing import Any, final

from jaxtyping import Float
from torch import Tensor, nn

from mnist_lab.models.classifier import NOT_STORED, NUM_PIXELS, Classifier
from mnist_lab.models.layers import init_weights


@final
class Linear(Classifier):
    """784 - classes: what a network without hidden layers can do."""

    def __init__(self, *, init: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.save_hyperparameters(ignore=NOT_STORED, logger=False)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(NUM_PIXELS, self.num_classes))
        init_weights(self, init)

    def forward(self, images: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n classes"]:
        return self.layers(images)  # type: ignore[no-any-return]
