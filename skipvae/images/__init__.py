"""The codec between images as arrays and x."""
