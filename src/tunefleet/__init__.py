"""tunefleet: supervised fine-tuning of language models, configured by Hydra and trained by DeepSpeed."""

__version__ = "0.1.0"
