"""Multilayer perceptron with batch normalisation, and noise on what it sees in training."""

from typing import Any, final

from jaxtyping import Float
from torch import Tensor, nn

from mnist_lab.models.classifier import NOT_STORED, NUM_PIXELS, Classifier
from mnist_lab.models.dropout import Dropout
from mnist_lab.models.layers import BatchNorm, Noise, init_weights


@final
class BatchNormMLP(Classifier):
    """784 - width, `depth` times - classes; batch normalisation, ReLU, dropout after each layer.

    Source: Ioffe & Szegedy 2015, "Batch Normalization", section 3.2, before the nonlinearity; noise
    in all layers as in the baseline of Rasmus et al. 2015, "Semi-supervised learning with ladder
    networks", section 4.1.

    Args:
        noise: standard deviation of the Gaussian noise that is added, in training alone, to the
            pixels (0..1) and to what each batch normalisation gives (of deviation 1).
    """

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        dropout: float,
        noise: float,
        init: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.save_hyperparameters(ignore=NOT_STORED, logger=False)
        layers: list[nn.Module] = [nn.Flatten(), Noise(noise)]  # (n, 784)
        for num_inputs in [NUM_PIXELS] + [width] * (depth - 1):
            layers += [
                nn.Linear(num_inputs, width, bias=False),  # (n, width)
                BatchNorm(width),
                Noise(noise),
                nn.ReLU(inplace=True),
                Dropout(dropout),
            ]
        self.layers = nn.Sequential(*layers, nn.Linear(width, self.num_classes))  # (n, classes)
        init_weights(self, init)

    def forward(self, images: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n classes"]:
        return self.layers(images)  # type: ignore[no-any-return]
