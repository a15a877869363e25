"""Parts that the training of any model uses, one job each."""
