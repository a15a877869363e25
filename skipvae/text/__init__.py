"""Token ids, and the codec between sentences and ids."""
