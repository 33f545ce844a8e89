"""Typed HDF5 files: what each step writes, and how it is checked (numpy and h5py only)."""
