"""The paper's fully connected decoder, of any depth, with or without generative skips."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from skipvae.decoders.base import ImageDecoder
from skipvae.likelihoods import Gaussian, Likelihood
from skipvae.nn.image_checks import array_shape
from skipvae.nn.initialization import Init, initialize
from skipvae.skip import SkipLinear

MIN_SCALE = 0.01
"""Of a column, in its standard deviations: a column of few different values would have an unbounded density."""


class MLPDecoder(ImageDecoder):
    """h(0) = W z + b; h(l) = relu(W_h h(l-1) + b_h [+ W_z z + b_z]), l = 1..L; logits = W_h h(L) + b_h.

    The bracket is the generative skip, with weights of its own in each layer; `skip` switches it and nothing else. The
    network, its initialisation and the redundant b_z are those of the authors' published code, in which z does not
    reach the output layer.

    The initialisation decides how much a skip changes: at 8 layers without skips another z moves an initial logit by
    0.0002, and by 1.2 with init="he". Measured with 256 units on 4,000 digits in 12 epochs, mean of three seeds
    (`configs/studies/mlp_initialization.yaml`): skips gain 5 nats of the ELBO at 2 layers, 25 at 4 (9 of 20 units
    active without skips, 19 with) and 47 at 8 (6 and 18); with init="he" 0.5, 11 and 25 (19 and 20 units active at 8).
    A skip to the output layer adds 4 nats more at 2 and 4 layers.

    Args:
        latent_dim: size K of z.
        image_shape: (C, H, W), or (D,) for rows of a table.
        hidden_dim: units in each hidden layer.
        num_layers: number L of hidden layers after the first linear map.
        skip: whether z reaches every hidden layer.
        output_skip: whether z reaches the output layer too, where `skip` is on: logits = W_h h(L) + b_h + W_z z.
        init: `default`, PyTorch's as in the authors' code, or `he` (He et al. 2015).
        likelihood: see `skipvae.likelihoods`; if not given, Bernoulli for images, and for tables a Gaussian that learns
            the scale of each column, down to a hundredth of its standard deviation in standardised data.

    Raises:
        ValueError: if latent_dim is 0: pixels that are independent without z are no model of images; if num_layers
            is negative, output_skip is asked for without skip, or there is no such init.

    Source: Dieng et al. 2019 (arXiv:1807.04863), section 3, and their published code.

    Example:
        >>> import torch
        >>> decoder = MLPDecoder(latent_dim=2, hidden_dim=8, skip=True)
        >>> decoder.sample(torch.zeros(3, 2)).shape
        torch.Size([3, 1, 28, 28])
    """

    def __init__(
        self,
        latent_dim: int = 20,
        image_shape: Sequence[int] = (1, 28, 28),
        hidden_dim: int = 1024,
        num_layers: int = 2,
        skip: bool = False,
        output_skip: bool = False,
        init: Init = "default",
        likelihood: Likelihood | None = None,
    ) -> None:
        shape = array_shape(image_shape)
        if likelihood is None and len(shape) == 1:
            likelihood = Gaussian(learn="channel", channels=shape[0], min_scale=MIN_SCALE)
        super().__init__(likelihood)
        if latent_dim < 1:
            raise ValueError("MLPDecoder needs latent_dim >= 1; for a model without z take an autoregressive decoder")
        if num_layers < 0:
            raise ValueError(f"num_layers is {num_layers}: take 0 or more hidden layers after the first linear map")
        if output_skip and not skip:
            raise ValueError("output_skip=true needs skip=true: it extends the skips to the output layer")
        self.latent_dim, self.skip = latent_dim, skip
        self.image_shape = shape
        self.modality = "table" if len(shape) == 1 else "image"
        skip_dim = latent_dim if skip else 0
        self.input = nn.Linear(latent_dim, hidden_dim)
        self.hidden = nn.ModuleList(
            SkipLinear(hidden_dim, hidden_dim, skip_dim, latent_bias=True) for _ in range(num_layers)
        )
        self.parameter_shape = (self.likelihood.num_parameters(shape[0]), *shape[1:])
        self.output = SkipLinear(hidden_dim, prod(self.parameter_shape), latent_dim if output_skip else 0)
        initialize(self, init)

    def logits(self, x: Tensor | None, z: Tensor | None) -> Tensor:
        """See `ImageDecoder.logits`; they do not depend on x."""
        assert z is not None
        h = self.input(z)
        for layer in self.hidden:
            h = layer(h, z).relu_()
        return self.output(h, z).view(-1, *self.parameter_shape)  # type: ignore[no-any-return]
