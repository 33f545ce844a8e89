"""Avatar methods: one interface, one trainer, one renderer, one sub-package per method."""
