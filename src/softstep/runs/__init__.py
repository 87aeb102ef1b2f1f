"""What commands run: the training of models, sweeps and landscapes, and the files it leaves."""
