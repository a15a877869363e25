"""Data modules: corpora in memory, batched by slicing. They know nothing of the models that learn from them."""
