"""A fitted model for other libraries and in their files, and back: one file for each format."""

from softstep.model.exchange.methods import Exchange

__all__ = ["Exchange"]
