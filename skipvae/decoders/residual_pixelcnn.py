"""The image decoder of He et al. (2019): a residual PixelCNN without gates, with or without generative skips."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from skipvae.decoders.pixel_by_pixel import PixelByPixelDecoder, check_odd
from skipvae.decoders.residual_sampling import draw_residual
from skipvae.likelihoods import Likelihood
from skipvae.nn.gated_conv import with_maps
from skipvae.nn.initialization import he_normal_fan_out, xavier_uniform
from skipvae.nn.masked_conv import MaskedConv2d
from skipvae.nn.residual_conv import Bottleneck


class ResidualPixelCNNDecoder(PixelByPixelDecoder):
    """p(x|z) = prod_i p(x_i | x_1..x_(i-1), z), pixel by pixel, by N blocks of masked convolutions with batch norm.

        y_1 = ELU(norm(masked([x, maps(z)]))),   y_n = block_n(u_n [, maps_n(z)])
        u_2 = y_1,   u_3 = y_2,   u_n = y_(n-1) + connection_(n-3)(y_(n-3)),   u_(N+1) = y_N + connection_(N-2)(y_(N-2))
        parameters = output([ELU(norm(head(u_(N+1)))) [, maps(z)]])

    The brackets with z are the generative skip, which the published network does not have. In training log p(x|z)
    depends on the other images of the batch, through batch norm. The published network has 894,400 parameters (K = 32).

    Args:
        latent_dim: size K of z, or 0 for a model without z.
        image_shape: (1, H, W).
        channels: features of each block, even.
        kernel_sizes: k of the first convolution and of each further block, odd; N in all.
        latent_maps: number of latent maps at each place where z enters.
        skip: whether z reaches every block.
        likelihood: of the pixels, see `skipvae.likelihoods`; Bernoulli if not given.

    Raises:
        ValueError: if a kernel size is even, there are fewer than three blocks, the channels are odd, the images have
            several channels, or there is a skip without z.

    Source: He, Spokoyny, Neubig & Berg-Kirkpatrick 2019 (arXiv:1901.05534), and their published code.

    Example:
        >>> import torch
        >>> decoder = ResidualPixelCNNDecoder(2, (1, 6, 6), channels=4, kernel_sizes=[3, 3, 3], skip=True).eval()
        >>> decoder.log_prob(torch.zeros(3, 1, 6, 6), torch.zeros(3, 2)).shape, decoder.sample(torch.zeros(3, 2)).shape
        (torch.Size([3]), torch.Size([3, 1, 6, 6]))
    """

    def __init__(
        self,
        latent_dim: int = 32,
        image_shape: Sequence[int] = (1, 28, 28),
        channels: int = 64,
        kernel_sizes: Sequence[int] = (7, 7, 7, 7, 7, 5, 5, 5, 5, 3, 3, 3, 3),
        latent_maps: int = 4,
        skip: bool = False,
        likelihood: Likelihood | None = None,
    ) -> None:
        super().__init__(latent_dim, image_shape, len(kernel_sizes), latent_maps, skip, likelihood)
        check_odd("kernel_sizes", kernel_sizes)
        if len(kernel_sizes) < 3:
            raise ValueError(f"kernel_sizes has {len(kernel_sizes)} entries: give at least three, one for each block")
        if channels < 2 or channels % 2:
            raise ValueError(f"channels is {channels}: give an even number, since the blocks have half as many inside")
        if self.image_shape[0] != 1:
            raise ValueError(
                f"this decoder takes images of one channel, not {self.image_shape[0]}: take GatedPixelCNNDecoder"
            )
        self.first = MaskedConv2d(1, channels, kernel_sizes[0], num_maps=self.latent_maps, mask_type="A")
        self.first_norm = nn.BatchNorm2d(channels)
        self.blocks = nn.ModuleList(Bottleneck(channels, size, self.skip_maps) for size in kernel_sizes[1:])
        self.connections = nn.ModuleList(Bottleneck(channels, size) for size in kernel_sizes[1:-1])
        self.head, self.head_norm = nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
        self.output = nn.Conv2d(channels + self.skip_maps, self.num_parameters, 1, bias=False)
        for part in (self.first, self.blocks, self.connections):
            he_normal_fan_out(part)
        if self.maps is not None:
            xavier_uniform(self.maps)

    def logits(self, x: Tensor | None, z: Tensor | None) -> Tensor:
        """The parameters of the likelihood of each pixel given those before it, (B, P, H, W)."""
        assert x is not None
        first_maps, *maps, output_maps = self.latent_maps_of(z)
        y = [F.elu(self.first_norm(self.first(with_maps(x, first_maps))))]  # y_1, y_2, ...
        u = y[0]
        for n, (block, maps_n) in enumerate(zip(self.blocks, maps, strict=True), start=2):
            y.append(block(u, maps_n))
            u = y[-1] if n == 2 else y[-1] + self.connections[n - 3](y[-3])
        return self.output(with_maps(F.elu(self.head_norm(self.head(u))), output_maps))  # type: ignore[no-any-return]

    def draw(self, maps: list[Tensor | None], uniform: Tensor) -> Tensor:
        """See `PixelByPixelDecoder.draw`; by the running statistics of batch norm."""
        return draw_residual(self, maps, uniform)
