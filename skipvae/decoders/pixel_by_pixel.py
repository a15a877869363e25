"""The common part of image decoders that generate pixel by pixel: how z enters, and sampling."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from skipvae.decoders.base import Decoder, ImageDecoder
from skipvae.likelihoods import Likelihood
from skipvae.nn.image_checks import image_size
from skipvae.skip import LatentMaps


class PixelByPixelDecoder(ImageDecoder):
    """p(x|z) = prod_i p(x_i | x_1..x_(i-1), z), by L layers of masked convolutions and an output convolution.

    z becomes `latent_maps` images, each linear in z, at the input of the first layer; with `skip`, further ones with
    weights of their own at the input of every layer and of the output. A subclass adds `output`, and the layers, whose
    latent maps `latent_maps_of` computes, and draws the pixels.

    Args:
        latent_dim: size K of z, or 0 for a model without z.
        image_shape: (C, H, W).
        num_layers: L.
        latent_maps: number of latent maps at each place where z enters.
        skip: whether z reaches every layer.
        likelihood: of the pixels, see `skipvae.likelihoods`; Bernoulli if not given.

    Attributes:
        num_parameters: of the likelihood of a pixel, P.

    Raises:
        ValueError: if there is a skip without z, or latent_maps is 0 with z.

    Source: Dieng et al. 2019 (arXiv:1807.04863), section 4.
    """

    maps: LatentMaps | None
    output: nn.Conv2d

    def __init__(
        self,
        latent_dim: int,
        image_shape: Sequence[int],
        num_layers: int,
        latent_maps: int,
        skip: bool,
        likelihood: Likelihood | None,
    ) -> None:
        super().__init__(likelihood)
        if latent_dim and latent_maps < 1:
            raise ValueError("latent_maps must be at least 1: z reaches the decoder through them")
        if skip and not latent_dim:
            raise ValueError("skip=True needs latent_dim >= 1: without z there is nothing to skip")
        self.image_shape = channels, height, width = image_size(image_shape)
        self.num_parameters = self.likelihood.num_parameters(channels)
        self.latent_dim, self.skip = latent_dim, skip
        self.latent_maps = latent_maps if latent_dim else 0
        self.skip_maps = self.latent_maps if skip else 0
        self.num_inputs = num_layers + 1  # those of the layers and of the output
        images = latent_maps * (self.num_inputs if skip else 1)
        self.maps = LatentMaps(latent_dim, images, height, width) if latent_dim else None

    def latent_maps_of(self, z: Tensor | None) -> list[Tensor | None]:
        """The latent maps at the input of each layer and of the output, (B, latent_maps, H, W) or None, of z (B, K)."""
        if self.maps is None:
            return [None] * self.num_inputs
        assert z is not None
        images = self.maps(z).split(self.latent_maps, dim=1)
        return [*images, *[None] * (self.num_inputs - len(images))]

    @abstractmethod
    def draw(self, maps: list[Tensor | None], uniform: Tensor) -> Tensor:
        """Images (B, C, H, W), each pixel by `Likelihood.draw`. Called in inference mode.

        Args:
            maps: the latent maps at the input of each layer and of the output, (B, latent_maps, H, W) or None.
            uniform: the noise, uniform on [0, 1), (B, U, H, W) with U = `Likelihood.num_uniforms(C)`.
        """

    def sample(
        self,
        z: Tensor | None = None,
        *,
        num_samples: int = 1,
        generator: torch.Generator | None = None,
        **options: object,
    ) -> Tensor:
        """x ~ p(x|z), one for each row of z (B, K): (B, C, H, W).

        The caches take about 1 MB for each image of the paper's size: sample very many in several batches. Batch norm,
        where there is any, uses its running statistics.

        Args:
            z: (B, K), or None if the model has no latent variables.
            num_samples: B where there is no z.
            generator: source of the noise, on the device of the model; the same seed gives the same images.
            **options: ignored; for other decoders.
        """
        like = self.output.weight
        channels, *size = self.image_shape
        shape = (num_samples if z is None else len(z), self.likelihood.num_uniforms(channels), *size)
        uniform = torch.rand(shape, generator=generator, dtype=like.dtype, device=like.device)
        with torch.inference_mode(), torch.autocast(like.device.type, enabled=False):
            images = self.draw(self.latent_maps_of(z), uniform)
        return images.clone()  # a tensor made in inference mode could not be trained on

    def mean(self, z: Tensor | None) -> Tensor:
        """Raises a ValueError: pixels depend on those before, so the mean has no closed form."""
        return Decoder.mean(self, z)

    def preview(self, z: Tensor) -> Tensor:
        """A sample, the same at every call."""
        return self.sample(z, generator=torch.Generator(self.output.weight.device).manual_seed(0))


def check_odd(name: str, kernel_sizes: Iterable[int]) -> None:
    """Raises a ValueError unless all sizes are odd; `name` is the argument they come from."""
    for size in kernel_sizes:
        if size < 1 or size % 2 == 0:
            raise ValueError(f"{name} must be odd, so that a pixel is at its middle, not {size}")
