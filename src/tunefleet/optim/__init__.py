"""Room optim: optimizers by name, parameter groups, learning rates as pure functions of the step."""
