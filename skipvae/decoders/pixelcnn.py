"""The paper's autoregressive image decoder: a Gated PixelCNN, with or without generative skips; or without z."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skipvae.decoders.pixel_by_pixel import PixelByPixelDecoder, check_odd
from skipvae.decoders.pixelcnn_sampling import draw_gated
from skipvae.likelihoods import Likelihood
from skipvae.nn.choices import check_choice
from skipvae.nn.gated_conv import LAYER_KINDS, GatedLayer, LayerKind, with_maps
from skipvae.nn.initialization import he_normal
from skipvae.nn.masked_conv import HorizontalConv2d, channel_ranks

MAX_NUM_LAYERS = 10_000
"""More would be an attempt of a checkpoint to fill the memory."""


class GatedPixelCNNDecoder(PixelByPixelDecoder):
    """p(x|z) = prod_i p(x_i | x_1..x_(i-1), z), pixel by pixel: row by row, left to right, channel by channel.

        v(1), h(1) = layer_1(x, x, maps_1(z))
        v(l), h(l) = layer_l(v(l-1), h(l-1) [, maps_l(z)]),   l = 2..L
        parameters = output(h(L) [, maps_(L+1)(z)])

    The layers are `GatedLayer`s; maps_l(z) are images that are linear in z and concatenated to the input. The brackets
    are the generative skip, which is all that `skip` switches. `latent_dim=0` is the Gated PixelCNN without z.

    The parameters are those of `likelihood`. In colour the features are divided among the channels, and the parameters
    of a channel depend on the channels of the pixel before it. Where the likelihood couples the channels itself
    (`DiscretizedLogistic(coupled=True)`), the pixel is one step, for which all features are there.

    `layer` chooses between our layer and the published ones, see `GatedLayer`. "shifted_once" sees every earlier pixel
    that is near enough; "published", the authors', sees further up but not to the right, and its shortcut is learned
    and sees z; "kim2018" is the same with the identity as shortcut, and the authors' baseline without z. With eight
    layers and kernel 3, the logit of pixel (20, 14) of 28 x 28 depends on 162 of the 574 earlier pixels by
    "shifted_once" and on 253 by the others.

    Measured by us with 8 layers of 16 channels on 5,000 MNIST images, 5 epochs, one seed (-ELBO / KL / MI in nats; VAE,
    SKIP-VAE, without z): published 97.4 / 3.90 / 2.54, 95.8 / 4.38 / 3.08, 101.9; shifted_once 93.4 / 2.83 / 1.86,
    91.9 / 2.89 / 2.09, 97.1. So the second is the better model of images, and the first uses z more.

    Without skips the very first pixel does not depend on z: the first layer has mask A, which hides the pixel itself of
    the latent maps, too.

    Args:
        latent_dim: size K of z, or 0 for a model without z.
        image_shape: (C, H, W).
        channels: features of each stack; a list gives each layer its own number.
        num_layers: number L of gated layers.
        kernel_size: k of the k x k kernel before masking, odd; a list gives each layer its own.
        latent_maps: number of latent maps at each place where z enters.
        skip: whether z reaches every layer.
        layer: "shifted_once"; "published" and "kim2018" take images of one channel.
        likelihood: of the pixels, see `skipvae.likelihoods`; Bernoulli if not given. For colour `Categorical`, or
            `DiscretizedLogistic` with `coupled`.

    Raises:
        ValueError: if a kernel size is even or larger than the image, a list has not one entry for each layer, there
            are fewer features than image channels, there is a skip without z, or the layer is unknown.

    Source: Dieng et al. 2019 (arXiv:1807.04863), section 4; van den Oord et al. 2016 (arXiv:1606.05328).

    Example:
        >>> import torch
        >>> decoder = GatedPixelCNNDecoder(latent_dim=2, image_shape=(1, 8, 8), channels=4, num_layers=2, skip=True)
        >>> decoder.log_prob(torch.zeros(3, 1, 8, 8), torch.zeros(3, 2)).shape, decoder.sample(torch.zeros(3, 2)).shape
        (torch.Size([3]), torch.Size([3, 1, 8, 8]))
    """

    layers: nn.ModuleList
    output: HorizontalConv2d

    def __init__(
        self,
        latent_dim: int = 20,
        image_shape: Sequence[int] = (1, 28, 28),
        channels: int | list[int] = 32,
        num_layers: int = 8,
        kernel_size: int | list[int] = 3,
        latent_maps: int = 1,
        skip: bool = False,
        layer: LayerKind = "shifted_once",
        likelihood: Likelihood | None = None,
    ) -> None:
        widths = _per_layer("channels", channels, num_layers)
        kernel_sizes = _per_layer("kernel_size", kernel_size, num_layers)
        check_choice("layer", layer, LAYER_KINDS)
        super().__init__(latent_dim, image_shape, num_layers, latent_maps, skip, likelihood)
        image_channels, height, width = self.image_shape
        check_odd("kernel_size", kernel_sizes)
        if (size := max(kernel_sizes)) > min(height, width):
            raise ValueError(f"kernel_size {size} is larger than the {height} x {width} image: take a smaller one")
        if min(widths) < image_channels:
            raise ValueError(f"channels must be at least the {image_channels} channels of the image, not {min(widths)}")
        if layer != "shifted_once" and image_channels > 1:
            raise ValueError(
                f"layer={layer} takes images of one channel, not {image_channels}: take layer=shifted_once"
            )

        self.passes = passes = 1 if self.likelihood.joint else image_channels  # those that a pixel is drawn by
        layers = list[GatedLayer]()
        in_channels, num_maps = image_channels, self.latent_maps  # the first layer sees the image and z,
        for out_channels, size in zip(widths, kernel_sizes, strict=True):
            first = not layers
            layers.append(GatedLayer(in_channels, out_channels, num_maps, size, passes, first, kind=layer))
            in_channels, num_maps = out_channels, self.skip_maps  # further ones features, and z by skips alone
        self.layers = nn.ModuleList(layers)
        out_ranks = torch.arange(passes).repeat(self.num_parameters // passes)  # in the order of `Likelihood`
        self.output = HorizontalConv2d(channel_ranks(in_channels, passes, num_maps), out_ranks)
        he_normal(self)

    def logits(self, x: Tensor | None, z: Tensor | None) -> Tensor:
        """The parameters of the likelihood of each pixel given those before it, (B, P, H, W)."""
        assert x is not None
        *maps, output_maps = self.latent_maps_of(z)
        v = h = x
        for layer, layer_maps in zip(self.layers, maps, strict=True):
            v, h = layer(v, h, layer_maps)
        return self.output(with_maps(h, output_maps))  # type: ignore[no-any-return]

    def draw(self, maps: list[Tensor | None], uniform: Tensor) -> Tensor:
        """See `PixelByPixelDecoder.draw`."""
        return draw_gated(self, maps, uniform)  # type: ignore[arg-type]


def _per_layer(name: str, value: int | list[int], num_layers: int) -> list[int]:
    if not 1 <= num_layers <= MAX_NUM_LAYERS:
        raise ValueError(f"num_layers={num_layers} must be in 1..{MAX_NUM_LAYERS}")
    values = [value] * num_layers if isinstance(value, int) else list(value)
    if len(values) != num_layers:
        raise ValueError(f"{name} has {len(values)} entries for num_layers={num_layers}: give one for each layer")
    return values
