"""Room engine: the process group, and DeepSpeed behind one seam: train_step(micro_batches) -> StepResult."""
