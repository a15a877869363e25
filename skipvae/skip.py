"""The idea of the paper: how the latent variable z reaches a layer of the decoder.

A deep generative model sees z once, h(l) = g_l(h(l-1)) with h(0) = z. A *generative skip model* gives z to every
layer, h(l) = g_l(h(l-1), z), and to the output (Dieng et al. 2019, section 3). A layer begins with a linear map, so
its skip is a linear image of z added before the nonlinearity:

    W_h h  ->  W_h h + W_z z

There are three ways to write that sum. `SkipLinear` adds it in dense layers (MLP layers, a vocabulary projection).
`LatentMaps` turns z into image planes that are concatenated to the input of a convolution, which adds W_z * maps(z).
`ResNetDecoder` adds one W_z z at all positions of a map.
With `latent_dim=0` a `SkipLinear` is an ordinary linear layer and has no weights for z.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SkipLinear(nn.Module):
    """W_h h + b_h [+ W_z z + b_z]: a linear layer with a generative skip from z.

    Args:
        in_features: size of h.
        out_features: size of the result.
        latent_dim: size K of z, or 0 for a layer without a skip.
        latent_bias: whether the skip has a bias b_z of its own, which is redundant but published for the MLP.
        bias: whether there is a bias b_h.

    Attributes:
        hidden: the linear layer of W_h and b_h.
        latent: that of W_z and b_z; None without a skip.

    Source: Dieng et al. 2019 (arXiv:1807.04863), section 3.

    Example:
        >>> SkipLinear(8, 4, latent_dim=2)(torch.zeros(3, 5, 8), torch.zeros(3, 2)).shape
        torch.Size([3, 5, 4])
    """

    def __init__(
        self, in_features: int, out_features: int, latent_dim: int, latent_bias: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_features, out_features, bias=bias)
        self.latent = nn.Linear(latent_dim, out_features, bias=latent_bias) if latent_dim else None

    def forward(self, h: Tensor, z: Tensor | None) -> Tensor:
        """W_h h + b_h [+ W_z z + b_z], (B, ..., out_features), for h (B, ..., in_features) and z (B, K)."""
        if self.latent is None:
            return self.hidden(h)  # type: ignore[no-any-return]
        base = self.base(z)  # once per example, also when h has a time axis
        if h.dim() == 2:
            return torch.addmm(base, h, self.hidden.weight.t())
        return F.linear(h, self.hidden.weight) + base.view(base.shape[0], *[1] * (h.dim() - 2), -1)

    def base(self, z: Tensor | None) -> Tensor:
        """b_h [+ W_z z + b_z], the part that does not depend on h: (B, out_features), for z (B, K).

        Without a skip it is b_h, or zero, of shape (out_features,).
        """
        bias: Tensor | None = self.hidden.bias
        if self.latent is None:
            return self.hidden.weight.new_zeros(self.hidden.out_features) if bias is None else bias
        assert z is not None
        if self.latent.bias is not None:
            bias = self.latent.bias if bias is None else bias + self.latent.bias
        return F.linear(z, self.latent.weight, bias)


class LatentMaps(nn.Module):
    """maps(z) = A z + b as image planes, to be concatenated to the input of a convolution.

    Args:
        latent_dim: size K of z.
        maps: number of image planes.
        height: of the image.
        width: of the image.

    Source: Dieng et al. 2019 (arXiv:1807.04863), section 4.

    Example:
        >>> LatentMaps(latent_dim=2, maps=1, height=28, width=28)(torch.zeros(3, 2)).shape
        torch.Size([3, 1, 28, 28])
    """

    def __init__(self, latent_dim: int, maps: int, height: int, width: int) -> None:
        super().__init__()
        self.shape = (maps, height, width)
        self.linear = nn.Linear(latent_dim, maps * height * width)

    def forward(self, z: Tensor) -> Tensor:
        """The planes (B, maps, height, width) for z (B, K)."""
        return self.linear(z).view(-1, *self.shape)  # type: ignore[no-any-return]
