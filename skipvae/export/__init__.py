"""Networks of a trained model as files that run without skipvae: ONNX, or programs of torch.export."""

from skipvae.export.formats import FORMATS
from skipvae.export.writer import export_model

__all__ = ["FORMATS", "export_model"]
