"""The paper's convolutional encoder: a ResNet."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from skipvae.encoders.base import Encoder
from skipvae.nn.image_checks import check_image_shape, image_size
from skipvae.nn.initialization import he_normal
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian


class ResidualBlock(nn.Module):
    """relu(shortcut(x) + f(x)), f two 3 x 3 convolutions with batch norm.

    Args:
        in_channels: channels of x.
        out_channels: channels of the result; where they differ, the shortcut is a 1 x 1 convolution.

    Source: He, Zhang, Ren & Sun 2016 (arXiv:1512.03385).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),  # batch norm has the bias
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels, H, W) to (B, out_channels, H, W)."""
        return (self.residual(x) + self.shortcut(x)).relu_()  # type: ignore[no-any-return]


class ResNetEncoder(Encoder):
    """Residual blocks, each followed by a 2 x 2 convolution of stride 2, then linear to mean and log-variance.

    The authors' image encoder: three blocks of 64 channels, 28 -> 14 -> 7 -> 3. Batch norm makes the posterior of an
    image depend on its batch in training; that of `VAE.infer` never does.

    Args:
        latent_dim: size K of z.
        image_shape: (C, H, W).
        channels: channels of each block.

    Raises:
        ValueError: if there are no blocks, or more than the image can be halved.

    Source: Dieng et al. 2019 (arXiv:1807.04863), section 4.

    Example:
        >>> import torch
        >>> ResNetEncoder(latent_dim=2, channels=[4, 8])(torch.zeros(3, 1, 28, 28)).mean.shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        latent_dim: int = 20,
        image_shape: Sequence[int] = (1, 28, 28),
        channels: Sequence[int] = (64, 64, 64),
    ) -> None:
        super().__init__()
        image_channels, height, width = image_size(image_shape)
        self.latent_dim = latent_dim
        self.image_shape = (image_channels, height, width)
        halvings = 2 ** len(channels)
        if not channels or min(height, width) < halvings:
            raise ValueError(
                f"{len(channels)} blocks, each of which halves the image, do not fit {height} x {width}: "
                "give channels fewer entries, at least one"
            )
        blocks: list[nn.Module] = []
        for before, after in pairwise([image_channels, *channels]):
            blocks += [ResidualBlock(before, after), nn.Conv2d(after, after, 2, stride=2)]
        self.blocks = nn.Sequential(*blocks)
        features = channels[-1] * (height // halvings) * (width // halvings)
        self.output = nn.Linear(features, 2 * latent_dim)
        he_normal(self)

    def forward(self, x: Tensor) -> DiagonalGaussian:
        """q(z|x), parameters (B, K), for x (B, C, H, W)."""
        check_image_shape(x, self.image_shape)
        return DiagonalGaussian.from_parameters(self.output(self.blocks(x).flatten(1)))
