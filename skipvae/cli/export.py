"""The command `skipvae export`."""

from skipvae.cli.generate_options import Export
from skipvae.export import FORMATS, export_model
from skipvae.models.loading import load
from skipvae.nn.choices import check_choice
from skipvae.persistence import saved_runs


def export(options: Export) -> None:
    """Writes encoder and decoder of a trained model to files that run without skipvae."""
    FORMATS[check_choice("format", options.format, FORMATS)].check()
    path = saved_runs.checkpoint_at(options.ckpt_path)
    record = export_model(load(path), options.output, options.format, options.tolerance, source=str(path))
    for note in record["notes"]:
        print(note)
    for name, file in record["files"].items():
        inputs, outputs = (", ".join(value["name"] for value in file[side]) for side in ("inputs", "outputs"))
        print(f"{name}: {inputs} -> {outputs}; largest difference from the model {file['largest_difference']:.1e}")
    print(f"wrote {options.output}: {', '.join([*record['files'], *record['codecs'], 'export.json'])}")
