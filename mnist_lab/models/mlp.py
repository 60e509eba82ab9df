"""Multilayer perceptron, with dropout."""

from typing import Any, final

from jaxtyping import Float
from torch import Tensor, nn

from mnist_lab.models.classifier import NOT_STORED, NUM_PIXELS, Classifier
from mnist_lab.models.dropout import Dropout
from mnist_lab.models.layers import init_weights


@final
class MLP(Classifier):
    """784 - width, `depth` times - classes, with ReLU and then dropout after each hidden layer."""

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        dropout: float,
        init: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.save_hyperparameters(ignore=NOT_STORED, logger=False)
        layers: list[nn.Module] = [nn.Flatten()]  # (n, 784)
        for num_inputs in [NUM_PIXELS] + [width] * (depth - 1):
            layers += [
                nn.Linear(num_inputs, width),  # (n, width)
                nn.ReLU(inplace=True),
                Dropout(dropout),
            ]
        self.layers = nn.Sequential(*layers, nn.Linear(width, self.num_classes))  # (n, classes)
        init_weights(self, init)

    def forward(self, images: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n classes"]:
        return self.layers(images)  # type: ignore[no-any-return]
